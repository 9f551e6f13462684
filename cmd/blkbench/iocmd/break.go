package iocmd

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// breakpoints finds the node that can hold requests.
func (c *call) breakpoints() (engine.Breakpointer, error) {
	if b := engine.FindBreakpointer(c.s.ref); b != nil {
		return b, nil
	}
	return nil, unix.EOPNOTSUPP
}

func setBreak(_ context.Context, c *call) bool {
	b, err := c.breakpoints()
	if err == nil {
		err = b.SetBreak(c.args[0], c.args[1])
	}
	return c.result(err, "Could not set breakpoint: %s\n")
}

func removeBreak(_ context.Context, c *call) bool {
	b, err := c.breakpoints()
	if err == nil {
		err = b.RemoveBreak(c.args[0])
	}
	return c.result(err, "Could not remove breakpoint "+c.args[0]+": %s\n")
}

func resume(_ context.Context, c *call) bool {
	b, err := c.breakpoints()
	if err == nil {
		c.announce(b.IsSuspended(c.args[0]))
		err = b.Resume(c.args[0])
	}
	if err == nil {
		delete(c.s.held, c.args[0])
		c.printf("blkdebug: Resuming request '%s'\n", c.args[0])
	}
	return c.result(err, "Could not resume request: %s\n")
}

// announce says once that a request is held: the filter itself prints nothing.
func (c *call) announce(held bool) {
	if tag := c.args[0]; held && !c.s.held[tag] {
		c.s.held[tag] = true
		c.printf("blkdebug: Suspended request '%s'\n", tag)
	}
}

func (c *call) result(err error, format string) bool {
	if err != nil {
		c.printf(format, reason(err))
	}
	return err == nil
}

// waitBreak waits until a request is held. Where nothing can hold one it would wait for ever; it fails instead.
func waitBreak(ctx context.Context, c *call) bool {
	b, err := c.breakpoints()
	if err == nil {
		err = b.WaitSuspended(ctx, c.args[0])
	}
	c.announce(err == nil)
	return c.result(err, "Could not wait for a suspended request: %s\n")
}

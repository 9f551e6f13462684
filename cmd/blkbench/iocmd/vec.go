package iocmd

import (
	"context"
	"time"
)

// vector reads an offset and the lengths of the pieces behind it. The pieces are one range of the image, and one buffer here.
func (c *call) vector() (off, n int64, ok bool) {
	if len(c.args) < 2 {
		return 0, 0, c.usage()
	}
	if off, ok = c.number(c.args[0]); !ok {
		return 0, 0, false
	}
	_, n, ok = c.lengths(c.args[1:])
	return off, n, ok
}

func readv(ctx context.Context, c *call) bool {
	k, ok := c.checkOf()
	if !ok {
		return false
	}
	off, n, ok := c.vector()
	if !ok {
		return false
	}
	return c.readVector(ctx, &k, off, n)
}

func (c *call) readVector(ctx context.Context, k *check, off, n int64) bool {
	p := fill(n, readFill)
	start := time.Now()
	err := c.s.read(ctx, p, off)
	took := time.Since(start)
	if err != nil {
		c.printf("readv failed: %s\n", reason(err))
		return false
	}
	k.count = n
	return c.finishRead(k, p, off, took)
}

func writev(ctx context.Context, c *call) bool {
	pattern, ok := c.writePattern()
	if !ok {
		return false
	}
	off, n, ok := c.vector()
	if !ok {
		return false
	}
	p := fill(n, pattern)
	start := time.Now()
	err := c.write(ctx, p, off, n)
	took := time.Since(start)
	if err != nil {
		c.printf("writev failed: %s\n", reason(err))
		return false
	}
	c.wrote("wrote", off, n, took)
	return true
}

// aioRead starts a read and returns. What comes of it is no failure of the command.
func aioRead(ctx context.Context, c *call) bool {
	k, ok := c.checkOf()
	if !ok {
		return false
	}
	if c.has("i") {
		c.printf("injecting invalid read request\n")
		return true
	}
	off, n, ok := c.vector()
	if !ok {
		return false
	}
	c.s.pending.Go(func() { c.readVector(ctx, &k, off, n) })
	return true
}

// aioWrite starts a write and returns.
func aioWrite(ctx context.Context, c *call) bool {
	pattern, ok := c.writePattern()
	if !ok {
		return false
	}
	zero := c.has("z")
	msg := ""
	switch {
	case len(c.args) < 2:
		return c.usage()
	case zero && len(c.args) != 2:
		msg = "-z supports only a single length parameter"
	case c.has("u") && !zero:
		msg = "-u requires -z to be specified"
	}
	if msg != "" {
		c.printf("%s\n", msg)
		return false
	}
	off, n, ok := c.aioSpan(zero)
	if !ok {
		return false
	}
	if c.has("i") {
		c.printf("injecting invalid write request\n")
		return true
	}
	var p []byte
	if !zero {
		p = fill(n, pattern)
	}
	c.s.pending.Go(func() {
		start := time.Now()
		err := c.write(ctx, p, off, n)
		took := time.Since(start)
		if err != nil {
			c.printf("aio_write failed: %s\n", reason(err))
			return
		}
		c.wrote("wrote", off, n, took)
	})
	return true
}

// aioSpan reads the range of an aio_write; zeroes may be longer than data.
func (c *call) aioSpan(zero bool) (off, n int64, ok bool) {
	if !zero {
		return c.vector()
	}
	return c.span("")
}

// aioFlush waits for everything that was started.
func aioFlush(_ context.Context, c *call) bool {
	c.s.pending.Wait()
	return true
}

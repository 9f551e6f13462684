package nvme

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Admin is whoever takes commands and waits for them: a Controller that this process drives, or a KernelDevice. data
// is what the command's opcode says, sent or received; nil for none. A command that the controller completes with an
// error returns the completion and a *StatusError.
type Admin interface {
	Admin(ctx context.Context, cmd *Command, data []byte) (Completion, error)
	IO(ctx context.Context, cmd *Command, data, metadata []byte) (Completion, error)
	Name() string
}

var (
	_ Admin = (*Controller)(nil)
	_ Admin = (*KernelDevice)(nil)
)

// Admin runs an admin command. It is bounded by ctx and by Options.AdminTimeout, which does not apply to the commands
// that may take minutes (format, self-test, firmware commit). A command that gets no answer in time is aborted, and
// then costs a controller reset.
func (c *Controller) Admin(ctx context.Context, cmd *Command, data []byte) (Completion, error) {
	k := *cmd
	limit := c.opt.AdminTimeout
	switch cmd.Opcode {
	case OpFormatNVM, OpFirmwareCommit, OpDeviceSelfTest, OpNSManagement, OpSanitize:
		limit = max(limit, 10*time.Minute)
	}
	cp, err := c.admin.do(ctx, &k, data, nil, limit)
	if err == nil {
		return cp, statusError(cp, cmd.Opcode, cmd.NSID, true)
	}
	var left *leftError
	switch {
	case !errors.As(err, &left):
	case errors.Is(err, ErrTimeout):
		c.report(nil, fault{kind: faultController, err: fmt.Errorf("%w: admin command %#02x after %v", ErrTimeout, cmd.Opcode, limit)})
	default:
		c.report(nil, fault{kind: faultCommand, cid: left.cid, err: err})
	}
	return cp, fmt.Errorf("%s: admin command %#02x: %w", c.dev.Name(), cmd.Opcode, err)
}

// adminDuring is Admin for the bring-up and the recovery: short, and its failure starts no recovery.
func (c *Controller) adminDuring(ctx context.Context, cmd Command, data []byte) (Completion, error) {
	limit := max(c.opt.AbortTimeout, 2*time.Second)
	cp, err := c.admin.do(ctx, &cmd, data, nil, limit)
	if err != nil {
		return cp, err
	}
	return cp, statusError(cp, cmd.Opcode, cmd.NSID, true)
}

// IO runs an I/O command on a queue of the controller's own, which the first call makes. It is the blocking lane:
// data is copied, and any number of goroutines may call at once.
func (c *Controller) IO(ctx context.Context, cmd *Command, data, metadata []byte) (Completion, error) {
	if err := c.OpenBlocking(ctx); err != nil {
		return Completion{}, err
	}
	k := *cmd
	io := c.io.Load()
	cp, err := io.do(ctx, &k, data, metadata, 0)
	if left, ok := errors.AsType[*leftError](err); ok {
		c.report(io.q, fault{kind: faultCommand, cid: left.cid, err: err})
	}
	if err != nil {
		return cp, fmt.Errorf("%s: I/O command %#02x: %w", c.dev.Name(), cmd.Opcode, err)
	}
	return cp, statusError(cp, cmd.Opcode, cmd.NSID, false)
}

func statusError(cp Completion, op uint8, nsid uint32, admin bool) error {
	if cp.Status.OK() {
		return nil
	}
	return &StatusError{Status: cp.Status, Opcode: op, Admin: admin, NSID: nsid}
}

// OpenBlocking makes the blocking I/O queue, if it is not there yet: a caller that is about to take every other queue
// does it first.
func (c *Controller) OpenBlocking(ctx context.Context) error {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead != nil {
		return fmt.Errorf("%s: %w", c.dev.Name(), dead)
	}
	if c.io.Load() != nil {
		return nil
	}
	c.recovery.Lock()
	defer c.recovery.Unlock()
	if c.io.Load() != nil {
		return nil
	}
	q, err := c.openQueue(ctx, callQueueSize, callMemory, false)
	if err != nil {
		return err
	}
	q.result = make([][2]uint32, callQueueSize)
	off := len(q.mem.Bytes) - callMemory
	c.io.Store(newCallQueue(c, q, q.mem.Slice(off, callMemory)))
	return nil
}

// ReadLog reads n bytes (a multiple of 4) of a log page in pieces that any controller takes.
func ReadLog(ctx context.Context, a Admin, lid uint8, nsid uint32, n int) ([]byte, error) {
	return ReadLogFrom(ctx, a, GetLogPage(lid, nsid, 4, 0), 0, n)
}

// ReadLogFrom is ReadLog from a byte offset, for a Get Log Page command that carries more than its page: LSP in CDW10,
// UUID index in CDW14. Length and offset of the command are set here.
func ReadLogFrom(ctx context.Context, a Admin, cmd Command, offset uint64, n int) ([]byte, error) {
	const piece = pageSize
	b := make([]byte, n)
	for off := 0; off < n; off += piece {
		part := b[off:min(off+piece, n)]
		at := GetLogPage(uint8(cmd.CDW10), cmd.NSID, len(part), offset+uint64(off))
		k := cmd
		k.CDW10 = at.CDW10 | cmd.CDW10&0xff00
		k.CDW11 = at.CDW11 | cmd.CDW11&0xffff0000
		k.CDW12, k.CDW13 = at.CDW12, at.CDW13
		if _, err := a.Admin(ctx, &k, part); err != nil {
			return nil, fmt.Errorf("log page %#02x: %w", uint8(cmd.CDW10), err)
		}
	}
	return b, nil
}

// IdentifyData runs Identify and returns its 4096 bytes.
func IdentifyData(ctx context.Context, a Admin, cns uint8, nsid uint32, cntid uint16) ([]byte, error) {
	b := make([]byte, IdentifySize)
	cmd := Identify(cns, nsid, cntid)
	if _, err := a.Admin(ctx, &cmd, b); err != nil {
		return nil, fmt.Errorf("identify %#02x: %w", cns, err)
	}
	return b, nil
}

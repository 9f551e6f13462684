package file

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// psyncQueue does the I/O inside Submit, one system call a request, as fio's psync does.
type psyncQueue struct {
	node  *Node
	ready engine.DoneRing
}

func (n *Node) openPsync(cfg engine.QueueConfig) (engine.Queue, error) {
	return &psyncQueue{node: n, ready: engine.NewDoneRing(cfg.Depth)}, nil
}

// Supports reports whether Submit takes an operation: it takes all.
// Traits name the engine.
func (q *psyncQueue) Traits() []string { return []string{"psync"} }

// Notes are none: nothing can be asked for.
func (q *psyncQueue) Notes() []string { return nil }

func (q *psyncQueue) Supports(op engine.Op) bool { return q.node.supports(op) }

// Submit returns when everything that it took is done.
func (q *psyncQueue) Submit(reqs []*engine.Request) int {
	reqs = reqs[:q.ready.Room(len(reqs))]
	for _, r := range reqs {
		q.node.serve(r)
		q.ready.Push(r)
	}
	return len(reqs)
}

// Kick has nothing to do.
func (q *psyncQueue) Kick() error { return nil }

// Poll hands out what is done.
func (q *psyncQueue) Poll(done []*engine.Request) int { return q.ready.Pop(done) }

// Wait has nothing to wait for.
func (q *psyncQueue) Wait(time.Duration) error { return nil }

// Close drops what was not polled.
func (q *psyncQueue) Close() error { return nil }

// supports is for queues that serve by the blocking methods.
func (n *Node) supports(op engine.Op) bool {
	switch op {
	case engine.OpRead, engine.OpFlush, engine.OpNop:
		return true
	case engine.OpWrite, engine.OpDiscard:
		return n.flags.Write
	case engine.OpZero:
		return n.flags.Write && (!n.device || n.wholeBlocks())
	}
	return false
}

// serve does one request by system calls. A transfer may be short, as the kernel's are.
func (n *Node) serve(r *engine.Request) {
	var k int
	var err error
	switch r.Op {
	case engine.OpRead:
		p := dma.Bytes(r.Buf, int(r.Len))
		if p == nil {
			err = unix.EFAULT
			break
		}
		if hints := n.hints(); hints != 0 {
			iov := [1][]byte{p}
			k, err = retry(func() (int, error) { return unix.Preadv2(n.fd, iov[:], r.Off, int(hints)) })
			break
		}
		for k, err = unix.Pread(n.fd, p, r.Off); err == unix.EINTR; { //nolint:errorlint // a bare errno, on the hot path
			k, err = unix.Pread(n.fd, p, r.Off)
		}
	case engine.OpWrite:
		p := dma.Bytes(r.Buf, int(r.Len))
		if p == nil {
			err = unix.EFAULT
			break
		}
		if k, err = n.pwrite(p, r.Off, int(n.rwFlags(r.Flags)|n.hints())); k > 0 {
			n.extended(r.Off + int64(k))
		}
	case engine.OpFlush:
		if r.Flags&engine.FlushMetadata != 0 {
			err = n.flush(unix.Fsync)
		} else {
			err = n.flush(unix.Fdatasync)
		}
	case engine.OpDiscard:
		err = n.Discard(context.Background(), r.Off, int64(r.Len))
	case engine.OpZero:
		err = n.serveZero(r)
	case engine.OpNop:
	}
	if err != nil {
		r.Fail(err)
		return
	}
	r.Res = int32(k)
}

// serveZero writes zeroes by whatever means the request allows.
func (n *Node) serveZero(r *engine.Request) error {
	flags := r.Flags
	if n.rwFlags(flags) != 0 {
		flags |= engine.FUA
	}
	err := n.WriteZeroes(context.Background(), r.Off, int64(r.Len), flags)
	if err == nil || flags&engine.NoFallback != 0 || !isUnsupported(err) {
		return err
	}
	mem, err := zeroArena()
	if err != nil {
		return err
	}
	for off, end := r.Off, r.Off+int64(r.Len); off < end; {
		p := dma.Bytes(dma.Handle(uint64(mem.ID())<<48), int(min(end-off, zeroChunk)))
		if err := n.WriteAt(context.Background(), p, off, flags&engine.FUA); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

package convert

import (
	"context"
	"runtime"
	"sync"

	"github.com/blkbench/blkbench/engine"
)

// Packer is a CompressedWriter whose compression can go on for many clusters at once while they are stored in order.
type Packer interface {
	// Pack compresses a whole cluster, or the tail of the image; nil when that makes it no shorter.
	Pack(p []byte) ([]byte, error)
	// WritePacked stores what Pack made of the cluster at off.
	WritePacked(ctx context.Context, packed []byte, off int64) error
}

// packing is the compression of a run: goroutines, one per core as a rule, that take chunks from ch.
type packing struct {
	cluster int64 // bytes
	sparse  bool  // look for zeroes
	packer  Packer
	ch      chan *slot
	wg      sync.WaitGroup

	taking sync.Mutex // ties a ticket to the chunk that was taken
	taken  uint64

	mu   sync.Mutex
	cond *sync.Cond
	turn uint64 // the ticket whose chunk may be stored
}

// cell is a cluster of a chunk.
type cell struct {
	off    int64
	data   []byte
	packed []byte // nil: stored as it is
	zero   bool
}

func (p *packing) start(j *job) {
	p.ch = make(chan *slot, j.tune.Depth*j.tune.Movers)
	p.cond = sync.NewCond(&p.mu)
	p.packer, _ = j.target.Node().(Packer)
	n := runtime.NumCPU()
	if p.cluster > 256<<10 {
		n = min(n, 8) // compressors take memory by the size of what they compress
	}
	for range n {
		p.wg.Go(func() {
			for p.next(j) {
			}
		})
	}
}

func (p *packing) stop() {
	close(p.ch)
	p.wg.Wait()
}

// next handles one chunk; false when there are no more.
func (p *packing) next(j *job) bool {
	p.taking.Lock()
	s, ok := <-p.ch
	ticket := p.taken
	p.taken++
	p.taking.Unlock()
	if !ok {
		return false
	}
	s.phase = Writing
	if j.inOrder {
		s.err = p.inTurn(j, s, ticket)
	} else {
		s.err = p.each(s.mem[0], s.off+j.shift, func(c cell) error { return p.store(j, c, nil) })
	}
	s.m.back <- s
	return true
}

// inTurn compresses at once, and stores when all chunks before are stored.
func (p *packing) inTurn(j *job, s *slot, ticket uint64) error {
	var cells []cell
	err := p.each(s.mem[0], s.off+j.shift, func(c cell) (err error) {
		if p.packer != nil && !c.zero {
			c.packed, err = p.packer.Pack(c.data)
		}
		cells = append(cells, c)
		return err
	})
	p.mu.Lock()
	for p.turn != ticket {
		p.cond.Wait()
	}
	p.mu.Unlock()
	for i := 0; i < len(cells) && err == nil; i++ {
		if err = p.store(j, cells[i], p.packer); err != nil {
			err = &Error{Phase: Writing, Off: cells[i].off, Err: err}
		}
	}
	p.mu.Lock()
	p.turn++
	p.cond.Broadcast()
	p.mu.Unlock()
	return err
}

// each calls f for every cluster of a chunk.
func (p *packing) each(b []byte, off int64, f func(c cell) error) error {
	for len(b) > 0 {
		n := min(int64(len(b)), p.cluster)
		if err := f(cell{off: off, data: b[:n], zero: p.sparse && engine.IsZero(b[:n])}); err != nil {
			return &Error{Phase: Writing, Off: off, Err: err}
		}
		b, off = b[n:], off+n
	}
	return nil
}

// store writes a cluster; by is nil when the target compresses it itself.
func (p *packing) store(j *job, c cell, by Packer) error {
	n := int64(len(c.data))
	if c.zero {
		if !j.zeroSpans {
			return nil
		}
		j.zeroed.Add(n)
		return j.target.WriteZeroes(j.ctx, c.off, n, j.zeroFlags)
	}
	j.written.Add(n)
	switch {
	case by == nil:
		return j.target.WriteAt(j.ctx, c.data, c.off, engine.Compressed)
	case c.packed == nil:
		return j.target.WriteAt(j.ctx, c.data, c.off, 0)
	}
	d := j.target.Domain()
	tok := d.Enter()
	defer d.Exit(tok)
	return by.WritePacked(j.ctx, c.packed, c.off)
}

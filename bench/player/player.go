// Package player does a recorded workload again on another node: with its original timing, faster or slower by a factor, or as fast as the
// node can take it. It says how well it kept the time: the timing error of a request is when it was handed to the node, less when it was due.
//
// One thread with one [engine.Path] plays. It polls while the next request is due within a tenth of a millisecond, and sleeps before that.
package player

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/trace"
)

// Config says how a trace is played.
type Config struct {
	Speed float64 // 1: as recorded, 2: in half the time; 0: as fast as possible
	Depth int     // requests in flight at most; 0: 256
	Wrap  bool    // places past the end of the target are taken modulo its size, not refused
	Poll  bool    // ask the leaf for polled completions
}

// Ops counts requests of one kind.
type Ops struct {
	Count, Bytes uint64
	Latency      hist.Hist
}

// Result is what was measured.
type Result struct {
	Ops     [trace.Zero + 1]Ops // by operation
	Errors  uint64              // that the recording does not have
	First   error               // the first of them
	Held    uint64              // requests that were due and found Depth in flight
	Late    hist.Hist           // timing errors, ns; nothing with Speed 0
	Elapsed time.Duration
	Traced  time.Duration // from the first request of the trace to the issue of its last, in the time asked for
}

// maxArena is the most memory that buffers take, in bytes.
const maxArena = 1 << 30

// Summary is what a trace asks of a target.
type Summary struct {
	End      int64  // how large the target must be, bytes
	Longest  uint32 // bytes that a request moves at most
	Requests [trace.Zero + 1]uint64
}

// Changes reports whether anything in the trace changes data.
func (s *Summary) Changes() bool {
	return s.Requests[trace.Write]+s.Requests[trace.Discard]+s.Requests[trace.Zero] > 0
}

// Summarize looks through a trace.
func Summarize(list []trace.Entry) Summary {
	var s Summary
	for i := range list {
		e := &list[i]
		s.Requests[e.Op]++
		s.End = max(s.End, e.Off+int64(e.Len))
		if e.Op <= trace.Write {
			s.Longest = max(s.Longest, e.Len)
		}
	}
	return s
}

var opOf = [...]engine.Op{trace.Read: engine.OpRead, trace.Write: engine.OpWrite, trace.Flush: engine.OpFlush, trace.Discard: engine.OpDiscard, trace.Zero: engine.OpZero}

// player is one run. Everything is on one thread.
type player struct {
	cfg   Config
	list  []trace.Entry
	size  int64
	path  *engine.Path
	reqs  []engine.Request
	bufs  []dma.Handle // what is read
	data  dma.Handle   // what is written
	free  []uint32
	batch []*engine.Request
	done  []*engine.Request
	first int64 // of the trace
	start int64
	next  int
	res   *Result
}

// Play plays requests, which are in the order of their times, on a node.
func Play(ctx context.Context, ref *engine.Ref, list []trace.Entry, cfg Config) (res *Result, err error) {
	sum := Summarize(list)
	if sum.End > ref.Size() && !cfg.Wrap {
		return nil, fmt.Errorf("the trace reaches to %d, the target has %d bytes", sum.End, ref.Size())
	}
	if int64(sum.Longest) > ref.Size() {
		return nil, fmt.Errorf("the longest request has %d bytes, the target %d", sum.Longest, ref.Size())
	}
	if cfg.Depth <= 0 {
		cfg.Depth = 256
	}
	slot := (max(int64(sum.Longest), 1) + 4095) &^ 4095
	cfg.Depth = int(max(1, min(int64(cfg.Depth), maxArena/slot)))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	arena, err := dma.New(dma.Config{Size: (cfg.Depth+1)*int(slot) + variety*4096})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, arena.Close()) }()
	p := &player{cfg: cfg, list: list, size: ref.Size(), res: &Result{}}
	p.path, err = engine.OpenPath(ctx, ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: cfg.Depth, Arenas: []*dma.Arena{arena}, Poll: cfg.Poll})
	if err != nil {
		return nil, err
	}
	if err = p.slots(arena, int(slot)); err == nil {
		err = p.play(ctx)
	}
	return p.res, errors.Join(err, p.path.Close())
}

// variety is how many different beginnings the data of writes has.
const variety = 64

// slots makes the requests with their buffers, and the data that is written, which does not compress.
func (p *player) slots(arena *dma.Arena, slot int) error {
	p.reqs = make([]engine.Request, p.cfg.Depth)
	p.done = make([]*engine.Request, p.cfg.Depth)
	p.batch = make([]*engine.Request, 0, p.cfg.Depth)
	for i := range p.reqs {
		h, err := arena.Alloc(slot)
		if err != nil {
			return err
		}
		p.bufs = append(p.bufs, h)
		p.reqs[i].Slot = uint32(i)
		p.free = append(p.free, uint32(i))
	}
	var err error
	if p.data, err = arena.Alloc(slot + variety*4096); err != nil {
		return err
	}
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(dma.Bytes(p.data, slot+variety*4096)) // never fails
	return nil
}

// due returns when the next request is to be issued.
func (p *player) due(e *trace.Entry) int64 {
	if p.cfg.Speed <= 0 {
		return p.start
	}
	return p.start + int64(float64(e.At-p.first)/p.cfg.Speed)
}

const (
	lead   = int64(time.Millisecond)       // from the call to the first request
	awake  = int64(100 * time.Microsecond) // before a request is due, nobody sleeps
	asleep = 50 * time.Millisecond         // at most, so that the end of a context is seen
)

func (p *player) play(ctx context.Context) error {
	if len(p.list) == 0 {
		return nil
	}
	p.first, p.start = p.list[0].At, engine.Now()+lead
	held := -1 // the request that was last found to have no place
	for p.next < len(p.list) || p.path.InFlight() > 0 {
		if ctx.Err() != nil {
			p.list = p.list[:p.next]
		}
		moved := p.issue()
		n := p.path.Poll(p.done)
		for _, r := range p.done[:n] {
			p.complete(r)
		}
		if moved || n > 0 {
			continue
		}
		limit := asleep
		if p.next < len(p.list) {
			left := p.due(&p.list[p.next]) - engine.Now()
			switch {
			case len(p.free) == 0 && left <= 0:
				if held != p.next {
					held = p.next
					p.res.Held++
				}
			case left < awake:
				continue
			default:
				limit = min(limit, time.Duration(left-awake))
			}
		}
		if err := p.path.Wait(limit); err != nil {
			return err
		}
	}
	p.res.Elapsed = time.Duration(engine.Now() - p.start)
	if k := len(p.list); k > 0 {
		p.res.Traced = time.Duration(p.due(&p.list[k-1]) - p.start)
	}
	return ctx.Err()
}

// issue submits what is due and reports whether there was anything.
func (p *player) issue() bool {
	now := engine.Now()
	from := p.next
	for p.next < len(p.list) && len(p.free) > 0 {
		e := &p.list[p.next]
		if p.due(e) > now {
			break
		}
		slot := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		r := &p.reqs[slot]
		r.Op, r.Off, r.Len, r.Flags, r.User = opOf[e.Op], e.Off, e.Len, engine.WriteFlags(e.Flags), uint64(p.next)
		if r.Buf = p.bufs[slot]; e.Op == trace.Write {
			r.Buf = p.data.Add(uint32(p.next%variety) * 4096)
			r.Flags &= engine.FUA
		}
		if r.Off+int64(r.Len) > p.size { // only with Wrap
			r.Len = uint32(min(int64(r.Len), p.size))
			r.Off %= p.size - int64(r.Len) + 1
			r.Off &^= 4095
		}
		p.batch = append(p.batch, r)
		p.next++
	}
	if len(p.batch) == 0 {
		return false
	}
	now = engine.Now()
	k := p.path.Submit(p.batch)
	for _, r := range p.batch[:k] {
		r.Issued = now
		if p.cfg.Speed > 0 {
			p.res.Late.Record(uint64(max(0, now-p.due(&p.list[r.User]))))
		}
	}
	p.batch = p.batch[:copy(p.batch, p.batch[k:])]
	if err := p.path.Kick(); err != nil && p.res.First == nil {
		p.res.First = err
	}
	return k > 0 || p.next > from
}

func (p *player) complete(r *engine.Request) {
	e := &p.list[r.User]
	o := &p.res.Ops[e.Op]
	o.Count++
	p.free = append(p.free, r.Slot)
	if err := r.Err(); err != nil {
		if e.Errno == 0 {
			if p.res.Errors++; p.res.First == nil {
				p.res.First = err
			}
		}
		return
	}
	o.Bytes += uint64(r.Len)
	o.Latency.Record(uint64(max(0, engine.Now()-r.Issued)))
}

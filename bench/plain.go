package bench

import (
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
)

// isPlain reports whether the loop that begins now has requests that may be drawn ahead: a closed loop on one open file, with nothing to
// pace, verify, order or sync. All that fill has to ask for other jobs is answered once.
func (w *worker) isPlain() *jobSource {
	s, ok := w.src.(*jobSource)
	if !ok || s.ahead == nil || w.check != nil || w.pacing.active || w.traits.serialize || w.traits.syncs || w.files[0].path == nil {
		return nil
	}
	for i := range w.slots {
		w.slots[i] = slot{file: w.files[0]}
	}
	w.looks = looks{polled: w.files[0].path.Polled()}
	return s
}

// looks is how a plain loop looks again for what is not complete at the first look, on leaves where waiting is polling: a fast device
// is met without the way through loop and wait. One that is slow is left to wait, and tried again after a while.
type looks struct {
	polled bool
	misses int // in a row
	rest   int // how often not to try
}

const (
	patientLooks  = 256
	patientMisses = 16
	patientRest   = 4096
)

func (w *worker) lookAgain(f *file, most int) int {
	p := &w.looks
	if !p.polled {
		return 0
	}
	if p.rest > 0 {
		p.rest--
		return 0
	}
	for range patientLooks {
		if n := f.path.Poll(w.done[:most]); n > 0 {
			p.misses = 0
			return n
		}
	}
	if p.misses++; p.misses == patientMisses {
		p.misses, p.rest = 0, patientRest
	}
	return 0
}

// fillPlain is fill for a plain job. True: there are no more requests.
//
// The requests of a batch begin together (see begin): what it takes to make them is in their submission latency.
func (w *worker) fillPlain(s *jobSource, limit int) (ended bool) {
	a := s.ahead
	began := w.begin()
	for n := min(limit-len(w.batch), len(w.free)); n > 0; n-- {
		if a.pos == a.have && !s.drawAhead() {
			return true
		}
		op := &a.ops[a.pos&(len(a.ops)-1)]
		a.pos++
		i := w.free[len(w.free)-1]
		w.free = w.free[:len(w.free)-1]
		r, t := &w.slab[i], &w.slots[i]
		r.Off, r.Len, r.Op, r.Flags = op.Off, op.Len, opOf(fiojob.Dir(op.Dir)), 0
		if op.Dir == gen.Write {
			r.Flags = w.traits.flags
			if w.filler != nil {
				w.step = step{dir: fiojob.Write, file: t.file, off: op.Off, n: op.Len}
				w.filler.fill(w.bytes(r), &w.step)
				if w.traits.stamp {
					began = w.clock.Now()
				}
			}
		}
		t.dir, t.made, t.planned = fiojob.Dir(op.Dir), began, began
		w.batch = append(w.batch, r)
		if w.measuring {
			w.iv.depth[depthClass(w.inFlight+len(w.batch))]++
		}
	}
	return false
}

// begin is the start of requests that are made now: the moment of the completion that made room for them, where nothing else was done
// since.
func (w *worker) begin() int64 {
	at := w.seen
	w.seen = 0
	if at == 0 && w.traits.stamp {
		at = w.clock.Now()
	}
	return at
}

// turner is the function that goes round a plain loop in loop's stead, for as long as that needs no waiting; nil where batches, depths or
// completions have rules of their own.
func (w *worker) turner() func(*jobSource) (ended bool, err error) {
	k := w.job.RW.Kind
	switch {
	case w.plain == nil || w.low < w.depth || w.traits.reapMin != 1:
		return nil
	case w.depth == 1 && w.traits.stamp && !w.traits.hooks && !k.Writes() && !k.Mixed():
		return w.ones
	}
	return w.turns
}

// turns goes round a plain loop, filling, submitting and reaping, for as long as each turn finds completions without waiting. It does what
// loop does, with what loop has to ask each time known: the rest (waits, ends, errors) is left to it. True: there are no more requests.
func (w *worker) turns(s *jobSource) (ended bool, err error) {
	f := w.files[0]
	for !w.stop.Load() && !w.failed {
		if limit := min(w.depth-w.inFlight, w.traits.batch); len(w.batch) < limit {
			if w.fillPlain(s, limit) {
				return true, nil
			}
		}
		if len(w.batch) > 0 {
			if err := w.kickOne(f); err != nil {
				return false, err
			}
			if len(w.batch) == 0 && w.inFlight < w.depth {
				continue
			}
		}
		n := f.path.Poll(w.done[:w.traits.reap])
		if n == 0 {
			if n = w.lookAgain(f, w.traits.reap); n == 0 {
				return false, nil
			}
		}
		if f.inFlight -= n; f.inFlight == 0 {
			w.busy = w.busy[:0]
		}
		w.inFlight -= n
		if w.measuring {
			w.iv.completes++
			w.iv.complete[batchClass(n)]++
		}
		w.complete(w.done[:n])
	}
	return false, nil
}

// ones is turns for reads or trims at depth 1, where nothing amortises what a turn costs: latencies are counted 64 at a time, and what the
// request and its slot always are stays as it is. A request that is not complete at the first look, or failed, is left to loop.
func (w *worker) ones(s *jobSource) (ended bool, err error) {
	f, a, r, t := w.files[0], s.ahead, &w.slab[0], &w.slots[0]
	w.batch = append(w.batch[:0], r)
	one := w.batch
	w.batch = w.batch[:0]
	r.Flags = 0
	made := w.begin()
	for !w.stop.Load() && !w.failed {
		if a.pos == a.have && !s.drawAhead() {
			w.countSpans()
			return true, nil
		}
		op := &a.ops[a.pos&(len(a.ops)-1)]
		a.pos++
		r.Off, r.Len, r.Op = op.Off, op.Len, opOf(fiojob.Dir(op.Dir))
		taken := f.path.Submit(one)
		if err := f.path.Kick(); err != nil {
			return false, err
		}
		handed := w.clock.Now()
		n := 0
		if taken > 0 {
			if n = f.path.Poll(w.done[:1]); n == 0 {
				n = w.lookAgain(f, 1)
			}
		}
		if n == 0 || r.Res < 0 {
			w.countSpans()
			t.dir, t.made, t.planned = fiojob.Dir(op.Dir), made, made
			w.free = w.free[:0]
			w.batch = one
			w.oddOne(f, taken, n, handed)
			return false, nil
		}
		now := w.clock.Now()
		if w.measuring {
			w.spans.dir = fiojob.Dir(op.Dir)
			w.spans.add(handed-made, now-handed, r.Len)
		}
		made = now
		if now >= w.nextLook || w.spans.n == len(w.spans.slat) || w.hand.Wanted() {
			w.countSpans()
			if now >= w.nextLook || w.hand.Wanted() {
				w.look(now)
				made = w.clock.Now()
			}
		}
	}
	w.countSpans()
	return false, nil
}

// oddOne puts a request of ones where loop expects it: into the batch, in flight, or complete.
func (w *worker) oddOne(f *file, taken, done int, handed int64) {
	if w.measuring {
		w.iv.depth[0]++
	}
	if taken == 0 {
		return
	}
	w.handedAt(w.batch, handed)
	w.batch = w.batch[:0]
	if done == 0 {
		w.busy = append(w.busy, f)
		f.inFlight, w.inFlight = 1, 1
		return
	}
	if w.measuring {
		w.iv.completes++
		w.iv.complete[batchClass(1)]++
	}
	w.complete(w.done[:1])
}

// spans are latencies of requests that were complete at the first look, one by one, and are not counted yet.
type spans struct {
	dir        fiojob.Dir
	n          int
	bytes      uint64
	slat, clat [64]uint64
}

func (x *spans) add(slat, clat int64, bytes uint32) {
	i := x.n & (len(x.slat) - 1)
	x.slat[i], x.clat[i] = uint64(slat), uint64(clat)
	x.n++
	x.bytes += uint64(bytes)
}

// countSpans counts them.
func (w *worker) countSpans() {
	x := &w.spans
	n := uint64(x.n)
	if n == 0 {
		return
	}
	iv, v := w.iv, &w.iv.dir[x.dir]
	v.ios += n
	v.bytes += x.bytes
	iv.depth[0] += n
	iv.submits += n
	iv.submit[batchClass(1)] += n
	iv.completes += n
	iv.complete[batchClass(1)] += n
	slat, clat := x.slat[:n], x.clat[:n]
	if v.slat != nil {
		v.slat.RecordAll(slat)
	}
	if v.clat != nil {
		v.clat.RecordAll(clat)
	}
	if v.lat != nil {
		for i := range slat {
			slat[i] += clat[i]
		}
		v.lat.RecordAll(slat)
	}
	x.n, x.bytes = 0, 0
}

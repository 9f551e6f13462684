package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// Sectors is what the sectors of a node may contain: for each the numbers of the writes that it may show, the last being the present one. 0
// is zeroes.
type Sectors [][]uint64

func (s Sectors) clone() Sectors {
	c := make(Sectors, len(s))
	for i := range s {
		c[i] = slices.Clone(s[i])
	}
	return c
}

// Now returns what is in the sectors at present, for a copy that is saved.
func (s Sectors) Now() Sectors {
	c := make(Sectors, len(s))
	for i := range s {
		c[i] = slices.Clone(s[i][len(s[i])-1:])
	}
	return c
}

func (s Sectors) change(off, n int64, id uint64) {
	for i := off / sectorSize; i < (off+n)/sectorSize; i++ {
		s[i] = append(s[i], id)
	}
}

func (s Sectors) settle(off, n int64) {
	for i := off / sectorSize; i < (off+n)/sectorSize; i++ {
		s[i] = s[i][len(s[i])-1:]
	}
}

// sectorData is what write id puts into a sector.
func sectorData(id uint64, sector int64) []byte {
	b := make([]byte, sectorSize)
	for i := 0; id != 0 && i < sectorSize; i += 16 {
		binary.LittleEndian.PutUint64(b[i:], id)
		binary.LittleEndian.PutUint64(b[i+8:], uint64(sector))
	}
	return b
}

// Verify wants every sector of a node's content to be one that it may be, whole.
func (s Sectors) Verify(content []byte) error {
	if len(content) < len(s)*sectorSize {
		return fmt.Errorf("%d bytes, want %d", len(content), len(s)*sectorSize)
	}
	for i := range s {
		got := content[sectorSize*i : sectorSize*(i+1)]
		id := binary.LittleEndian.Uint64(got)
		if !slices.Contains(s[i], id) || !bytes.Equal(got, sectorData(id, int64(i))) {
			return fmt.Errorf("sector %d has write %d (% x…), want one of %v", i, id, got[:24], s[i])
		}
	}
	return nil
}

// CrashRun is a history over a node whose device crashes afterwards, at every moment. It notes what each operation did to which sectors,
// and which moments of the device's log belong to it. One goroutine drives it.
type CrashRun struct {
	testing.TB
	Root   *engine.Ref // may be exchanged, to open anew
	Device *Crash
	// Through is what Write writes by, for another plane; nil: the root's WriteAt.
	Through func(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error
	ops     []crashOp
	size    int64
	id      uint64
}

// crashOp is an operation, the part of the log that it made, and its effect once it has returned.
type crashOp struct {
	name     string
	from, to int
	change   func(s *CrashState)
	settle   func(s *CrashState)
}

// CrashState is what must be true at a moment.
type CrashState struct {
	Sectors Sectors            // what may be read
	Saved   map[string]Sectors // copies that must be there, by name (snapshots)
	Going   string             // a copy that may be there or not: it is being made or removed
	Op      string             // what was under way, or would have come next
}

// Do runs an operation. change, which may be nil, is what it does to the sectors or copies; durable says that all is durable, at the
// latest when it has returned.
func (r *CrashRun) Do(name string, durable bool, change func(s *CrashState), f func() error) {
	r.Helper()
	op := crashOp{name: name, change: change}
	if durable {
		op.settle = func(s *CrashState) { s.Sectors.settle(0, int64(len(s.Sectors))*sectorSize) }
	}
	r.do(op, f)
}

func (r *CrashRun) do(op crashOp, f func() error) {
	r.Helper()
	op.from = r.Device.Mark()
	if err := f(); err != nil {
		r.Fatalf("%s: %v", op.name, err)
	}
	op.to = r.Device.Mark()
	r.ops = append(r.ops, op)
}

// Size returns the size of the node when the run began, in bytes.
func (r *CrashRun) Size() int64 { return r.size }

// Write writes whole sectors of its own content.
func (r *CrashRun) Write(off, n int64, flags engine.WriteFlags) {
	r.Helper()
	r.id++
	id, p := r.id, make([]byte, 0, n)
	for i := off / sectorSize; i < (off+n)/sectorSize; i++ {
		p = append(p, sectorData(id, i)...)
	}
	op := crashOp{name: fmt.Sprintf("write %d at %#x+%d", id, off, n), change: func(s *CrashState) { s.Sectors.change(off, n, id) }}
	if flags&engine.FUA != 0 {
		op.settle = func(s *CrashState) { s.Sectors.settle(off, n) }
	}
	write := r.Root.WriteAt
	if r.Through != nil {
		write = r.Through
	}
	r.do(op, func() error { return write(bg, p, off, flags) })
}

// Zero writes zeroes to whole sectors.
func (r *CrashRun) Zero(off, n int64, flags engine.WriteFlags) {
	r.Helper()
	op := crashOp{name: fmt.Sprintf("zero %#x+%d", off, n), change: func(s *CrashState) { s.Sectors.change(off, n, 0) }}
	if flags&engine.FUA != 0 {
		op.settle = func(s *CrashState) { s.Sectors.settle(off, n) }
	}
	r.do(op, func() error { return r.Root.WriteZeroes(bg, off, n, flags) })
}

// Discard discards whole sectors, which read as zeroes or as before.
func (r *CrashRun) Discard(off, n int64) {
	r.Helper()
	r.do(crashOp{name: fmt.Sprintf("discard %#x+%d", off, n), change: func(s *CrashState) {
		for i := off / sectorSize; i < (off+n)/sectorSize; i++ {
			last := len(s.Sectors[i]) - 1
			s.Sectors[i] = slices.Insert(s.Sectors[i], last, 0)
		}
	}}, func() error { return r.Root.Discard(bg, off, n) })
	// What it reads as now is what it will be.
	p := make([]byte, n)
	if err := r.Root.ReadAt(bg, p, off); err != nil {
		r.Fatal(err)
	}
	r.Do("look at what was discarded", false, func(s *CrashState) {
		for i := off / sectorSize; i < (off+n)/sectorSize; i++ {
			s.Sectors[i] = append(s.Sectors[i], binary.LittleEndian.Uint64(p[i*sectorSize-off:]))
		}
	}, func() error { return nil })
}

// Flush flushes the node.
func (r *CrashRun) Flush() {
	r.Helper()
	r.Do("flush", true, nil, func() error { return r.Root.Flush(bg) })
}

// CrashTest is what EachCrash goes through.
type CrashTest struct {
	Device DiskConfig // of the crash device
	// Open makes what is tested over the device, which is empty; what it does is durable. A nil Open tests the device itself.
	Open func(t testing.TB, file *engine.Ref) *engine.Ref
	// History does things to the node through r, and leaves it open or closes it by r.Do.
	History func(r *CrashRun)
	// Verify opens what a power cut has left and compares it with what must be true. Data is as big as the device was.
	Verify    func(t testing.TB, img Image, s *CrashState) error
	PerMoment int // images for each moment; 0 means 4
}

// EachCrash runs a history once, and then verifies what a power cut at each of its moments could leave. It returns how many images there
// were.
func EachCrash(t testing.TB, c CrashTest) int {
	t.Helper()
	Long(t)
	dev := NewCrash(t, c.Device)
	run := &CrashRun{TB: t, Device: dev, Root: dev.Ref()}
	if c.Open != nil {
		run.Root = c.Open(t, run.Root)
	}
	dev.Settle()
	run.size = run.Root.Size() / sectorSize * sectorSize
	c.History(run)
	if c.PerMoment == 0 {
		c.PerMoment = 4
	}
	state := CrashState{Sectors: make(Sectors, run.size/sectorSize), Saved: map[string]Sectors{}}
	state.Sectors.change(0, run.size, 0)
	moments := momentStates{run: run, state: state, moment: -1}
	count := 0
	for img := range dev.Log().Cuts(c.PerMoment) {
		s := moments.at(img.Moment)
		count++
		if err := c.Verify(t, img, s); err != nil {
			t.Fatalf("power cut at moment %d of %d, image %d, in or before %q: %v", img.Moment, dev.Log().Len(), img.Seed, s.Op, err)
		}
	}
	return count
}

// momentStates goes through the moments of a run in order.
type momentStates struct {
	run    *CrashRun
	state  CrashState // of the operations that have returned
	now    *CrashState
	next   int // operation
	moment int
}

func (m *momentStates) at(moment int) *CrashState {
	if moment == m.moment {
		return m.now
	}
	m.moment = moment
	ops := m.run.ops
	for ; m.next < len(ops) && ops[m.next].to <= moment; m.next++ {
		op := &ops[m.next]
		if op.change != nil {
			op.change(&m.state)
		}
		if op.settle != nil {
			op.settle(&m.state)
		}
	}
	m.now = &CrashState{Sectors: m.state.Sectors, Saved: m.state.Saved, Op: "the end"}
	if m.next == len(ops) {
		return m.now
	}
	op := &ops[m.next]
	m.now.Op = op.name
	if op.from < moment && op.change != nil {
		m.now.Sectors, m.now.Saved = m.state.Sectors.clone(), maps.Clone(m.state.Saved)
		op.change(m.now)
		for name, was := range m.state.Saved {
			if _, ok := m.now.Saved[name]; !ok {
				m.now.Going, m.now.Saved[name] = name, was
			}
		}
		for name := range m.now.Saved {
			if _, ok := m.state.Saved[name]; !ok {
				m.now.Going = name
			}
		}
	}
	return m.now
}

package enginetest

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// NodeConfig says what the suite of [Node] is run over, and what the node promises.
type NodeConfig struct {
	// Open makes a new node of size bytes that reads as zeroes, and a reference to it, for reading and writing and with discarding where
	// the node can. The suite closes the reference.
	Open func(t testing.TB, size int64) *engine.Ref
	// Reopen closes the reference and opens again what it left, in the same way; nil for what does not survive.
	Reopen func(t testing.TB, ref *engine.Ref) *engine.Ref
	// ReadOnly closes the reference and opens what it left for reading only; nil where Open is asked for that, or where there is no such thing.
	ReadOnly func(t testing.TB, ref *engine.Ref) *engine.Ref
	Size     int64 // bytes; 0 means 1 MiB
	// SizeUnit is what sizes are multiples of; 0 means 1, which gives the node ends that are not aligned.
	SizeUnit   int64
	ResizeUnit int64 // what sizes are multiples of that Resize is asked for; 0: not a Resizer
	Writable   bool
	Growable   bool
	Forgets    bool // writes go nowhere, and reads give zeroes
	Transforms bool // what is stored is not what is read (encryption): extents are not compared with the child's content
}

// Node verifies that a node keeps to the contract of [engine.Node], one subtest for each of its sentences.
func Node(t *testing.T, cfg NodeConfig) {
	t.Helper()
	Long(t)
	for _, c := range cfg.checks() {
		t.Run(c.sentence, func(t *testing.T) { watch(c.sentence, func() { c.run(cfg.begin(t)) }) })
	}
}

func (c NodeConfig) checks() []check[*nodeRun] {
	list := []check[*nodeRun]{
		{"info makes sense and stays", (*nodeRun).info},
		{"new nodes are zeroes", (*nodeRun).fresh},
		{"outside is out of range", (*nodeRun).outside},
		{"huge offsets", (*nodeRun).huge},
		{"nothing is a range", (*nodeRun).nothing},
		{"reads at any alignment", (*nodeRun).readAnywhere},
		{"memory around buffers", (*nodeRun).memoryAround},
		{"both ends", (*nodeRun).bothEnds},
		{"extents agree with contents", (*nodeRun).extents},
		{"cancelled calls", (*nodeRun).cancelled},
		{"closed", (*nodeRun).closed},
		{"clones keep it open", (*nodeRun).clones},
		{"read only", (*nodeRun).readOnly},
		{"resizing", (*nodeRun).resizing},
	}
	if c.SizeUnit <= 1 {
		list = append(list, check[*nodeRun]{"an unaligned end", (*nodeRun).unalignedEnd})
	}
	if c.Growable {
		list = append(list, check[*nodeRun]{"writes past the end grow", (*nodeRun).growth},
			check[*nodeRun]{"growth by many", (*nodeRun).growthByMany})
	}
	if !c.Writable {
		return list
	}
	return append(list, []check[*nodeRun]{
		{"writes change what they name", (*nodeRun).writeAnywhere},
		{"every aligned request", (*nodeRun).aligned},
		{"flags", (*nodeRun).flags},
		{"zeroes", (*nodeRun).zeroes},
		{"zeroes without fallback", (*nodeRun).zeroesOnly},
		{"discards", (*nodeRun).discards},
		{"many at once", (*nodeRun).manyAtOnce},
		{"neighbours in one block", (*nodeRun).neighbours},
		{"what is flushed stays", (*nodeRun).durable},
		{"random histories", (*nodeRun).history},
	}...)
}

// nodeRun is one check of one node, with what it must contain.
type nodeRun struct {
	testing.TB
	cfg  NodeConfig
	ref  *engine.Ref
	want []byte
	lim  engine.Limits
}

// begin opens a node of the usual size, with an end that is not aligned where it can have one.
func (c NodeConfig) begin(t testing.TB) *nodeRun {
	if c.Size == 0 {
		c.Size = 1 << 20
	}
	c.SizeUnit = max(1, c.SizeUnit)
	r := &nodeRun{TB: t, cfg: c}
	r.open(c.Size)
	t.Cleanup(func() {
		if err := r.ref.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// open makes a new node and closes what was there.
func (r *nodeRun) open(size int64) {
	if r.ref != nil {
		r.ok("close", r.ref.Close())
	}
	r.ref = r.cfg.Open(r.TB, size)
	r.want = make([]byte, size)
	r.lim = r.ref.Info().Limits
	r.lim.RequestAlign, r.lim.MemAlign = max(1, r.lim.RequestAlign), max(1, r.lim.MemAlign)
}

func (r *nodeRun) size() int64 { return int64(len(r.want)) }

func (r *nodeRun) ok(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// fill writes over the whole node.
func (r *nodeRun) fill(seed uint64) {
	r.Helper()
	const step = 128 << 10
	for off := int64(0); off < r.size() && r.cfg.Writable; off += step {
		r.write(off, min(step, r.size()-off), 0, seed)
	}
}

// write writes the pattern of a seed, into the node and into what is wanted.
func (r *nodeRun) write(off, n int64, flags engine.WriteFlags, seed uint64) {
	r.Helper()
	p := make([]byte, n)
	pattern(p, off, seed)
	if err := r.ref.WriteAt(bg, p, off, flags); err != nil {
		r.Fatalf("write at %#x+%d: %v", off, n, err)
	}
	r.note(p, off)
}

// note puts what was written into what is wanted.
func (r *nodeRun) note(p []byte, off int64) {
	if more := off + int64(len(p)) - r.size(); more > 0 {
		r.want = append(r.want, make([]byte, more)...)
	}
	if !r.cfg.Forgets {
		copy(r.want[off:], p)
	}
}

func (r *nodeRun) compare(got []byte, off int64) {
	r.Helper()
	if want := r.want[off : off+int64(len(got))]; !bytes.Equal(got, want) {
		r.Fatalf("read at %#x+%d: %s", off, len(got), differ(got, want, off))
	}
}

// check reads a range and compares it with what is wanted.
func (r *nodeRun) check(off, n int64) {
	r.Helper()
	p := bytes.Repeat([]byte{guardByte}, int(n))
	if err := r.ref.ReadAt(bg, p, off); err != nil {
		r.Fatalf("read at %#x+%d: %v", off, n, err)
	}
	r.compare(p, off)
}

// checkAll compares size and content.
func (r *nodeRun) checkAll() {
	r.Helper()
	if r.ref.Size() != r.size() {
		r.Fatalf("the size is %d, want %d", r.ref.Size(), r.size())
	}
	r.check(0, r.size())
}

// info: Limits and capabilities are what the contract lets them be, and do not change while the node is open.
func (r *nodeRun) info() {
	i := r.ref.Info()
	n := r.ref.Node()
	pow2 := func(name string, v, most uint32) {
		if v&(v-1) != 0 || v > most {
			r.Errorf("%s is %d: want a power of two, at most %d", name, v, most)
		}
	}
	pow2("RequestAlign", i.Limits.RequestAlign, 1<<20)
	pow2("MemAlign", i.Limits.MemAlign, 4096)
	if i.Limits.MaxTransfer != 0 && i.Limits.MaxTransfer < r.lim.RequestAlign {
		r.Errorf("MaxTransfer is %d, less than RequestAlign", i.Limits.MaxTransfer)
	}
	if i.Limits.MaxDiscard < 0 || i.Limits.MaxZero < 0 {
		r.Errorf("MaxDiscard is %d, MaxZero %d", i.Limits.MaxDiscard, i.Limits.MaxZero)
	}
	if i.Driver == "" {
		r.Error("the driver has no name")
	}
	_, discarder := n.(engine.Discarder)
	_, zeroer := n.(engine.ZeroWriter)
	for _, c := range []struct {
		name       string
		caps       engine.Caps
		have, must bool
	}{
		{"CapWritable", engine.CapWritable, r.cfg.Writable, true},
		{"CapGrowable", engine.CapGrowable, r.cfg.Growable, true},
		{"CapDiscard", engine.CapDiscard, discarder, false},
		{"CapZero", engine.CapZero, zeroer, false},
		{"CapUnmapZero", engine.CapUnmapZero, zeroer && i.Caps.Has(engine.CapZero), false},
	} {
		if says := i.Caps.Has(c.caps); says != c.have && (says || c.must) {
			r.Errorf("%s is said to be %t, and is %t", c.name, says, c.have)
		}
	}
	if r.cfg.Writable {
		r.fill(1)
		r.ok("flush", r.ref.Flush(bg))
	}
	r.resizeTo(r.size()+r.cfg.ResizeUnit, false)
	if now := n.Info(); !reflect.DeepEqual(now, i) {
		r.Errorf("info was %+v and is %+v", i, now)
	}
	if n.Size() != r.size() {
		r.Errorf("the size is %d, want %d", n.Size(), r.size())
	}
}

// fresh: a node has the size that was asked for and reads as zeroes.
func (r *nodeRun) fresh() { r.checkAll() }

// cancelled: a call with a context that is over succeeds or says so; it leaves old or new content, and the node goes on.
func (r *nodeRun) cancelled() {
	r.fill(1)
	ctx, cancel := context.WithCancel(bg)
	cancel()
	n := min(r.size(), 64<<10)
	p := make([]byte, n)
	r.overOr("read", ctx, r.ref.ReadAt(ctx, p, 0))
	_, err := r.ref.Extents(ctx, 0, n, nil)
	r.overOr("extents", ctx, err)
	if !r.cfg.Writable {
		return
	}
	r.overOr("flush", ctx, r.ref.Flush(ctx))
	pattern(p, 0, 2)
	fresh := bytes.Clone(p)
	r.overOr("write", ctx, r.ref.WriteAt(ctx, p, 0, 0))
	r.settle(0, fresh)
	r.overOr("write zeroes", ctx, r.ref.WriteZeroes(ctx, 4096, n-4096, engine.MayUnmap))
	r.settle(4096, make([]byte, n-4096))
	r.overOr("discard", ctx, r.ref.Discard(ctx, n/2, n/2))
	r.settle(n/2, make([]byte, n-n/2))
	r.write(0, n, engine.FUA, 3)
	r.checkAll()
}

// overOr accepts success and the context's own error.
func (r *nodeRun) overOr(what string, ctx context.Context, err error) { //nolint:revive // the context is the subject
	r.Helper()
	if err != nil && !isAny(err, ctx.Err()) {
		r.Errorf("%s with a context that is over: %v, want nothing or %v", what, err, ctx.Err())
	}
}

// settle reads a range whose bytes may be the old or the new ones, and wants from then on what it read.
func (r *nodeRun) settle(off int64, fresh []byte) {
	r.Helper()
	p := make([]byte, len(fresh))
	r.ok("read", r.ref.ReadAt(bg, p, off))
	for i, v := range p {
		if v != r.want[off+int64(i)] && (v != fresh[i] || r.cfg.Forgets) {
			r.Fatalf("byte %#x is %#02x: want the old %#02x or the new %#02x", off+int64(i), v, r.want[off+int64(i)], fresh[i])
		}
	}
	copy(r.want[off:], p)
}

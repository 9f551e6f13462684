package enginetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// RandomConfig says what random graphs are made of.
type RandomConfig struct {
	Size   int64 // bytes of the root
	Layers int   // at least so many between the root and the first leaf, that included
	Miss   int   // of 1000 look-ups, see ShuffleConfig
	Short  float64
	Clock  bool // delays wait for a clock moved by hand; else delays do not wait
}

// RandomGraph builds a graph of toy layers: mappers with and without backing children, filters that can be flattened and that can't,
// over leaves of all alignments.
func RandomGraph(t testing.TB, seed uint64, cfg RandomConfig) *Graph {
	b := &graphBuilder{t: t, cfg: cfg, rng: rand.New(rand.NewPCG(seed, 4)), g: &Graph{}}
	if cfg.Clock {
		b.g.Clock = NewClock(t)
	}
	var root built
	for {
		b.shape.Reset()
		b.shuffles, b.swaps, b.delays, b.mapped = nil, nil, 0, false
		root = b.layer(cfg.Size, cfg.Layers, true)
		if b.mapped || cfg.Layers < 2 {
			break
		}
		if err := root.ref.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.g.Root, b.g.Content = root.ref, root.content
	b.g.Disturb = b.disturb
	t.Cleanup(func() {
		if err := root.ref.Close(); err != nil {
			t.Error(err)
		}
		for _, d := range b.disks {
			if !d.Closed() {
				t.Errorf("a leaf of %s is not closed", b.shape.String())
			}
		}
	})
	return b.g
}

type built struct {
	ref     *engine.Ref
	content []byte
}

type graphBuilder struct {
	t        testing.TB
	cfg      RandomConfig
	rng      *rand.Rand
	g        *Graph
	shape    strings.Builder
	disks    []*Disk
	shuffles []*Shuffle
	swaps    []func()
	delays   int
	mapped   bool
}

func (b *graphBuilder) disturb(seed uint64) {
	if len(b.shuffles) == 0 {
		return
	}
	s := b.shuffles[seed%uint64(len(b.shuffles))]
	seed /= 8
	if seed%8 == 0 && len(b.swaps) > 0 {
		b.swaps[seed/8%uint64(len(b.swaps))]()
		return
	}
	for i := range uint64(len(s.table)) {
		if s.Move(int64((seed + i) % uint64(len(s.table)))) {
			return
		}
	}
}

func (b *graphBuilder) open(n engine.Node, write bool) *engine.Ref {
	return engine.NewRef(n, engine.OpenFlags{Write: write, Discard: true})
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// layer makes a node with at least depth layers.
func (b *graphBuilder) layer(size int64, depth int, write bool) built {
	kind := b.rng.IntN(6)
	if depth <= 1 && b.rng.IntN(3) > 0 {
		kind = -1
	}
	switch kind {
	case 0:
		b.shape.WriteString("opaque:")
		c := b.layer(size, depth-1, write)
		return built{b.open(NewOpaque(c.ref), write), c.content}
	case 1:
		return b.shift(size, depth, write)
	case 2:
		return b.delay(size, depth, write)
	case 3, 4, 5:
		return b.shuffle(size, depth, write)
	}
	return b.disk(size, write)
}

func (b *graphBuilder) shift(size int64, depth int, write bool) built {
	by := pick[int64](b.rng, 0, 512, 4096, 1<<16, 777)
	fmt.Fprintf(&b.shape, "shift(%d):", by)
	c := b.layer(size+by+b.rng.Int64N(2)*4096, depth-1, write)
	return built{b.open(NewShift(c.ref, by, size), write), c.content[by : by+size]}
}

func (b *graphBuilder) delay(size int64, depth int, write bool) built {
	if b.delays++; b.delays > 8 {
		return b.layer(size, depth, write)
	}
	most := int64(0)
	if b.cfg.Clock {
		most = pick[int64](b.rng, 0, 2000, 20000)
	}
	fmt.Fprintf(&b.shape, "delay(%d):", most)
	c := b.layer(size, depth-1, write)
	return built{b.open(NewDelay(c.ref, most, b.rng.Uint64()), write), c.content}
}

func (b *graphBuilder) shuffle(size int64, depth int, write bool) built {
	b.mapped = true
	cfg := ShuffleConfig{
		Block: pick[int64](b.rng, 4096, 8192, 16384), Miss: b.cfg.Miss, Fresh: b.rng.IntN(2) == 0, Seed: b.rng.Uint64(),
	}
	cfg.Size = (size + cfg.Block - 1) / cfg.Block * cfg.Block
	content := make([]byte, cfg.Size)
	fmt.Fprintf(&b.shape, "shuffle(%d){", cfg.Block)
	cfg.Data = b.layer(cfg.Size+SpareBlocks*cfg.Block, depth-1, write).ref
	var again func() *engine.Ref
	if write && b.rng.IntN(2) == 0 {
		b.shape.WriteString(", ")
		short := cfg.Size - b.rng.Int64N(cfg.Size/2)/512*512 - pick[int64](b.rng, 0, 1)
		seed := b.rng.Uint64()
		again = func() *engine.Ref { // the same each time
			nb := *b
			nb.shape, nb.rng = strings.Builder{}, rand.New(rand.NewPCG(seed, 5))
			c := nb.layer(short, min(depth-1, 2), false)
			b.disks, b.delays = nb.disks, max(b.delays, nb.delays)
			copy(content, c.content)
			if b.shape.Len() > 0 {
				b.shape.WriteString(nb.shape.String())
			}
			return c.ref
		}
		cfg.Backing = again()
	}
	b.shape.WriteString("}")
	s := NewShuffle(b.t, cfg)
	if write {
		b.shuffles = append(b.shuffles, s)
		if again != nil {
			b.swaps = append(b.swaps, func() { s.SwapBacking(again()) })
		}
	}
	ref := b.open(s, write)
	if cfg.Size != size {
		ref = b.open(NewShift(ref, 0, size), write)
	}
	return built{ref, content[:size:size]}
}

func (b *graphBuilder) disk(size int64, write bool) built {
	align := pick[uint32](b.rng, 1, 512, 512, 4096)
	cfg := DiskConfig{Size: size, ReadOnly: !write, FUA: b.rng.IntN(2) == 0, NoQueue: b.rng.IntN(10) == 0}
	cfg.Limits = engine.Limits{RequestAlign: align, MemAlign: pick(b.rng, 1, align), MaxTransfer: pick[uint32](b.rng, 0, 8192, 65536)}
	if align == 1 && b.rng.IntN(2) == 0 {
		cfg.Limits.MemAlign = 1
	}
	cfg.Zero, cfg.Discard = b.rng.IntN(2) == 0, b.rng.IntN(3) == 0
	cfg.Queue = QueueBehaviour{Room: pick(b.rng, 0, 1, 3), Shuffle: b.rng.IntN(3) > 0, Seed: b.rng.Uint64()}
	if b.rng.IntN(2) == 0 {
		cfg.Queue.Short = b.cfg.Short
	}
	cfg.Queue.NoEvents = b.rng.IntN(4) == 0
	if b.rng.IntN(3) == 0 {
		cfg.Queue.Ops = []engine.Op{engine.OpFlush}
	}
	fmt.Fprintf(&b.shape, "disk(%d)", align)
	d, ref := cfg.Open(b.t)
	b.disks = append(b.disks, d)
	content := make([]byte, size)
	if !write {
		Step{Kind: StepWrite, Len: size, Fill: b.rng.Uint64() | 1}.fill(content, 0)
		d.Fill(content, 0)
	}
	return built{ref, slices.Clip(content)}
}

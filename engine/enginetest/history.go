package enginetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/blkbench/blkbench/engine"
)

// StepKind is what a step of a history does.
type StepKind uint8

// The kinds of steps. Resize and Disturb are control-plane actions: Resize is alone in its batch, Disturb goes on beside the others.
const (
	StepRead StepKind = iota
	StepWrite
	StepFlush
	StepDiscard
	StepZero
	StepResize
	StepDisturb
)

var stepNames = [...]string{"read", "write", "flush", "discard", "zero", "resize", "disturb"}

// Step is one operation.
type Step struct {
	Kind     StepKind
	Off, Len int64 // bytes; Resize: Off is the new size
	Fill     uint64
	Flags    engine.WriteFlags
}

func (s Step) String() string {
	switch s.Kind {
	case StepFlush:
		return "flush"
	case StepResize:
		return fmt.Sprintf("resize %d", s.Off)
	case StepDisturb:
		return fmt.Sprintf("disturb %d", s.Fill)
	default:
		out := fmt.Sprintf("%s %#x+%d", stepNames[s.Kind], s.Off, s.Len)
		if s.Kind == StepWrite {
			out += fmt.Sprintf(" fill=%d", s.Fill)
		}
		if s.Flags&engine.FUA != 0 {
			out += " fua"
		}
		if s.Flags&engine.MayUnmap != 0 {
			out += " unmap"
		}
		return out
	}
}

func (s Step) changes() bool {
	return s.Kind == StepWrite || s.Kind == StepDiscard || s.Kind == StepZero
}

// word returns the eight bytes that a write puts at a multiple of eight.
func (s Step) word(at int64) uint64 { return mix(uint64(at>>3) + s.Fill<<32) }

// at returns the byte that a write puts at off.
func (s Step) at(off int64) byte {
	if s.Kind != StepWrite || s.Fill == 0 {
		return 0
	}
	return byte(s.word(off) >> (8 * (off & 7)))
}

// fill writes the data of the step's range that starts at off into p.
func (s Step) fill(p []byte, off int64) {
	if s.Kind != StepWrite || s.Fill == 0 {
		clear(p)
		return
	}
	for len(p) > 0 && off&7 != 0 {
		p[0] = s.at(off)
		p, off = p[1:], off+1
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, s.word(off))
		p, off = p[8:], off+8
	}
	for i := range p {
		p[i] = s.at(off + int64(i))
	}
}

// History is a list of batches; the steps of a batch are under way at once, and those that change something do not overlap.
type History [][]Step

func (h History) String() string {
	var b strings.Builder
	for i, batch := range h {
		for _, s := range batch {
			fmt.Fprintf(&b, "  %3d: %s\n", i, s)
		}
	}
	return b.String()
}

// HistoryConfig says what random histories are made of.
type HistoryConfig struct {
	Size    int64 // bytes, at the start
	Batches int
	Depth   int   // steps in a batch at most
	MaxLen  int64 // bytes
	Align   int64 // of offsets and lengths; 0 means 1, with some preference for rounder ones
	// Weights by kind; nil: mostly reads and writes, a little of all else but resizing.
	Weights [7]int
	// ResizeUnit and MaxSize bound what resizing asks for; 0 unit: no resizing.
	ResizeUnit, MaxSize int64
	// Hot is the number of bytes at the start that half of the steps go to; 0: a quarter of the size.
	Hot int64
}

// Random makes the history of a seed.
func (c HistoryConfig) Random(seed uint64) History {
	g := generator{HistoryConfig: c, rng: rand.New(rand.NewPCG(seed, 3)), size: c.Size}
	if g.Weights == [7]int{} {
		g.Weights = [7]int{40, 40, 4, 4, 4, 0, 4}
	}
	if g.ResizeUnit > 0 && g.Weights[StepResize] == 0 {
		g.Weights[StepResize] = 2
	}
	if g.Hot == 0 {
		g.Hot = max(1, g.Size/4)
	}
	h := make(History, 0, c.Batches)
	for range c.Batches {
		h = append(h, g.batch())
	}
	return h
}

type generator struct {
	HistoryConfig
	rng  *rand.Rand
	size int64
	fill uint64
}

func (g *generator) kind() StepKind {
	sum := 0
	for _, w := range g.Weights {
		sum += w
	}
	at := g.rng.IntN(sum)
	for k, w := range g.Weights {
		if at -= w; at < 0 {
			return StepKind(k)
		}
	}
	return StepRead
}

func (g *generator) batch() []Step {
	var batch []Step
	n := 1 + g.rng.IntN(g.Depth)
	for range 4 * n {
		if len(batch) == n {
			break
		}
		s := g.step(g.kind())
		if s.Kind == StepResize {
			if len(batch) > 0 {
				continue
			}
			g.size = s.Off
			return []Step{s}
		}
		if s.Kind <= StepZero && s.Kind != StepFlush && s.Len == 0 && g.size > 0 && g.rng.IntN(4) > 0 {
			continue
		}
		if s.changes() && overlapsChange(batch, s) {
			continue
		}
		batch = append(batch, s)
	}
	return batch
}

func overlapsChange(batch []Step, s Step) bool {
	for _, o := range batch {
		if o.changes() && o.Off < s.Off+s.Len && s.Off < o.Off+o.Len {
			return true
		}
	}
	return false
}

func (g *generator) step(kind StepKind) Step {
	g.fill++
	s := Step{Kind: kind, Fill: g.fill}
	switch kind {
	case StepFlush:
		return Step{Kind: kind}
	case StepDisturb:
		s.Fill = g.rng.Uint64()
		return s
	case StepResize:
		s.Off = g.rng.Int64N(g.MaxSize/g.ResizeUnit+1) * g.ResizeUnit
		return s
	case StepRead, StepWrite, StepDiscard, StepZero:
	}
	s.Off, s.Len = g.place()
	if kind != StepRead && kind != StepDiscard && g.rng.IntN(8) == 0 {
		s.Flags |= engine.FUA
	}
	if kind == StepZero && g.rng.IntN(2) == 0 {
		s.Flags |= engine.MayUnmap
	}
	if kind == StepWrite && g.rng.IntN(16) == 0 {
		s.Fill = 0
	}
	return s
}

// place draws a range inside the node: round ones often, and now and then one that ends at the end.
func (g *generator) place() (off, n int64) {
	unit := max(1, g.Align)
	if g.Align == 0 {
		unit = [...]int64{1, 512, 512, 4096, 4096}[g.rng.IntN(5)]
	}
	span := g.size
	if g.rng.IntN(2) == 0 {
		span = min(span, g.Hot)
	}
	if span <= 0 {
		return 0, 0
	}
	off = g.rng.Int64N(span) / unit * unit
	n = (1 + g.rng.Int64N(max(1, g.MaxLen/unit))) * unit
	if g.rng.IntN(3) > 0 {
		n = min(n, 4*unit)
	}
	if n = min(n, g.size-off); g.rng.IntN(16) == 0 && g.size >= n {
		off = g.size - n
		if g.Align > 1 {
			off -= off % unit
			n = (g.size - off) / unit * unit
		}
	}
	if g.Align > 1 {
		n -= n % unit
	}
	return off, n
}

package verify

import (
	"fmt"
	"iter"

	"github.com/blkbench/blkbench/bench/gen"
)

// NeedsLedger says whether checking a workload after so many bytes written
// takes a [Ledger], or whether its writes can be made again from their seed.
func NeedsLedger(c *gen.Config, written int64) bool {
	for d := range gen.Dirs {
		s := &c.Sizes[d]
		if c.Pattern.Has(gen.Dir(d)) && (len(s.Split) > 1 || s.Max > s.Min) {
			return true
		}
	}
	if c.Pattern.Has(gen.Trim) || c.Identical || written > c.Size || c.SizesByKind {
		return true
	}
	if c.Zone.Size > c.Zone.Range || c.Stride < 0 || c.Zone.Size > 0 && written > c.Zone.Size {
		return true
	}
	if !c.Pattern.Random() {
		return false
	}
	return c.NoMap || c.Run > 1 || c.Dist[gen.Write].Law != gen.Uniform || c.SeqPercent[gen.Write] > 0 || c.Align[gen.Write] != 0
}

// Ledger keeps what each block of a range holds: eight bytes a block. It
// belongs to one thread. Writes to one block must not be under way at the same
// time: which of them is last is up to the target.
type Ledger struct {
	base  int64
	unit  int64
	cells []uint64 // sequence<<2 | state
}

// NewLedger makes a ledger for the blocks of unit bytes in [base, base+size).
// Needing more than limit bytes is an error that says so.
func NewLedger(base, size, unit, limit int64) (*Ledger, error) {
	if base < 0 || size <= 0 || unit <= 0 || unit > size {
		return nil, fmt.Errorf("ledger of %d-byte blocks over %d+%d", unit, base, size)
	}
	n := size / unit
	if n > limit/8 {
		return nil, fmt.Errorf("remembering %d blocks takes %d bytes, the limit is %d: larger blocks (verify_interval), a smaller range, or one block size with a random map", n, n*8, limit)
	}
	return &Ledger{base: base, unit: unit, cells: make([]uint64, n)}, nil
}

// Issued notes a write that is being issued: until it is acknowledged its
// blocks hold it or what was there before.
func (l *Ledger) Issued(off, n int64, sequence uint64) { l.mark(off, n, sequence<<2|uint64(Uncertain)) }

// Completed notes that a write was acknowledged.
func (l *Ledger) Completed(off, n int64, sequence uint64) {
	first, last := l.whole(off, n)
	for i := first; i < last; i++ {
		if l.cells[i]>>2 == sequence {
			l.cells[i] = sequence<<2 | uint64(Written)
		}
	}
}

// Trimmed notes a trim. With zeroes, the target promises that trimmed blocks
// read as zeroes; without, nothing is known of them any more.
func (l *Ledger) Trimmed(off, n int64, zeroes bool) {
	cell := uint64(Unknown)
	if zeroes {
		cell = uint64(Trimmed)
	}
	l.mark(off, n, cell)
}

// whole are the cells that [off, off+n) covers wholly.
func (l *Ledger) whole(off, n int64) (first, last int64) {
	off -= l.base
	first = (max(off, 0) + l.unit - 1) / l.unit
	last = min((off+n)/l.unit, int64(len(l.cells)))
	return first, max(first, last)
}

func (l *Ledger) mark(off, n int64, cell uint64) {
	first, last := l.whole(off, n)
	for i := first; i < last; i++ {
		l.cells[i] = cell
	}
	// A cell that is covered in part holds two writes: nothing to be expected.
	rel := off - l.base
	for _, edge := range [2]int64{rel, rel + n - 1} {
		if i := edge / l.unit; edge >= 0 && i < int64(len(l.cells)) && (i < first || i >= last) {
			l.cells[i] = uint64(Unknown)
		}
	}
}

// Expect is what the n bytes at off should hold: one block of the ledger, or
// several with one and the same last write, or else Unknown.
func (l *Ledger) Expect(off, n int64) Expect {
	first, last := l.whole(off, n)
	if first == last || (off-l.base)%l.unit != 0 || n%l.unit != 0 {
		return Expect{}
	}
	cell := l.cells[first]
	for _, c := range l.cells[first+1 : last] {
		if c != cell {
			return Expect{}
		}
	}
	return expectOf(cell)
}

func expectOf(cell uint64) Expect { return Expect{BlockState(cell & 3), cell >> 2} }

// Blocks ranges over the blocks of which something is known, in order of
// offset.
func (l *Ledger) Blocks() iter.Seq2[int64, Expect] {
	return func(yield func(int64, Expect) bool) {
		for i, cell := range l.cells {
			if cell&3 != uint64(Unknown) && !yield(l.base+int64(i)*l.unit, expectOf(cell)) {
				return
			}
		}
	}
}

// Unit is the length of a block of the ledger.
func (l *Ledger) Unit() int64 { return l.unit }

// Past is one acknowledged write.
type Past struct {
	Off      int64
	Len      uint32
	Sequence uint64
}

// Backlog keeps acknowledged writes until enough of them are there to be read
// back (verify_backlog). It belongs to one thread.
type Backlog struct {
	ring  []Past
	first int
	held  int
	batch int
	left  int // of the batch under way
}

// NewBacklog is due after so many writes and then gives back batch of them; 0:
// all. What a smaller batch leaves counts towards the next.
func NewBacklog(writes, batch int) (*Backlog, error) {
	if writes < 1 || batch < 0 {
		return nil, fmt.Errorf("backlog of %d writes, %d at a time", writes, batch)
	}
	if batch == 0 || batch > writes {
		batch = writes
	}
	return &Backlog{ring: make([]Past, writes), batch: batch}, nil
}

// Push adds a write. With a full backlog it is not taken.
func (b *Backlog) Push(p Past) bool {
	if b.held == len(b.ring) {
		return false
	}
	b.ring[(b.first+b.held)%len(b.ring)] = p
	b.held++
	return true
}

// Due says whether writes are to be read back before any more are made.
func (b *Backlog) Due() bool {
	if b.left == 0 && b.held == len(b.ring) {
		b.left = b.batch
	}
	return b.left > 0
}

// Pop is the oldest write of the batch that is due.
func (b *Backlog) Pop() (p Past, ok bool) {
	if !b.Due() {
		return Past{}, false
	}
	b.left--
	return b.take(), true
}

// Drain is the oldest write that is still there, due or not: for the end of a
// job.
func (b *Backlog) Drain() (p Past, ok bool) {
	if b.held == 0 {
		return Past{}, false
	}
	b.left = max(b.left-1, 0)
	return b.take(), true
}

func (b *Backlog) take() Past {
	p := b.ring[b.first]
	b.first = (b.first + 1) % len(b.ring)
	b.held--
	return p
}

package enginetest

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// Crash is a Disk that remembers what was not flushed, and shows what could be left of it after a power cut: of the writes since the last
// completed flush any subset, each torn between sectors, whatever the order they came in. Writes with FUA, where the disk has it, are
// there once they have completed.
type Crash struct {
	*Disk
	log Log
}

// sectorSize is what a write is torn at, in bytes: a sector is old or new as a whole.
const sectorSize = 512

type entryKind uint8

const (
	entryWrite  entryKind = iota // data, zeroes and what a discard left
	entryFlush                   // completed
	entryResize                  // to off
)

// entry is something that happened to the disk.
type entry struct {
	kind    entryKind
	off     int64
	data    []byte
	durable bool
}

// Log is what happened to a disk since Settle, and what was on it then.
type Log struct {
	base    []byte
	entries []entry
}

// NewCrash makes a crash device full of zeroes.
func NewCrash(t testing.TB, cfg DiskConfig) *Crash {
	c := &Crash{Disk: NewDisk(t, cfg)}
	c.Settle()
	c.journal = func(e entry) {
		e.data = bytes.Clone(e.data)
		c.log.entries = append(c.log.entries, e)
	}
	return c
}

// Settle makes all that there is durable, and forgets how it came.
func (c *Crash) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = Log{base: bytes.Clone(c.data[:c.Size()])}
}

// Mark returns how many things have happened: moments of the log count in them.
func (c *Crash) Mark() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.log.entries)
}

// Log returns what has happened until now.
func (c *Crash) Log() Log {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.log
}

// Crash returns what could be left if the power failed now; the seed chooses.
func (c *Crash) Crash(seed uint64) []byte {
	l := c.Log()
	durable, pending := l.at(len(l.entries))
	return survivors(nil, durable, pending, rand.New(rand.NewPCG(seed, 10)))
}

// Len is how many moments there are, but for the one at the start.
func (l Log) Len() int { return len(l.entries) }

// at returns what is durable at a moment, and what is pending.
func (l Log) at(moment int) (durable []byte, pending []entry) {
	last := 0
	for i, e := range l.entries[:moment] {
		if e.kind == entryFlush {
			last = i + 1
		}
	}
	durable = bytes.Clone(l.base)
	for _, e := range l.entries[:last] {
		durable = e.apply(durable)
	}
	return durable, l.entries[last:moment]
}

func (e *entry) apply(b []byte) []byte {
	switch e.kind {
	case entryWrite:
		return place(b, e.off, e.data)
	case entryResize:
		return resized(b, e.off)
	case entryFlush:
	}
	return b
}

func place(b []byte, off int64, p []byte) []byte {
	if end := off + int64(len(p)); end > int64(len(b)) {
		b = resized(b, end)
	}
	copy(b[off:], p)
	return b
}

func resized(b []byte, size int64) []byte {
	old := int64(len(b))
	if size <= old {
		return b[:size]
	}
	if size <= int64(cap(b)) {
		b = b[:size]
		clear(b[old:])
		return b
	}
	return append(b, make([]byte, size-old)...)
}

// Image is what a power cut at a moment of the log may have left.
type Image struct {
	Moment int    // so many things had happened
	Seed   uint64 // which of the possible images of the moment it is: 0 has nothing that is not durable, 1 all of it
	Data   []byte // valid until the next image
}

// Cuts gives, for every moment of the log, so many images of what could be left. The first two of a moment are the extremes.
func (l Log) Cuts(perMoment int) iter.Seq[Image] {
	return func(yield func(Image) bool) {
		durable := bytes.Clone(l.base)
		var scratch []byte
		first := 0 // pending are the entries from here on
		for moment := 0; moment <= len(l.entries); moment++ {
			if moment > 0 && l.entries[moment-1].kind == entryFlush {
				for _, e := range l.entries[first:moment] {
					durable = e.apply(durable)
				}
				first = moment
			}
			images := perMoment
			if first == moment {
				images = 1 // all is durable: there is one image only
			}
			for seed := range uint64(images) {
				scratch = cutAt(scratch, durable, l.entries[first:moment], moment, seed)
				if !yield(Image{moment, seed, scratch}) {
					return
				}
			}
		}
	}
}

// Cut gives one image again, by its moment and seed.
func (l Log) Cut(moment int, seed uint64) Image {
	durable, pending := l.at(moment)
	return Image{moment, seed, cutAt(nil, durable, pending, moment, seed)}
}

func cutAt(scratch, durable []byte, pending []entry, moment int, seed uint64) []byte {
	if seed < 2 {
		scratch = append(scratch[:0], durable...)
		for _, e := range pending {
			if seed == 1 || e.durable {
				scratch = e.apply(scratch)
			}
		}
		return scratch
	}
	return survivors(scratch, durable, pending, rand.New(rand.NewPCG(seed, uint64(moment))))
}

// survivors builds an image in b: what is durable, and of each pending entry all, some sectors, or nothing. Overlapping writes are applied
// in their order; since any may be missing, each sector gets any of its versions.
func survivors(b, durable []byte, pending []entry, rng *rand.Rand) []byte {
	b = append(b[:0], durable...)
	keep := 1 + rng.IntN(4) // of five: how much gets through this time
	for _, e := range pending {
		fate := rng.IntN(5)
		switch {
		case e.durable, fate < keep:
			b = e.apply(b)
		case fate == keep && e.kind == entryWrite:
			b = tear(b, &e, rng)
		}
	}
	return b
}

// tear applies some sectors of a write.
func tear(b []byte, e *entry, rng *rand.Rand) []byte {
	for at := int64(0); at < int64(len(e.data)); {
		n := min(sectorSize-(e.off+at)%sectorSize, int64(len(e.data))-at)
		if rng.IntN(2) == 0 {
			b = place(b, e.off+at, e.data[at:at+n])
		}
		at += n
	}
	return b
}

// Ref opens a reference to the device.
func (c *Crash) Ref() *engine.Ref {
	return engine.NewRef(c, engine.OpenFlags{Write: !c.cfg.ReadOnly, Discard: true})
}

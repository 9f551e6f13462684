package gen

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Content says what buffers hold when they are written.
type Content struct {
	Seed uint64
	// Zero fills with zeroes, Pattern with a pattern (instead of random data).
	Zero    bool
	Pattern *Pat
	// Refill makes new data for each request. Without it, data is made once per
	// buffer, and Scramble changes eight bytes in each sector per request, which
	// defeats deduplication for the price of one store per sector.
	Refill, Scramble bool
	// CompressPercent is the share of each CompressChunk bytes (0: the whole
	// buffer) that is zeroes or the pattern instead of random. It implies Refill.
	CompressPercent float64
	CompressChunk   int
	// DedupePercent is the share of buffers that repeat an earlier one: the last
	// unique one, or, with WorkingSet above 0, any of the first WorkingSet unique
	// ones. It implies Refill.
	DedupePercent float64
	WorkingSet    uint64
}

// Data prepares buffers. It belongs to one thread.
type Data struct {
	c        Content
	rng      Rand
	dup      uint64 // threshold
	unique   uint64 // how many different contents there were
	scramble uint64
}

// NewData checks a Content.
func NewData(c Content) (*Data, error) {
	if !(c.CompressPercent >= 0 && c.CompressPercent <= 100) {
		return nil, fmt.Errorf("buffers compressible to %v %%", c.CompressPercent)
	}
	if !(c.DedupePercent >= 0 && c.DedupePercent <= 100) {
		return nil, fmt.Errorf("%v %% duplicate buffers", c.DedupePercent)
	}
	if c.CompressChunk < 0 {
		return nil, fmt.Errorf("chunks of %d bytes", c.CompressChunk)
	}
	if c.CompressPercent > 0 || c.DedupePercent > 0 {
		c.Refill = true
	}
	const stream = 1 << 16 // away from those of Workload
	return &Data{c: c, rng: NewRand(c.Seed, stream), dup: chance(c.DedupePercent / 100)}, nil
}

// Init fills a buffer for the first time. Every buffer of a slab needs it once.
func (d *Data) Init(buf []byte) {
	d.unique++
	d.write(buf, 0, d.content(d.unique))
}

// Prepare makes buf ready to be written at off.
func (d *Data) Prepare(buf []byte, off int64) {
	switch {
	case d.c.Pattern != nil && d.c.Pattern.HasOffset() && d.c.CompressPercent == 0:
		d.c.Pattern.Fill(buf, off)
	case d.c.Refill:
		d.write(buf, off, d.choose())
	case d.c.Scramble && !d.c.Zero && d.c.Pattern == nil:
		d.scrambled(buf, off)
	}
}

// choose picks the content of the next buffer: a new one or an earlier one.
func (d *Data) choose() uint64 {
	if d.unique > 0 && d.dup != 0 && d.rng.hit(d.dup) {
		if d.c.WorkingSet == 0 {
			return d.content(d.unique)
		}
		return d.content(1 + d.rng.Below(min(d.unique, d.c.WorkingSet)))
	}
	d.unique++
	return d.content(d.unique)
}

// content is the seed of the i-th unique buffer: no working set is kept, since
// any member of it can be made again.
func (d *Data) content(i uint64) uint64 {
	return mix64(d.c.Seed ^ mix64(i*0x9e3779b97f4a7c15+1))
}

func (d *Data) write(buf []byte, off int64, seed uint64) {
	switch {
	case d.c.Zero:
		clear(buf)
		return
	case d.c.CompressPercent == 0 && d.c.Pattern != nil:
		d.c.Pattern.Fill(buf, off)
		return
	case d.c.CompressPercent == 0:
		FillRandom(buf, seed)
		return
	}
	chunk := d.c.CompressChunk
	if chunk == 0 || chunk > len(buf) {
		chunk = len(buf)
	}
	for at := 0; at < len(buf); at += chunk {
		part := buf[at:min(at+chunk, len(buf))]
		random := int(float64(len(part)) * (100 - d.c.CompressPercent) / 100)
		FillRandom(part[:random], seed+uint64(at))
		if d.c.Pattern != nil {
			d.c.Pattern.Fill(part[random:], off)
		} else {
			clear(part[random:])
		}
	}
}

// scrambled changes eight bytes in each sector, at a place that moves.
func (d *Data) scrambled(buf []byte, off int64) {
	d.scramble++
	x := mix64(uint64(off)*0x9e3779b97f4a7c15 + d.scramble)
	at := int(x>>32) & 0x1f8
	for ; at+8 <= len(buf); at += 512 {
		binary.LittleEndian.PutUint64(buf[at:], x)
		x += 0x9e3779b97f4a7c15
	}
}

// FillRandom fills buf with bytes that follow from seed and do not compress.
// It is a counter through a widening multiplication, several bytes a cycle.
func FillRandom(buf []byte, seed uint64) {
	const step, key = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	x := mix64(seed)
	for len(buf) >= 32 {
		b := buf[:32]
		for i := range 4 {
			x += step
			hi, lo := bits.Mul64(x, x^key)
			binary.LittleEndian.PutUint64(b[8*i:], hi^lo)
		}
		buf = buf[32:]
	}
	for len(buf) >= 8 {
		x += step
		hi, lo := bits.Mul64(x, x^key)
		binary.LittleEndian.PutUint64(buf, hi^lo)
		buf = buf[8:]
	}
	if len(buf) > 0 {
		x += step
		hi, lo := bits.Mul64(x, x^key)
		var tail [8]byte
		binary.LittleEndian.PutUint64(tail[:], hi^lo)
		copy(buf, tail[:])
	}
}

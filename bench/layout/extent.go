package layout

import (
	"fmt"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
)

// Extent is the part of a file a job does I/O in.
type Extent struct{ Offset, Size int64 }

// End is where it ends.
func (e Extent) End() int64 { return e.Offset + e.Size }

// sizeStream is the stream of random numbers that file sizes are drawn from.
const sizeStream = 0x73697a65

// Where says which part of the i-th of n files a clone uses. The file has actual
// bytes; the part may lie beyond them: then it has to grow.
//
//   - filesize= wins over size=; a file within a range of sizes keeps its own.
//   - size= is divided between the files, what is left over block by block among
//     the first of them. Without it a file is used as far as it goes.
//   - size=N% is of each file, offset included.
//   - offset= comes on top of size=.
func Where(j *fiojob.Job, seed uint64, i, n int, actual int64) (Extent, error) {
	block := minBlock(j)
	e := Extent{Offset: offset(j, actual, block)}
	f := &j.Files
	share, extra := int64(0), int64(0)
	if f.Size.Bytes > 0 {
		share = f.Size.Bytes / int64(n)
		if int64(i) < (f.Size.Bytes-share*int64(n))/block {
			extra = block
		}
	}
	switch {
	case f.FileSize.Max > 0 && (actual < f.FileSize.Min || actual > f.FileSize.Max):
		e.Size = drawSize(j, seed, i, block) - e.Offset
	case f.FileSize.Max > 0 || share == 0:
		e.Size = actual - e.Offset
	default:
		e.Size = share + extra
	}
	if p := f.Size.Percent; p > 0 && p < 100 {
		whole := e.End()
		e.Size = min(whole/100*int64(p)+whole%100*int64(p)/100, e.Size)
		e.Size -= e.Size % block
	}
	if e.Size < 0 {
		return Extent{}, fmt.Errorf("the offset %d is behind the end of the file", e.Offset)
	}
	return e, nil
}

// drawSize is the size of a file that filesize= describes.
func drawSize(j *fiojob.Job, seed uint64, i int, block int64) int64 {
	lo, hi := j.Files.FileSize.Min, j.Files.FileSize.Max
	if lo == hi {
		return lo
	}
	r := gen.NewRand(seed, sizeStream+uint64(j.Clone)<<32+uint64(i))
	size := lo + int64(r.Below(uint64(hi-lo)+1))
	return max(size-size%block, lo)
}

// offset is where a clone begins in a file that has actual bytes.
func offset(j *fiojob.Job, actual, block int64) int64 {
	f := &j.Files
	if f.Append {
		return actual
	}
	off := amount(f.Offset, actual) + int64(j.Clone)*amount(f.OffsetStep, actual)
	if f.Offset.Percent == 0 && f.OffsetStep.Percent == 0 {
		return off
	}
	align := f.OffsetAlign
	if align == 0 {
		align = block
	}
	return (off + align - 1) / align * align
}

func amount(a fiojob.Amount, actual int64) int64 {
	if a.Percent > 0 {
		return actual/100*int64(a.Percent) + actual%100*int64(a.Percent)/100
	}
	return a.Bytes
}

// minBlock is the smallest block of the directions a job uses.
func minBlock(j *fiojob.Job) int64 {
	least := int64(0)
	for dir := fiojob.Read; dir <= fiojob.Trim; dir++ {
		size := j.Block.Size[dir].Min
		if (j.RW.Kind.Uses(dir) || j.Block.SeqRand) && (least == 0 || size < least) {
			least = size
		}
	}
	return max(least, 1)
}

package bench

import (
	"fmt"
	"os"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
)

// makeParts makes generator, pacer, filler and checker.
func (w *worker) makeParts() error {
	j := w.job
	var err error
	if w.src, err = newSource(w); err != nil {
		return err
	}
	w.pacer = newPacer(w)
	if j.RW.Kind.Writes() {
		if w.filler, err = newFiller(w); err != nil {
			return err
		}
	}
	switch j.RW.Sync {
	case fiojob.SyncData:
		w.writeFlags = engine.FUA
	case fiojob.SyncFull:
		w.writeFlags = engine.FUA | engine.FlushMetadata
	case fiojob.SyncNone:
	}
	w.engineStr = describeEngine(j, w.files)
	return nil
}

// maxBlock is the largest request that a job makes, in bytes.
func maxBlock(j *fiojob.Job) int64 {
	n := int64(0)
	for d := range j.Block.Size {
		b := &j.Block.Size[d]
		n = max(n, b.Max, b.Min)
		for _, s := range b.Split {
			n = max(n, s.Size)
		}
	}
	return n
}

func minBlock(j *fiojob.Job) int64 {
	n := int64(1) << 62
	for d := range j.Block.Size {
		b := &j.Block.Size[d]
		if !j.RW.Kind.Uses(fiojob.Dir(d)) && !j.Block.SeqRand {
			continue
		}
		n = min(n, b.Min)
		for _, s := range b.Split {
			n = min(n, s.Size)
		}
	}
	return n
}

// span says which part of a file the job uses: offset and size, in bytes or in percent of what is there.
func (w *worker) span(f *file) error {
	j := w.job
	there := f.ref.Size()
	unit := max(1, minBlock(j))
	off := amount(&j.Files.Offset, there, j.Zone.Size)
	if j.Files.Offset.Percent > 0 {
		off = off / unit * unit
	}
	off += int64(j.Clone) * amount(&j.Files.OffsetStep, there, j.Zone.Size)
	size := there - off
	switch {
	case j.Files.FileSize.Max > 0:
		size = fileSize(j, f.index)
	case j.Files.Size.Percent > 0:
		size = (there - off) / 100 * int64(j.Files.Size.Percent)
		if j.Files.Size.Percent == 100 {
			size = there - off
		}
	case !j.Files.Size.IsZero():
		size = amount(&j.Files.Size, there, j.Zone.Size) / int64(max(1, w.fileCount))
	}
	grows := j.RW.Kind.Writes() && f.ref.Info().Caps.Has(engine.CapGrowable)
	if off+size > there && !grows {
		size = there - off
	}
	if size < unit {
		return fmt.Errorf("%s: %s: %d bytes from %d are less than one block of %d (the target has %d)", j.Name, f.name, max(0, size), off, unit, there)
	}
	f.offset, f.size = off, size
	return nil
}

func amount(a *fiojob.Amount, there, zone int64) int64 {
	switch {
	case a.Percent > 0:
		return there / 100 * int64(a.Percent)
	case a.Zones > 0:
		return int64(a.Zones) * zone
	}
	return a.Bytes
}

// fileSize is the size of the i-th file of a job with a range of sizes: drawn by the seed, the same in every run.
func fileSize(j *fiojob.Job, i int) int64 {
	lo, hi := j.Files.FileSize.Min, j.Files.FileSize.Max
	if hi <= lo {
		return lo
	}
	x := (seedOf(j) + uint64(i)) * 0x9e3779b97f4a7c15
	return lo + int64((x>>11)%uint64(hi-lo+1))
}

// describeEngine says in words which way the I/O goes.
func describeEngine(j *fiojob.Job, files []*file) string {
	if len(files) == 0 {
		return j.Engine.Kind.String()
	}
	d := files[0].ref.Info().Driver
	if d == "null-co" {
		return "null"
	}
	if files[0].ref.Flags().Leaf.Engine == "psync" {
		return d + ", psync"
	}
	s := d + ", io_uring"
	f := files[0].ref.Flags().Leaf
	if !f.NoFixedBufs {
		s += ", registered buffers"
	}
	if !f.NoRegisterFiles {
		s += ", registered files"
	}
	if f.SQThreadPoll {
		s += ", submission thread"
	}
	if j.Engine.HiPri {
		s += ", polled completions"
	}
	return s
}

// isSpecial reports whether a path is there and is no regular file.
func isSpecial(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.Mode().IsRegular() && !st.IsDir()
}

package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// File is one file of a clone.
type File struct {
	Name string
	// Regular files are laid out here. Of others neither Real nor the extent is
	// known before the engine has opened them: ask Where then.
	Regular bool
	// Real is how large the file is: before Prepare as it was found, after it as
	// it was made. 0 also where there is none.
	Real int64
	Extent
	grow bool // it is not there or too short
}

// Layout is the files of one clone. Its methods are not for several goroutines
// at once.
type Layout struct {
	Files []File
	job   *fiojob.Job
	seed  uint64
}

// Options are what laying out may and should do.
type Options struct {
	// ReadOnly forbids making files, as --readonly does.
	ReadOnly bool
	// Progress hears, now and then, how many bytes of a file have been written.
	Progress func(name string, done, total int64)
}

// maxFiles bounds what opendir= may find.
const maxFiles = 1 << 20

// New finds out which files a clone uses and how far they go. It makes nothing.
func New(j *fiojob.Job, seed uint64) (*Layout, error) {
	l := &Layout{job: j, seed: seed}
	for _, dir := range j.Files.Directories {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return nil, fmt.Errorf("directory %s: %w", dir, orNotDir(err))
		}
	}
	for _, name := range j.FileNames(special) {
		f := File{Name: name}
		if err := l.find(&f); err != nil {
			return nil, err
		}
		l.Files = append(l.Files, f)
	}
	if j.Files.OpenDir != "" {
		if err := l.openDir(j.Files.OpenDir); err != nil {
			return nil, err
		}
	}
	return l, l.measure()
}

func orNotDir(err error) error {
	if err != nil {
		return err
	}
	return unix.ENOTDIR
}

// special reports whether a path is there and is neither a file nor a folder.
func special(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.Mode().IsRegular() && !st.IsDir()
}

func (l *Layout) find(f *File) error {
	if fiojob.IsTarget(f.Name) || l.job.Engine.Kind == fiojob.EngineNull || l.job.Engine.Kind == fiojob.EngineNBD {
		return nil
	}
	st, err := os.Stat(f.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Regular = true
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s is a folder", f.Name)
	case st.Mode().IsRegular():
		f.Regular, f.Real = true, st.Size()
	}
	return nil
}

// openDir adds the regular files below a folder, in the order of their names.
func (l *Layout) openDir(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if len(l.Files) == maxFiles {
			return fmt.Errorf("opendir=%s: more than %d files", dir, maxFiles)
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		l.Files = append(l.Files, File{Name: path, Regular: true, Real: st.Size()})
		return nil
	})
}

// measure computes the extents.
func (l *Layout) measure() error {
	j := l.job
	for i := range l.Files {
		f := &l.Files[i]
		f.grow = false
		if !f.Regular || len(j.Replay.Logs) > 0 {
			continue
		}
		if fills(j) {
			if err := l.fillDevice(f); err != nil {
				return err
			}
			continue
		}
		e, err := Where(j, l.seed, i, len(l.Files), f.Real)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		switch block := minBlock(j); {
		case e.Size == 0 && f.Real == 0:
			return fmt.Errorf("%s: there is no such file, or nothing in it: say how large it is to be with size=", f.Name)
		case e.Size < block:
			return fmt.Errorf("%s: %d bytes from %d on are less than one block of %d", f.Name, e.Size, e.Offset, block)
		}
		f.Extent = e
		f.grow = e.End() > f.Real
	}
	return nil
}

// fills reports whether a job goes on until there is no space.
func fills(j *fiojob.Job) bool {
	return j.Files.FillDevice && j.Files.Size.IsZero() && j.Files.FileSize.Max == 0
}

// fillDevice makes the extent everything that is free, in whole blocks.
func (l *Layout) fillDevice(f *File) error {
	var st unix.Statfs_t
	if err := unix.Statfs(existingParent(f.Name), &st); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	free := int64(math.MaxInt64) / 2
	if st.Bavail < uint64(free)/uint64(st.Bsize) {
		free = int64(st.Bavail) * st.Bsize
	}
	block := minBlock(l.job)
	off := offset(l.job, f.Real, block)
	f.Extent = Extent{Offset: off, Size: (f.Real + free - off) / block * block}
	f.grow = l.job.RW.Kind.Reads() || f.Real == 0
	return nil
}

// existingParent is the nearest folder above a file that is there.
func existingParent(name string) string {
	dir := filepath.Dir(name)
	for dir != "/" && dir != "." {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// Prepare makes what is missing. When ctx ends first, the file that was being
// made is removed.
func (l *Layout) Prepare(ctx context.Context, o Options) error {
	for i := range l.Files {
		f := &l.Files[i]
		if !f.Regular || len(l.job.Replay.Logs) > 0 || !f.grow {
			continue
		}
		if o.ReadOnly {
			return fmt.Errorf("%s would have to be made, or made larger: not with --readonly", f.Name)
		}
		if l.job.Files.CreateOnOpen {
			if err := l.createEmpty(f); err != nil {
				return err
			}
			continue
		}
		if err := l.extend(ctx, f, o); err != nil {
			return fmt.Errorf("lay out %s: %w", f.Name, err)
		}
		f.grow = false
	}
	return nil
}

// createEmpty is what create_on_open leaves of laying out: a file that a job can
// open and write to.
func (l *Layout) createEmpty(f *File) error {
	if !l.job.RW.Kind.Writes() {
		return fmt.Errorf("%s: it has %d bytes, and create_on_open adds none to read", f.Name, f.Real)
	}
	fd, err := l.open(f, 0)
	if err != nil {
		return err
	}
	return fd.Close()
}

// Ready does what comes right before a run: write_hint, and pre_read or
// invalidate.
func (l *Layout) Ready(ctx context.Context) error {
	for i := range l.Files {
		f := &l.Files[i]
		if !f.Regular || len(l.job.Replay.Logs) > 0 {
			continue
		}
		if err := l.ready(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// EndLoop does what unlink_each_loop says: files are deleted and made again. It
// is for between loops: the engine must have closed the files.
func (l *Layout) EndLoop(ctx context.Context, o Options) error {
	if !l.job.Files.UnlinkEachLoop {
		return nil
	}
	if err := l.unlink(); err != nil {
		return err
	}
	for i := range l.Files {
		l.Files[i].Real = 0
	}
	if err := l.measure(); err != nil {
		return err
	}
	return errors.Join(l.Prepare(ctx, o), l.Ready(ctx))
}

// Finish does what unlink, or unlink_each_loop after the last loop, say.
func (l *Layout) Finish() error {
	if !l.job.Files.Unlink && !l.job.Files.UnlinkEachLoop {
		return nil
	}
	return l.unlink()
}

// unlink deletes the regular files. One that another clone has deleted is no error.
func (l *Layout) unlink() error {
	var errs error
	for i := range l.Files {
		if f := &l.Files[i]; f.Regular {
			if err := os.Remove(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = errors.Join(errs, err)
			}
		}
	}
	return errs
}

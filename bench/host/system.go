package host

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// System is where facts come from.
type System struct {
	// Root is the file system that /proc, /sys, /etc, /run and /dev are read from, without their first slash. It resolves symbolic links.
	Root fs.FS
	// Stat says what a path is.
	Stat func(path string) (Stat, error)
	// Resolve makes a path absolute and free of symbolic links.
	Resolve func(path string) (string, error)
	// Unwritten is how many bytes of a file are allocated but not written.
	Unwritten func(path string) (int64, error)
	// Now is the time.
	Now func() time.Time
}

// Stat is what stat(2) says.
type Stat struct {
	Mode         fs.FileMode
	Major, Minor uint32 // of the device that the file is on, or that the node is
	Size         int64
	Allocated    int64 // bytes
}

// New is this machine.
func New() *System {
	return &System{Root: os.DirFS("/"), Stat: stat, Resolve: resolve, Unwritten: unwritten, Now: time.Now}
}

func stat(name string) (Stat, error) {
	i, err := os.Stat(name)
	if err != nil {
		return Stat{}, err
	}
	s, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return Stat{}, errors.ErrUnsupported
	}
	dev := s.Dev
	if i.Mode()&fs.ModeDevice != 0 {
		dev = s.Rdev
	}
	return Stat{Mode: i.Mode(), Major: unix.Major(dev), Minor: unix.Minor(dev), Size: i.Size(), Allocated: s.Blocks * 512}, nil
}

func resolve(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// maxFact bounds what is read of a file of /proc or /sys.
const maxFact = 4 << 20

// text is a file's content without the white space around it, empty where there is none.
func (s *System) text(name ...string) string {
	f, err := s.Root.Open(path.Join(name...))
	if err != nil {
		return ""
	}
	defer f.Close()
	var b strings.Builder
	buf := make([]byte, 8192)
	for b.Len() < maxFact {
		n, err := f.Read(buf)
		b.Write(buf[:n])
		if err != nil || n == 0 {
			break
		}
	}
	return strings.TrimSpace(b.String())
}

func (s *System) lines(name ...string) []string {
	t := s.text(name...)
	if t == "" {
		return nil
	}
	return strings.Split(t, "\n")
}

func (s *System) number(name ...string) int64 {
	n, err := strconv.ParseInt(s.text(name...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (s *System) names(dir string) []string {
	list, err := fs.ReadDir(s.Root, dir)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// link is what a symbolic link says, empty where it is none.
func (s *System) link(name string) string {
	t, err := fs.ReadLink(s.Root, name)
	if err != nil {
		return ""
	}
	return t
}

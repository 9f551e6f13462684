package file

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// Open opens a file or a block device, without locks. A block device that is opened for writing is claimed,
// and env says whether the user has consented.
func Open(o *Options, flags engine.OpenFlags, env *engine.Env) (*Node, error) {
	return openGiven(o, flags, env, nil)
}

// openGiven is Open for what may have been opened already.
func openGiven(o *Options, flags engine.OpenFlags, env *engine.Env, given *os.File) (*Node, error) {
	n := &Node{fd: -1, rangeFD: -1, given: -1, opt: *o, flags: flags, env: env}
	if given != nil {
		n.given = int(given.Fd())
	}
	n.info = engine.Info{Driver: "file", Filename: o.Filename}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if o.AIO == "native" {
		n.info.Notes = append(n.info.Notes, "aio=native is served by io_uring")
	}
	return n, nil
}

// open goes from the path to a described descriptor.
func (n *Node) open() error {
	path := n.opt.Filename
	var st unix.Stat_t
	if err := n.stat(path, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFBLK:
		n.device, n.info.Driver = true, "host_device"
	case unix.S_IFDIR:
		return unix.EISDIR
	default:
		return engine.Errf(engine.ErrUnsupported, "neither a regular file nor a block device")
	}
	if n.device && n.flags.Write {
		if err := inUse(path, st.Rdev); err != nil {
			return err
		}
		err := n.claim(st.Rdev)
		if err != nil && n.flags.AutoReadOnly && readOnly(err) {
			n.flags.Write, err = false, nil
		}
		if err != nil {
			return err
		}
	}
	if err := n.openFD(path); err != nil {
		return err
	}
	var now unix.Stat_t
	if err := unix.Fstat(n.fd, &now); err != nil {
		return err
	}
	if now.Mode&unix.S_IFMT != st.Mode&unix.S_IFMT || (n.device && now.Rdev != st.Rdev) {
		return engine.Errf(engine.ErrIO, "the file was exchanged while it was opened")
	}
	if n.device && n.flags.Write {
		size, err := sizeOf(n.fd, true)
		if err != nil {
			return err
		}
		if err := consent(path, n.fd, size, n.allowed()); err != nil {
			return err
		}
	}
	if err := n.setDirect(); err != nil {
		return err
	}
	return n.measure()
}

// stat describes what will be opened.
func (n *Node) stat(path string, st *unix.Stat_t) error {
	if n.given >= 0 {
		return unix.Fstat(n.given, st)
	}
	return unix.Stat(path, st)
}

func (n *Node) allowed() []string {
	if n.env == nil {
		return nil
	}
	return n.env.AllowDestroy
}

// openFD opens, for reading only where writing is not possible and that will do.
func (n *Node) openFD(path string) error {
	if n.given >= 0 {
		return n.duplicate()
	}
	mode := unix.O_RDONLY
	if n.flags.Write {
		mode = unix.O_RDWR
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, mode|unix.O_CLOEXEC|unix.O_NOCTTY, 0) })
	if err != nil && n.flags.Write && n.flags.AutoReadOnly && readOnly(err) {
		n.flags.Write = false
		n.disclaim()
		fd, err = retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0) })
	}
	if err != nil {
		return err
	}
	n.fd = fd
	if !n.device {
		n.rangeFD = fd
	}
	return nil
}

// duplicate takes over the descriptor that was opened already.
func (n *Node) duplicate() error {
	have, err := unix.FcntlInt(uintptr(n.given), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if have&unix.O_ACCMODE == unix.O_RDONLY && n.flags.Write {
		if !n.flags.AutoReadOnly {
			return unix.EACCES
		}
		n.flags.Write = false
	}
	n.fd, err = unix.FcntlInt(uintptr(n.given), unix.F_DUPFD_CLOEXEC, 3)
	n.rangeFD = n.fd
	return err
}

func readOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) ||
		errors.Is(err, unix.ETXTBSY)
}

// setDirect turns O_DIRECT on, after what had to be read at any alignment.
func (n *Node) setDirect() error {
	if !n.flags.Cache.Direct {
		return nil
	}
	have, err := unix.FcntlInt(uintptr(n.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(n.fd), unix.F_SETFL, have|unix.O_DIRECT)
	}
	if errors.Is(err, unix.EINVAL) {
		return engine.Errf(engine.ErrUnsupported, "the file system does not take O_DIRECT (cache=none, direct=1)")
	}
	if err != nil {
		return fmt.Errorf("O_DIRECT: %w", err)
	}
	return nil
}

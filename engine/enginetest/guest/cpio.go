package guest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// cpioWriter writes the "newc" archive that the kernel unpacks as its first root.
// Linux Documentation/driver-api/early-userspace/buffer-format.rst
type cpioWriter struct {
	w    io.Writer
	ino  int
	made map[string]bool
}

// cpioEntry is a file, a folder (mode with fs.ModeDir) or a symbolic link (fs.ModeSymlink, body is the target).
type cpioEntry struct {
	name string // without a leading slash
	mode fs.FileMode
	body []byte
}

// File types of the mode field. stat(2)
const (
	modeRegular = 0o100000
	modeFolder  = 0o040000
	modeLink    = 0o120000
)

func newCPIO(w io.Writer) *cpioWriter { return &cpioWriter{w: w, made: map[string]bool{}} }

// add writes an entry, and the folders above it that are not there yet.
func (c *cpioWriter) add(e cpioEntry) error {
	if parent := path.Dir(e.name); parent != "." && !c.made[parent] {
		if err := c.add(cpioEntry{name: parent, mode: fs.ModeDir | 0o755}); err != nil {
			return err
		}
	}
	if c.made[e.name] {
		return nil
	}
	c.made[e.name] = true
	mode := uint32(e.mode.Perm())
	switch {
	case e.mode.IsDir():
		mode |= modeFolder
	case e.mode&fs.ModeSymlink != 0:
		mode |= modeLink
	default:
		mode |= modeRegular
	}
	c.ino++
	return c.raw(e.name, c.ino, mode, e.body)
}

func (c *cpioWriter) raw(name string, ino int, mode uint32, body []byte) error {
	var b bytes.Buffer
	b.WriteString("070701")
	for _, v := range []uint32{
		uint32(ino), mode, 0, 0, 1, 0, uint32(len(body)), 0, 0, 0, 0, uint32(len(name) + 1), 0,
	} {
		fmt.Fprintf(&b, "%08x", v)
	}
	b.WriteString(name)
	b.WriteByte(0)
	pad(&b, b.Len())
	b.Write(body)
	pad(&b, len(body))
	_, err := c.w.Write(b.Bytes())
	return err
}

// pad fills up to a multiple of four bytes.
func pad(b *bytes.Buffer, n int) {
	for ; n%4 != 0; n++ {
		b.WriteByte(0)
	}
}

// close ends the archive.
func (c *cpioWriter) close() error { return c.raw("TRAILER!!!", 0, 0, nil) }

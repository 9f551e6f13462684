package iocmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// The bytes that fill buffers where no pattern is given.
const (
	writeFill = 0xcd
	readFill  = 0xab
)

// span reads the offset and the length of a command that has just these two operands.
func (c *call) span(limit string) (off, n int64, ok bool) {
	if len(c.args) != 2 {
		return 0, 0, c.usage()
	}
	if off, ok = c.number(c.args[0]); !ok {
		return 0, 0, false
	}
	if n, ok = c.number(c.args[1]); !ok {
		return 0, 0, false
	}
	if n > maxRequest && limit != "" {
		c.printf(limit, uint64(maxRequest), c.args[1])
		return 0, 0, false
	}
	return off, n, true
}

// size is the image's size in whole sectors, as QEMU counts; what lies behind the real end reads as zeroes.
func (s *session) size() int64 { return (s.ref.Size() + sectorSize - 1) &^ (sectorSize - 1) }

// real cuts a range at the real end.
func (s *session) real(off, n int64) int64 { return min(n, max(0, s.ref.Size()-off)) }

func (s *session) read(ctx context.Context, p []byte, off int64) error {
	if err := s.inside(off, int64(len(p))); err != nil {
		return err
	}
	n := s.real(off, int64(len(p)))
	clear(p[n:])
	return s.ref.ReadAt(ctx, p[:n], off)
}

// inside checks a range as QEMU does before any driver sees it.
func (s *session) inside(off, n int64) error {
	if size := s.size(); off < 0 || off > size || size-off < n {
		return errOutside
	}
	return nil
}

const readLimit = "length cannot exceed %d, given %s\n"

// read is the command: a read in one piece.
func read(ctx context.Context, c *call) bool {
	check, ok := c.checkOf()
	if !ok {
		return false
	}
	off, n, ok := c.span(readLimit)
	if !ok {
		return false
	}
	if !check.given && (c.has("l") || c.has("s")) {
		return c.usage()
	}
	if !c.has("l") {
		check.count = n - check.at
	}
	if check.count < 0 || check.count+check.at > n {
		c.printf("pattern verification range exceeds end of read data\n")
		return false
	}
	if c.has("b") && (!c.aligned("offset", off) || !c.aligned("count", n)) {
		return false
	}
	p := fill(n, readFill)
	start := time.Now()
	var err error = unix.EOPNOTSUPP
	if !c.has("b") {
		err = c.s.read(ctx, p, off)
	}
	took := time.Since(start)
	if err != nil {
		c.printf("read failed: %s\n", reason(err))
		return false
	}
	return c.finishRead(&check, p, off, took)
}

// check is what -P asks of the data that was read.
type check struct {
	given     bool
	pattern   byte
	at, count int64 // bytes within the buffer
}

// checkOf reads -P, -s and -l.
func (c *call) checkOf() (k check, ok bool) {
	for _, f := range c.found {
		switch f.Option.Short {
		case "P":
			k.given = true
			k.pattern, ok = c.pattern(f.Value)
		case "s":
			k.at, ok = c.number(f.Value)
		case "l":
			k.count, ok = c.number(f.Value)
		default:
			ok = true
		}
		if !ok {
			return k, false
		}
	}
	return k, true
}

// finishRead verifies what was read, prints it and reports.
func (c *call) finishRead(k *check, p []byte, off int64, took time.Duration) bool {
	text, ok := "", true
	if k.given && len(bytes.TrimLeft(p[k.at:k.at+k.count], string([]byte{k.pattern}))) > 0 {
		text = fmt.Sprintf("Pattern verification failed at offset %d, %d bytes\n", off+k.at, k.count)
		ok = false
	}
	if !c.has("q") {
		r := report{op: "read", took: took, off: off, count: int64(len(p)), total: int64(len(p)), terse: c.has("C")}
		if c.has("v") {
			r.dump, r.dumpAt = p, off
		}
		text += r.String()
	}
	c.s.print(text)
	return ok
}

// fill makes a buffer of one byte's copies.
func fill(n int64, b byte) []byte {
	p := make([]byte, n)
	if n == 0 {
		return p
	}
	p[0] = b
	for done := 1; done < len(p); done *= 2 {
		copy(p[done:], p[:done])
	}
	return p
}

// write is the command: a write in one piece, of data, of zeroes or compressed.
func write(ctx context.Context, c *call) bool {
	pattern, ok := c.writePattern()
	if !ok {
		return false
	}
	if len(c.args) != 2 {
		return c.usage()
	}
	if msg := c.writeConflict(); msg != "" {
		c.printf("%s\n", msg)
		return false
	}
	limit := "length cannot exceed %d without -n, given %s\n"
	if c.has("n") {
		limit = ""
	}
	off, n, ok := c.span(limit)
	if !ok {
		return false
	}
	if (c.has("b") || c.has("c")) && (!c.aligned("offset", off) || !c.aligned("count", n)) {
		return false
	}
	var p []byte
	if file, given := c.value("s"); given {
		if p, ok = c.fillFromFile(n, file); !ok {
			return false
		}
	} else if !c.has("z") {
		p = fill(n, pattern)
	}
	start := time.Now()
	err := c.write(ctx, p, off, n)
	took := time.Since(start)
	if err != nil {
		c.printf("write failed: %s\n", reason(err))
		return false
	}
	c.wrote("wrote", off, n, took)
	return true
}

// writePattern reads -P.
func (c *call) writePattern() (byte, bool) {
	pattern := byte(writeFill)
	for _, f := range c.found {
		if f.Option.Short == "P" {
			var ok bool
			if pattern, ok = c.pattern(f.Value); !ok {
				return 0, false
			}
		}
	}
	return pattern, true
}

// writeConflict names options that exclude one another.
func (c *call) writeConflict() string {
	sources := 0
	for _, l := range []string{"z", "P", "s"} {
		if c.has(l) {
			sources++
		}
	}
	switch {
	case c.has("b") && c.has("z"):
		return "-b and -z cannot be specified at the same time"
	case c.has("f") && (c.has("b") || c.has("c")):
		return "-f and -b or -c cannot be specified at the same time"
	case c.has("n") && !c.has("z"):
		return "-n requires -z to be specified"
	case c.has("u") && !c.has("z"):
		return "-u requires -z to be specified"
	case sources > 1:
		return "Only one of -z, -P, and -s can be specified at the same time"
	}
	return ""
}

// flags turns -f, -u and -n into the engine's words.
func (c *call) flags() engine.WriteFlags {
	var f engine.WriteFlags
	for letter, flag := range map[string]engine.WriteFlags{"f": engine.FUA, "u": engine.MayUnmap, "n": engine.NoFallback} {
		if c.has(letter) {
			f |= flag
		}
	}
	return f
}

// write writes p, or n zeroes. What lies behind the real end of the image is dropped.
func (c *call) write(ctx context.Context, p []byte, off, n int64) error {
	if c.has("b") {
		return unix.EOPNOTSUPP
	}
	if err := c.s.inside(off, n); err != nil {
		return err
	}
	n = c.s.real(off, n)
	p = p[:min(n, int64(len(p)))]
	switch {
	case c.has("z"):
		return c.s.ref.WriteZeroes(ctx, off, n, c.flags())
	case c.has("c"):
		return c.s.ref.WriteAt(ctx, p, off, engine.Compressed)
	}
	return c.s.ref.WriteAt(ctx, p, off, c.flags())
}

// wrote reports what changed the image.
func (c *call) wrote(op string, off, n int64, took time.Duration) {
	if c.has("q") {
		return
	}
	r := report{op: op, took: took, off: off, count: n, total: n, terse: c.has("C")}
	c.s.print(r.String())
}

// fillFromFile makes a buffer of a file's content, repeated. Only as much of the file is read as there is room for.
func (c *call) fillFromFile(n int64, name string) ([]byte, bool) {
	f, err := os.Open(name)
	if err != nil {
		c.s.eprintf("%s: %s\n", name, reason(err))
		return nil, false
	}
	defer f.Close()
	p := make([]byte, n)
	k, err := readFull(f, p)
	if err != nil {
		c.s.eprintf("%s: %s\n", name, reason(err))
		return nil, false
	}
	if k == 0 && n > 0 {
		c.s.eprintf("%s: file is empty\n", name)
		return nil, false
	}
	for done := k; k > 0 && done < len(p); done *= 2 {
		copy(p[done:], p[:done])
	}
	return p, true
}

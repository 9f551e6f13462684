// Package trace is a file of requests with their times, for recording what a node was asked and doing it again.
//
// A trace is one LZ4 frame (or several, one after the other). In it, after eight bytes that name the format, are records of 32 bytes, all numbers
// little-endian:
//
//	 0  1  operation: 0 read, 1 write, 2 flush, 3 discard, 4 write zeroes; 255 names a node
//	 1  1  flags of the operation: 1 FUA, 2 may unmap, 4 no fallback, 8 compressed
//	 2  2  number of the node
//	 4  4  length in bytes
//	 8  8  offset in bytes
//	16  8  when it was issued, in nanoseconds from the start of the trace
//	24  4  how long it took, in nanoseconds; the largest number means that or more
//	28  2  errno, 0 where it succeeded
//	30  2  zero
//
// A record that names a node has the length of the name in place of the length of the request, zeroes after it, and the name behind it.
// Records are in the order of completion; [Load] puts them in the order of issue. A trace that was cut short is good up to the cut.
package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// magic begins a trace.
const magic = "BLKBTR01"

// recordSize is the length of a record, in bytes.
const recordSize = 32

// MaxName is the longest name of a node, in bytes.
const MaxName = 4096

// ErrFormat means: this is no trace, or a damaged one.
var ErrFormat = errors.New("not a trace")

// Op is what a request does; the numbers are those of the file.
type Op uint8

// The operations.
const (
	Read Op = iota
	Write
	Flush
	Discard
	Zero
	ops
	nameOp Op = 255
)

var opNames = [ops]string{"read", "write", "flush", "discard", "zero"}

func (o Op) String() string {
	if o < ops {
		return opNames[o]
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// Entry is one request.
type Entry struct {
	Off     int64  // bytes
	At      int64  // nanoseconds from the start of the trace
	Len     uint32 // bytes
	Latency uint32 // nanoseconds
	Node    uint16
	Errno   uint16
	Op      Op
	Flags   uint8
}

func (e *Entry) put(b []byte) {
	_ = b[recordSize-1]
	b[0], b[1] = byte(e.Op), e.Flags
	binary.LittleEndian.PutUint16(b[2:], e.Node)
	binary.LittleEndian.PutUint32(b[4:], e.Len)
	binary.LittleEndian.PutUint64(b[8:], uint64(e.Off))
	binary.LittleEndian.PutUint64(b[16:], uint64(e.At))
	binary.LittleEndian.PutUint32(b[24:], e.Latency)
	binary.LittleEndian.PutUint16(b[28:], e.Errno)
	binary.LittleEndian.PutUint16(b[30:], 0)
}

func (e *Entry) get(b []byte) error {
	_ = b[recordSize-1]
	*e = Entry{
		Op: Op(b[0]), Flags: b[1], Node: binary.LittleEndian.Uint16(b[2:]), Len: binary.LittleEndian.Uint32(b[4:]),
		Off: int64(binary.LittleEndian.Uint64(b[8:])), At: int64(binary.LittleEndian.Uint64(b[16:])),
		Latency: binary.LittleEndian.Uint32(b[24:]), Errno: binary.LittleEndian.Uint16(b[28:]),
	}
	switch {
	case e.Op >= ops && e.Op != nameOp:
		return fmt.Errorf("%w: operation %d", ErrFormat, b[0])
	case e.Off < 0 || e.At < 0 || e.Off > 1<<62 || e.At > 1<<62 || e.Flags > 15 || b[30]|b[31] != 0:
		return fmt.Errorf("%w: a record with numbers that cannot be", ErrFormat)
	case e.Op == nameOp && (e.Len == 0 || e.Len > MaxName):
		return fmt.Errorf("%w: a name of %d bytes", ErrFormat, e.Len)
	}
	return nil
}

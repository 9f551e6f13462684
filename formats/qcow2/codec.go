package qcow2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/formats/internal/deflate"
	ownzstd "github.com/blkbench/blkbench/formats/internal/zstd"
)

// Compression types. qcow2.txt "Additional fields".
const (
	compressionZlib uint8 = 0
	compressionZstd uint8 = 1
)

// zlibWindow is the window that QEMU's reader expects: raw deflate with 12 window bits.
const zlibWindow = 4096

// deflaters are pools by window and level.
var deflaters sync.Map // [2]int → *sync.Pool

// compressZlib compresses src into dst; nil when the result is not shorter than src.
func compressZlib(dst, src []byte, window, level int) []byte {
	pool, ok := deflaters.Load([2]int{window, level})
	if !ok {
		pool, _ = deflaters.LoadOrStore([2]int{window, level}, new(sync.Pool))
	}
	p := pool.(*sync.Pool)
	d, _ := p.Get().(*deflate.Deflater)
	if d == nil {
		d = deflate.NewDeflater(window, level)
	}
	defer p.Put(d)
	return d.Deflate(dst[:0], src, len(src)-1)
}

var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.IgnoreChecksum(true))
	if err != nil {
		return err
	}
	return d
}}

// zstdSlack is the room behind the output, in bytes, with which the decoder copies in large steps; and a block fits in any case.
const zstdSlack = 128<<10 + 64

// errFrameSize says that a frame is longer than a cluster.
var errFrameSize = errors.New("zstd frame is longer than a cluster")

// unzstd fills dst from the first frame of src, which has as many bytes; what follows it is ignored.
func unzstd(dst, src []byte) error {
	n, content, err := zstdFrame(src)
	if err != nil {
		return err
	}
	if content > uint64(len(dst)) {
		return errFrameSize
	}
	v := zstdDecoders.Get()
	d, ok := v.(*zstd.Decoder)
	if !ok {
		return v.(error)
	}
	defer zstdDecoders.Put(d)
	buf, done := scratch(int64(len(dst)) + zstdSlack)
	defer done()
	out, err := d.DecodeAll(src[:n], buf[:0])
	if err != nil {
		return err
	}
	switch n := copy(dst, out); {
	case n < len(dst):
		return io.ErrUnexpectedEOF
	case n < len(out):
		return errFrameSize
	}
	return nil
}

// zstdFrame returns the length of the frame that src starts with, and that of its content; 0 when it does not tell. RFC 8878 §3.1.1.
func zstdFrame(src []byte) (n int, content uint64, err error) {
	var head zstd.Header
	if err := head.Decode(src); err != nil {
		return 0, 0, err
	}
	if head.Skippable || head.DictionaryID != 0 {
		return 0, 0, zstd.ErrMagicMismatch
	}
	at := head.HeaderSize
	for {
		if at+3 > len(src) {
			return 0, 0, io.ErrUnexpectedEOF
		}
		h := uint32(src[at]) | uint32(src[at+1])<<8 | uint32(src[at+2])<<16
		at += 3
		if h>>1&3 == 1 {
			at++ // one byte, repeated
		} else {
			at += int(h >> 3)
		}
		if h&1 != 0 {
			break
		}
	}
	if head.HasCheckSum {
		at += 4
	}
	if at > len(src) {
		return 0, 0, io.ErrUnexpectedEOF
	}
	return at, head.FrameContentSize, nil
}

// Our own encoders, by their level.
var ownEncoders = [...]sync.Pool{
	ownzstd.Default: {New: func() any { return ownzstd.NewEncoder(ownzstd.Default) }},
	ownzstd.Fast:    {New: func() any { return ownzstd.NewEncoder(ownzstd.Fast) }},
}

// zstdEncoders are pools by level, for large clusters and high levels.
var zstdEncoders sync.Map // int → *sync.Pool

// enzstd compresses a cluster into dst; nil when that does not make it shorter. Levels 1 and 2 are fast, 3 to 5 balanced.
func enzstd(dst, src []byte, level int) ([]byte, error) {
	if len(src) <= ownzstd.MaxSize && level <= 5 {
		own := ownzstd.Default
		if level == 1 || level == 2 {
			own = ownzstd.Fast
		}
		p := &ownEncoders[own]
		e := p.Get().(*ownzstd.Encoder)
		defer p.Put(e)
		return e.Encode(dst[:0], src, len(src)-1), nil
	}
	pool, ok := zstdEncoders.Load(level)
	if !ok {
		pool, _ = zstdEncoders.LoadOrStore(level, new(sync.Pool))
	}
	p := pool.(*sync.Pool)
	e, _ := p.Get().(*zstd.Encoder)
	if e == nil {
		l := zstd.SpeedDefault
		if level > 0 {
			l = zstd.EncoderLevelFromZstd(level)
		}
		var err error
		if e, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(l), zstd.WithEncoderCRC(false),
			zstd.WithAllLitEntropyCompression(true)); err != nil {
			return nil, err
		}
	}
	defer p.Put(e)
	out := e.EncodeAll(src, dst[:0])
	if len(out) >= len(src) {
		return nil, nil
	}
	return out, nil
}

// decompress fills dst, a cluster, from src.
func decompress(typ uint8, dst, src []byte) error {
	var err error
	if typ == compressionZstd {
		err = unzstd(dst, src)
	} else {
		err = deflate.Inflate(dst, src)
	}
	if err != nil {
		return engine.Errf(engine.ErrIO, "compressed cluster: %v", err)
	}
	return nil
}

// compress returns a cluster compressed, nil when that does not make it shorter. It lies in dst, which has a cluster's capacity, where
// it fits while it is made.
func (m *Image) compress(dst, p []byte) ([]byte, error) {
	if incompressible(p) {
		return nil, nil
	}
	if m.hdr.CompressionType == compressionZstd {
		return enzstd(dst, p, m.cfg.CompressionLevel)
	}
	return compressZlib(dst, p, m.cfg.CompressionWindow, m.cfg.CompressionLevel), nil
}

// incompressible reports whether p looks like random bytes all over: every byte value as often as any other, and no four bytes twice. It
// costs a twentieth of what a compressor takes to find that out.
func incompressible(p []byte) bool {
	if len(p) < 8<<10 {
		return false
	}
	// The sum of squares of the counts is least for equal counts; chance makes it N²/256 + N. The step goes through all columns of records.
	var count [256]uint32
	for i := 0; i+8 <= len(p); i += 256 + 8 {
		for _, b := range p[i : i+8] {
			count[b]++
		}
	}
	var sum, n uint64
	for _, c := range count {
		sum += uint64(c) * uint64(c)
		n += uint64(c)
	}
	if sum > n*n/256*101/100+n*11/10+256 {
		return false
	}
	// Places are chosen by what stands there, so that a repetition is met at any distance. A search for one byte is the cheapest choice.
	var seen [1 << 11]uint32
	repeats, places := 0, 0
	for _, b := range [...]byte{0x17, 0x5b, 0x9d, 0xe2} {
		for i := 0; i+4 <= len(p); i++ {
			k := bytes.IndexByte(p[i:len(p)-3], b)
			if k < 0 {
				break
			}
			i += k
			v := be.Uint32(p[i:])
			if s := &seen[v*0x9e3779b1>>21]; *s == v {
				repeats++
			} else {
				*s = v
			}
			places++
		}
	}
	return repeats <= places/256
}

var clusterBufs sync.Pool

// scratch returns n bytes that are given back by the function.
func scratch(n int64) ([]byte, func()) {
	b, _ := clusterBufs.Get().(*[]byte)
	if b == nil || int64(cap(*b)) < n {
		s := make([]byte, n)
		b = &s
	}
	return (*b)[:n], func() { clusterBufs.Put(b) }
}

// readCompressed reads a part of a compressed cluster, from byte within on.
func (m *Image) readCompressed(ctx context.Context, p []byte, e L2Entry, within int64) error {
	if m.unpacked.read(e, p, within) {
		return nil
	}
	hostOff, n := m.compressedRange(e)
	src, done := scratch(n)
	defer done()
	m.file.Event(engine.EventReadCompressed)
	if err := m.readFile(ctx, src, hostOff); err != nil {
		return err
	}
	if within == 0 && int64(len(p)) == m.clusterSize {
		return decompress(m.hdr.CompressionType, p, src)
	}
	whole := m.unpacked.buffer(m.clusterSize)
	if err := decompress(m.hdr.CompressionType, whole, src); err != nil {
		return err
	}
	copy(p, whole[within:])
	m.unpacked.keep(e, whole)
	return nil
}

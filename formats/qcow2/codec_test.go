package qcow2

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestIncompressible tells random bytes from all else, above all from what looks random and repeats.
func TestIncompressible(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	random := make([]byte, 64<<10)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	repeated := bytes.Repeat(random[:3000], 22)[:64<<10]
	half := bytes.Clone(random)
	copy(half[40000:], half[:20000])
	text := bytes.Repeat([]byte("what stands here is no noise; "), 3000)[:64<<10]
	hex := bytes.Clone(random)
	for i := range hex {
		hex[i] = "0123456789abcdef"[hex[i]&15]
	}
	counter := make([]byte, 64<<10)
	for i := range counter {
		counter[i] = byte(i)
	}
	tail := bytes.Clone(random)
	clear(tail[50000:])
	records := bytes.Clone(random)
	for i := 8; i+8 <= len(records); i += 16 {
		clear(records[i : i+8])
	}
	for _, c := range []struct {
		name string
		p    []byte
		want bool
	}{
		{"random", random, true},
		{"records with zeroes", records, false},
		{"repeated", repeated, false},
		{"a third repeated", half, false},
		{"text", text, false},
		{"hex", hex, false},
		{"counter", counter, false},
		{"zeroes at the end", tail, false},
		{"zeroes", make([]byte, 64<<10), false},
		{"short", random[:4096], false},
	} {
		if got := incompressible(c.p); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(5, func() { incompressible(random) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkIncompressible(b *testing.B) {
	p := make([]byte, 64<<10)
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		incompressible(p)
	}
}

// textCluster is a cluster that compresses to a third.
func textCluster(n int) []byte {
	rng := rand.New(rand.NewPCG(9, 9))
	var b []byte
	for len(b) < n {
		at := rng.IntN(len(b)/2 + 1)
		b = append(append(b, b[at:at+min(8, len(b)-at)]...), byte('a'+rng.IntN(26)), byte('a'+rng.IntN(9)), ' ')
	}
	return b[:n]
}

// TestZstd: what each level makes of clusters of every size is read back, whatever follows it.
func TestZstd(t *testing.T) {
	for _, n := range []int{512, 4 << 10, 64 << 10, 128 << 10, 2 << 20} {
		src := textCluster(n)
		for _, level := range []int{0, 1, 2, 3, 5, 6, 10, 22} {
			z, err := enzstd(nil, src, level)
			if err != nil || z == nil || len(z) >= n {
				t.Fatalf("%d bytes, level %d: %d bytes, %v", n, level, len(z), err)
			}
			dst := make([]byte, n)
			if err := unzstd(dst, append(z, "what follows"...)); err != nil || !bytes.Equal(dst, src) {
				t.Fatalf("%d bytes, level %d: read back: %v", n, level, err)
			}
		}
	}
}

// TestUnzstdForeign reads frames as other writers make them, and refuses those that are no cluster.
func TestUnzstdForeign(t *testing.T) {
	src := textCluster(64 << 10)
	stream := func(p []byte, opts ...zstd.EOption) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, opts...)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range [][]byte{p[:len(p)/3], p[len(p)/3:]} {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	whole, err := enzstd(nil, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		frame []byte
		n     int // of the cluster
		want  error
	}{
		{"blocks without a size", stream(src), 64 << 10, nil},
		{"with a checksum", stream(src, zstd.WithEncoderCRC(true)), 64 << 10, nil},
		{"without a checksum", stream(src, zstd.WithEncoderCRC(false)), 64 << 10, nil},
		{"too long", whole, 32 << 10, errFrameSize},
		{"too long without a size", stream(src), 32 << 10, errFrameSize},
		{"too short", whole, 128 << 10, io.ErrUnexpectedEOF},
		{"cut", whole[:len(whole)-1], 64 << 10, io.ErrUnexpectedEOF},
		{"no frame", src, 64 << 10, zstd.ErrMagicMismatch},
	} {
		dst := make([]byte, c.n)
		if err := unzstd(dst, c.frame); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		} else if err == nil && !bytes.Equal(dst, src) {
			t.Errorf("%s: other content", c.name)
		}
	}
}

func BenchmarkUnzstd(b *testing.B) {
	src := textCluster(64 << 10)
	z, err := enzstd(nil, src, 0)
	if err != nil || z == nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if err := unzstd(src, z); err != nil {
			b.Fatal(err)
		}
	}
}

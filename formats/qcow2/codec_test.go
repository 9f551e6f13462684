package qcow2

import (
	"bytes"
	"math/rand/v2"
	"testing"
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

func BenchmarkUnzstd(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 9))
	var src []byte
	for len(src) < 64<<10 {
		at := rng.IntN(len(src)/2 + 1)
		src = append(append(src, src[at:at+min(8, len(src)-at)]...), byte('a'+rng.IntN(26)), byte('a'+rng.IntN(9)), ' ')
	}
	src = src[:64<<10]
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

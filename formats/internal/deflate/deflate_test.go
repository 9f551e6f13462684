package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// samples are buffers of every kind.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 64<<10)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	var words [][]byte
	for range 3000 {
		w := make([]byte, 2+rng.IntN(9))
		for i := range w {
			w[i] = "etaoinshrdlucmfwypvbgkqjxz"[rng.IntN(26)*rng.IntN(26)/26]
		}
		words = append(words, w)
	}
	var text []byte
	for len(text) < 64<<10 {
		text = append(append(text, words[rng.IntN(len(words))*rng.IntN(len(words))/len(words)]...), ' ')
	}
	text = text[:64<<10]
	mixed := bytes.Clone(text)
	copy(mixed[20000:], random[:10000])
	clear(mixed[40000:50000])
	skew := make([]byte, 200<<10)
	for i := range skew {
		for skew[i] < 40 && rng.IntN(3) != 0 {
			skew[i]++
		}
	}
	large := bytes.Repeat(text, 5)
	return map[string][]byte{
		"empty": {}, "one": {7}, "eight": []byte("abcabcab"), "zeroes": make([]byte, 64<<10), "random": random, "text": text, "mixed": mixed, "skew": skew,
		"period 3": bytes.Repeat([]byte("abc"), 9000), "period 5000": bytes.Repeat(random[:5000], 10), "large": large,
	}
}

func libraryInflate(src []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(bytes.NewReader(src)))
}

// TestRoundTrip: what we compress the standard library reads, and we read; what it compresses we read.
func TestRoundTrip(t *testing.T) {
	levels := []int{1, 2, 3, 4, 5, 6, 7, 8, 9}
	if testing.Short() {
		levels = []int{1, 5, 9}
	}
	for name, src := range samples() {
		for _, window := range []int{256, 4096, 32 << 10} {
			for _, level := range levels {
				z := NewDeflater(window, level).Deflate([]byte("x"), src, 2*len(src)+100)
				if len(z) == 0 || z[0] != 'x' {
					t.Fatalf("%s, window %d, level %d: given up", name, window, level)
				}
				z = z[1:]
				got, err := libraryInflate(z)
				if err != nil || !bytes.Equal(got, src) {
					t.Fatalf("%s, window %d, level %d: the library reads %d bytes, %v", name, window, level, len(got), err)
				}
				back := make([]byte, len(src))
				if err := Inflate(back, append(z, 1, 2, 3)); err != nil || !bytes.Equal(back, src) {
					t.Fatalf("%s, window %d, level %d: read back: %v", name, window, level, err)
				}
			}
		}
		for level := -2; level <= 9; level++ {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(src)
			w.Close()
			back := make([]byte, len(src))
			if err := Inflate(back, b.Bytes()); err != nil || !bytes.Equal(back, src) {
				t.Fatalf("%s, library's level %d: %v", name, level, err)
			}
		}
	}
}

// TestWindow: no match reaches further back than the window.
func TestWindow(t *testing.T) {
	src := samples()["period 5000"]
	z := NewDeflater(4096, 9).Deflate(nil, src, 2*len(src))
	if len(z) < len(src)*9/10 {
		t.Errorf("%d bytes: matches at distance 5000 were used", len(z))
	}
	if z = NewDeflater(8192, 9).Deflate(nil, src, 2*len(src)); len(z) > len(src)/5 {
		t.Errorf("%d bytes: matches at distance 5000 were not used", len(z))
	}
}

// TestLimit gives up on what does not get short enough.
func TestLimit(t *testing.T) {
	src := samples()["random"]
	if z := NewDeflater(4096, 0).Deflate(nil, src, len(src)-1); z != nil {
		t.Errorf("%d bytes", len(z))
	}
}

// TestCorrupt cuts streams anywhere and turns every bit of one: an error or some content, never a fault.
func TestCorrupt(t *testing.T) {
	src := samples()["mixed"][:6000]
	z := NewDeflater(4096, 0).Deflate(nil, src, 1<<20)
	dst := make([]byte, len(src))
	for n := range z[:len(z)-8] {
		if err := Inflate(dst, z[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	for i := range len(z) * 8 {
		bad := bytes.Clone(z)
		bad[i/8] ^= 1 << (i % 8)
		_ = Inflate(dst, bad)
	}
}

func TestNoAllocs(t *testing.T) {
	src := samples()["text"]
	d := NewDeflater(4096, 0)
	out := make([]byte, 0, 2*len(src))
	z := d.Deflate(nil, src, len(src))
	dst := make([]byte, len(src))
	if n := testing.AllocsPerRun(10, func() { d.Deflate(out, src, len(src)) }); n > 0 {
		t.Errorf("Deflate allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { _ = Inflate(dst, z) }); n > 0.5 {
		t.Errorf("Inflate allocates %v times", n)
	}
}

// FuzzInflate agrees with the standard library wherever that succeeds.
func FuzzInflate(f *testing.F) {
	for _, src := range samples() {
		f.Add(NewDeflater(4096, 5).Deflate(nil, src[:min(len(src), 4000)], 1<<20))
	}
	f.Fuzz(func(t *testing.T, z []byte) {
		want, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(z)), 1<<20))
		dst := make([]byte, len(want))
		mine := Inflate(dst, z)
		if err == nil && (mine != nil || !bytes.Equal(dst, want)) {
			t.Fatalf("%d bytes, the library reads %d: %v", len(dst), len(want), mine)
		}
	})
}

// FuzzDeflate is read back by the standard library.
func FuzzDeflate(f *testing.F) {
	for _, src := range samples() {
		f.Add(src[:min(len(src), 4000)], uint8(5))
	}
	f.Fuzz(func(t *testing.T, src []byte, level uint8) {
		z := NewDeflater(4096, int(level%10)).Deflate(nil, src, 2*len(src)+100)
		got, err := libraryInflate(z)
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("%v", err)
		}
		dst := make([]byte, len(src))
		if err := Inflate(dst, z); err != nil || !bytes.Equal(dst, src) {
			t.Fatalf("%v", err)
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, name := range []string{"text", "random"} {
		src := samples()[name]
		for _, level := range []int{3, 5, 6, 9} {
			d := NewDeflater(4096, level)
			out := make([]byte, 0, 2*len(src))
			b.Run(fmt.Sprintf("%s/%d", name, level), func(b *testing.B) {
				b.SetBytes(int64(len(src)))
				n := 0
				for b.Loop() {
					n = len(d.Deflate(out, src, 2*len(src)))
				}
				b.ReportMetric(float64(n)/float64(len(src)), "ratio")
			})
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	src := samples()["text"]
	z := NewDeflater(4096, 6).Deflate(nil, src, len(src))
	dst := make([]byte, len(src))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if err := Inflate(dst, z); err != nil {
			b.Fatal(err)
		}
	}
}

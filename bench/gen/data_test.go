package gen

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

func mustData(t testing.TB, c Content) *Data {
	t.Helper()
	d, err := NewData(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// written is what n buffers of a size hold when they are written in sequence
// from one buffer.
func written(d *Data, n, size int) []byte {
	var out bytes.Buffer
	buf := make([]byte, size)
	d.Init(buf)
	for i := range n {
		d.Prepare(buf, int64(i*size))
		out.Write(buf)
	}
	return out.Bytes()
}

func compressed(t *testing.T, b []byte) int {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return len(enc.EncodeAll(b, nil))
}

// distinct counts different blocks.
func distinct(b []byte, size int) int {
	seen := map[string]bool{}
	for ; len(b) >= size; b = b[size:] {
		seen[string(b[:size])] = true
	}
	return len(seen)
}

func TestCompressiblePartIsWhatWasAskedFor(t *testing.T) {
	fiotest.Long(t)
	for _, chunk := range []int{0, 512, 4096} {
		for _, percent := range []float64{0, 20, 50, 80, 100} {
			d := mustData(t, Content{Seed: 1, CompressPercent: percent, CompressChunk: chunk, Refill: true})
			b := written(d, 256, 16*kib)
			got := 100 * (1 - float64(compressed(t, b))/float64(len(b)))
			if math.Abs(got-percent) > 2 {
				t.Errorf("chunk %d: %.1f %% compressed away, want %v", chunk, got, percent)
			}
		}
	}
}

func TestDuplicatesAreWhatWasAskedFor(t *testing.T) {
	fiotest.Long(t)
	const n = 8192
	for _, percent := range []float64{0, 30, 70, 100} {
		b := written(mustData(t, Content{Seed: 1, DedupePercent: percent, Refill: true}), n, 4*kib)
		got := 100 * (1 - float64(distinct(b, 4*kib))/n)
		if math.Abs(got-percent) > 1.6 {
			t.Errorf("repeat: %.1f %% duplicates, want %v", got, percent)
		}
	}
	// Of a working set there is nothing but it, once it is there.
	d := mustData(t, Content{Seed: 1, DedupePercent: 60, WorkingSet: 50})
	b := written(d, n, 4*kib)
	if got := 100 * (1 - float64(distinct(b, 4*kib))/n); math.Abs(got-60) > 1.6 {
		t.Errorf("working set: %.1f %% duplicates, want 60", got)
	}
	counts := map[string]int{}
	for ; len(b) > 0; b = b[4*kib:] {
		counts[string(b[:4*kib])]++
	}
	repeated := 0
	for _, c := range counts {
		if c > 1 {
			repeated++
		}
	}
	if repeated != 50 {
		t.Errorf("%d different buffers are repeated, want the working set of 50", repeated)
	}
}

func TestDuplicatesMayCompress(t *testing.T) {
	fiotest.Long(t)
	d := mustData(t, Content{Seed: 1, DedupePercent: 50, CompressPercent: 40, CompressChunk: 512})
	b := written(d, 2048, 4*kib)
	if got := float64(distinct(b, 4*kib)) / 2048; math.Abs(got-0.5) > 0.04 {
		t.Errorf("%.2f of the buffers are different, want half", got)
	}
	one := written(mustData(t, Content{Seed: 1, CompressPercent: 40, CompressChunk: 512}), 2048, 4*kib)
	if got := 1 - float64(compressed(t, one))/float64(len(one)); math.Abs(got-0.4) > 0.02 {
		t.Errorf("%.2f compressed away, want 0.4", got)
	}
}

func TestRefillAndScramble(t *testing.T) {
	const n = 500
	for _, c := range []struct {
		name     string
		content  Content
		distinct int
	}{
		{"once", Content{}, 1},
		{"refill", Content{Refill: true}, n},
		{"scramble", Content{Scramble: true}, n},
		{"zero", Content{Zero: true, Refill: true, Scramble: true}, 1},
	} {
		if got := distinct(written(mustData(t, c.content), n, 4*kib), 4*kib); got != c.distinct {
			t.Errorf("%s: %d different buffers of %d, want %d", c.name, got, n, c.distinct)
		}
	}
	// Scrambling reaches every sector.
	b := written(mustData(t, Content{Scramble: true}), n, 4*kib)
	if got := distinct(b, 512); got != n*8 {
		t.Errorf("%d different sectors of %d", got, n*8)
	}
	zero := written(mustData(t, Content{Zero: true}), 2, 4*kib)
	if !bytes.Equal(zero, make([]byte, 8*kib)) {
		t.Error("zero buffers are not zero")
	}
}

func TestRandomDataLooksRandom(t *testing.T) {
	b := make([]byte, 1<<20+5)
	FillRandom(b, 7)
	if got := compressed(t, b); got < len(b) {
		t.Errorf("%d bytes compress to %d", len(b), got)
	}
	counts := make([]uint64, 256)
	for _, x := range b {
		counts[x]++
	}
	fits(t, "bytes", counts, uniformShares(256))
	other := make([]byte, len(b))
	FillRandom(other, 7)
	if !bytes.Equal(b, other) {
		t.Error("one seed gives two contents")
	}
	FillRandom(other[:100], 8)
	if bytes.Equal(b[:16], other[:16]) {
		t.Error("two seeds give one content")
	}
}

func TestPatternGrammar(t *testing.T) {
	readFile := func(name string) ([]byte, error) {
		if name == "pfile" {
			return []byte("FILE"), nil
		}
		return nil, os.ErrNotExist
	}
	for _, c := range []struct {
		in, want string
	}{
		{"0xdeadface", "\xde\xad\xfa\xce"},
		{"0xabc", "\x0a\xbc"},
		{"0X1", "\x01"},
		{`"abcd"`, "abcd"},
		{"-12", "\xf4\xff\xff\xff"},
		{"300", "\x2c\x01"},
		{"70000", "\x70\x11\x01"},
		{"0", "\x00"},
		{`0xdeadface"abcd"-12'pfile'`, "\xde\xad\xfa\xceabcd\xf4\xff\xff\xffFILE"},
		{`0xff%o"ab"-12`, "\xff\x00\x10\x00\x00\x00\x00\x00\x00ab\xf4\xff\xff\xff"},
		{"%o", "\x00\x10\x00\x00\x00\x00\x00\x00"},
	} {
		p, err := ParsePat(c.in, readFile)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		buf := make([]byte, 3*len(c.want)+1)
		p.Fill(buf, 4096)
		want := bytes.Repeat([]byte(c.want), 4)[:len(buf)]
		if !bytes.Equal(buf, want) {
			t.Errorf("%s: % x, want % x", c.in, buf, want)
		}
		if at := p.Mismatch(buf, 4096); at != -1 {
			t.Errorf("%s: its own pattern differs at %d", c.in, at)
		}
		buf[len(buf)-1] ^= 1
		if at := p.Mismatch(buf, 4096); at != len(buf)-1 {
			t.Errorf("%s: changed byte found at %d, want %d", c.in, at, len(buf)-1)
		}
	}
	for _, bad := range []string{"", "0x", `"abc`, "'nofile'", "xyz", "99999999999", "-", "0xzz", `"` + string(make([]byte, 600)) + `"`} {
		if _, err := ParsePat(bad, readFile); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := ParsePat("'pfile'", nil); err == nil {
		t.Error("a file was read without leave")
	}
}

func TestBadContentsAreRefused(t *testing.T) {
	for _, c := range []Content{{CompressPercent: 101}, {CompressPercent: -1}, {DedupePercent: 200}, {DedupePercent: math.NaN()}, {CompressChunk: -1}} {
		if _, err := NewData(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func FuzzParsePat(f *testing.F) {
	for _, s := range []string{"0xdeadface", `"abcd"`, "-12", "'f'", "%o", `0xff%o"ab"-12`, "300"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePat(s, func(string) ([]byte, error) { return []byte("x"), nil })
		if err != nil {
			return
		}
		buf := make([]byte, 1000)
		p.Fill(buf, 1<<40+512)
		if at := p.Mismatch(buf, 1<<40+512); at != -1 {
			t.Errorf("%q does not match itself at %d", s, at)
		}
	})
}

func TestPrepareDoesNotAllocate(t *testing.T) {
	pat, err := ParsePat(`0xff%o"ab"`, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4*kib)
	for i, c := range []Content{{Scramble: true}, {Refill: true}, {Pattern: pat}, {DedupePercent: 50, CompressPercent: 50, CompressChunk: 512}} {
		d := mustData(t, c)
		d.Init(buf)
		if n := testing.AllocsPerRun(100, func() { d.Prepare(buf, 4096) }); n != 0 {
			t.Errorf("content %d: %v allocations", i, n)
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	for _, c := range []struct {
		name    string
		content Content
	}{
		{"scramble", Content{Scramble: true}},
		{"refill", Content{Refill: true}},
		{"compress50", Content{CompressPercent: 50, CompressChunk: 512}},
	} {
		b.Run(fmt.Sprint(c.name), func(b *testing.B) {
			d := mustData(b, c.content)
			buf := make([]byte, 4*kib)
			d.Init(buf)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				d.Prepare(buf, 4096)
			}
		})
	}
}

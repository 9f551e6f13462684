package gen

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

const kib = 1024

func mustNew(t testing.TB, cfg Config) *Workload {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// trace writes requests down as "r0/4": direction, offset and length in KiB.
func trace(w *Workload, n int) string {
	var b strings.Builder
	for range n {
		op := w.Next()
		fmt.Fprintf(&b, "%c%d/%d ", "rwt"[op.Dir], op.Off/kib, op.Len/kib)
	}
	return strings.TrimSpace(b.String())
}

func fixed(size int64) [Dirs]Sizes {
	return [Dirs]Sizes{{Min: size}, {Min: size}, {Min: size}}
}

func TestSequentialPatterns(t *testing.T) {
	base := Config{Size: 32 * kib, Sizes: fixed(8 * kib)}
	for _, c := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"read", func(*Config) {}, "r0/8 r8/8 r16/8 r24/8 r0/8 r8/8"},
		{"offset", func(c *Config) { c.Offset = 64 * kib }, "r64/8 r72/8 r80/8 r88/8 r64/8 r72/8"},
		{"tail is left out", func(c *Config) { c.Size = 19 * kib }, "r0/8 r8/8 r0/8 r8/8 r0/8 r8/8"},
		{"stride", func(c *Config) { c.Stride = 8 * kib }, "r0/8 r16/8 r0/8 r16/8 r0/8 r16/8"},
		{"backwards", func(c *Config) { c.Stride = -16 * kib }, "r0/8 r16/8 r8/8 r0/8 r16/8 r8/8"},
		{"trimwrite", func(c *Config) { c.Pattern = SeqTrimWrite }, "t0/8 w0/8 t8/8 w8/8 t16/8 w16/8"},
		{"trim", func(c *Config) { c.Pattern = SeqTrim }, "t0/8 t8/8 t16/8 t24/8 t0/8 t8/8"},
		{"zones", func(c *Config) {
			c.Size, c.Zone = 64*kib, Strided{Size: 16 * kib, Range: 16 * kib, Skip: 8 * kib}
		}, "r0/8 r8/8 r24/8 r32/8 r48/8 r56/8"},
		{"part of a zone", func(c *Config) {
			c.Size, c.Zone = 64*kib, Strided{Size: 8 * kib, Range: 24 * kib}
		}, "r0/8 r24/8 r48/8 r0/8 r24/8 r48/8"},
		{"zone more than once", func(c *Config) {
			c.Size, c.Zone = 64*kib, Strided{Size: 32 * kib, Range: 16 * kib, Skip: 16 * kib}
		}, "r0/8 r8/8 r0/8 r8/8 r32/8 r40/8"},
	} {
		cfg := base
		c.edit(&cfg)
		if got := trace(mustNew(t, cfg), 6); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Reads and writes of a sequential mix have positions of their own.
func TestSequentialMixHasTwoPositions(t *testing.T) {
	w := mustNew(t, Config{Seed: 1, Size: 1 << 20, Sizes: fixed(4 * kib), Pattern: SeqMixed, ReadPercent: 70})
	var next [Dirs]int64
	for range 200 {
		op := w.Next()
		if op.Off != next[op.Dir] {
			t.Fatalf("%v at %d, want %d", op.Dir, op.Off, next[op.Dir])
		}
		next[op.Dir] += int64(op.Len)
	}
}

func TestRandomMixSharesOnePass(t *testing.T) {
	const n = 1000
	w := mustNew(t, Config{Seed: 1, Size: n * 4 * kib, Sizes: fixed(4 * kib), Pattern: RandMixed, ReadPercent: 30})
	seen := make([]bool, n)
	for range n {
		op := w.Next()
		if b := op.Off / (4 * kib); seen[b] {
			t.Fatalf("block %d twice in a pass", b)
		} else {
			seen[b] = true
		}
	}
	if w.Pass() != 0 {
		t.Error("a new pass was begun early")
	}
	w.Next()
	if w.Pass() != 1 {
		t.Error("no new pass after the first")
	}
}

// What holds with several sizes: each smallest block begins one request a pass,
// and the sizes keep their shares.
func TestSplitsBeginAtEachBlockOnce(t *testing.T) {
	const n = 20_000
	w := mustNew(t, Config{Seed: 1, Size: n * 4 * kib, Pattern: RandWrite, Sizes: [Dirs]Sizes{
		Write: {Split: []Split{{4 * kib, 60}, {16 * kib, 30}, {64 * kib, 0}}},
	}})
	seen := make([]bool, n)
	counts := make([]uint64, 3)
	for range n {
		op := w.Next()
		if b := op.Off / (4 * kib); seen[b] {
			t.Fatalf("two requests begin at block %d", b)
		} else {
			seen[b] = true
		}
		if op.Off+int64(op.Len) > n*4*kib {
			t.Fatalf("request %+v ends beyond the range", op)
		}
		counts[slices.Index([]uint32{4 * kib, 16 * kib, 64 * kib}, op.Len)]++
	}
	fits(t, "sizes", counts, []float64{60, 30, 10})
}

func TestRangesAreEven(t *testing.T) {
	for _, unaligned := range []bool{false, true} {
		w := mustNew(t, Config{Seed: 3, Size: 1 << 30, Pattern: RandRead, NoMap: true, Sizes: [Dirs]Sizes{
			Read: {Min: 512, Max: 512 * 20, Unaligned: unaligned},
		}})
		steps, unit := 20, uint32(512)
		if unaligned {
			steps, unit = 512*19+1, 1
		}
		counts := make([]uint64, steps)
		for range 500_000 {
			n := w.Next().Len - 512
			if n%unit != 0 {
				t.Fatalf("size %d", n+512)
			}
			counts[n/unit]++
		}
		fits(t, fmt.Sprintf("sizes, unaligned %v", unaligned), counts, uniformShares(steps))
	}
}

func TestMixIsByNumberOfRequests(t *testing.T) {
	for _, percent := range []float64{0, 1, 30, 50, 99, 100} {
		w := mustNew(t, Config{
			Seed: 5, Size: 1 << 30, Pattern: RandMixed, ReadPercent: percent, NoMap: true,
			Sizes: [Dirs]Sizes{{Min: 4 * kib}, {Min: 64 * kib}},
		})
		reads := 0
		const n = 400_000
		for range n {
			if w.Next().Dir == Read {
				reads++
			}
		}
		if got := 100 * float64(reads) / n; math.Abs(got-percent) > 0.4 || (percent == 0 || percent == 100) && got != percent {
			t.Errorf("%v %% reads, want %v", got, percent)
		}
	}
}

// Each request of a mix is drawn by itself: what follows a read is as likely a
// read as any.
func TestMixIsIndependent(t *testing.T) {
	w := mustNew(t, Config{Seed: 6, Size: 1 << 30, Pattern: RandMixed, ReadPercent: 30})
	pairs := make([]uint64, 4)
	last := w.Next().Dir
	for range 400_000 {
		d := w.Next().Dir
		pairs[2*last+d]++
		last = d
	}
	fits(t, "pairs of directions", pairs, []float64{0.09, 0.21, 0.21, 0.49})
}

func TestRunsFollowARandomOffset(t *testing.T) {
	cfg := Config{Seed: 2, Size: 1 << 30, Pattern: RandRead, Sizes: fixed(4 * kib), Run: 4, NoMap: true}
	for _, identical := range []bool{false, true} {
		cfg.Identical = identical
		w := mustNew(t, cfg)
		for range 100 {
			first := w.Next()
			for i := int64(1); i < 4; i++ {
				want := first.Off
				if !identical {
					want += i * 4 * kib
				}
				if op := w.Next(); op.Off != want {
					t.Fatalf("identical %v: request %d of a run at %d, want %d", identical, i, op.Off, want)
				}
			}
		}
	}
}

func TestSequentialShareOfRandom(t *testing.T) {
	w := mustNew(t, Config{
		Seed: 2, Size: 1 << 34, Pattern: RandRead, Sizes: fixed(4 * kib),
		SeqPercent: [Dirs]float64{Read: 25},
	})
	follows, end := 0, int64(-1)
	const n = 200_000
	for range n {
		op := w.Next()
		if op.Off == end {
			follows++
		}
		end = op.Off + int64(op.Len)
	}
	if got := 100 * float64(follows) / n; math.Abs(got-25) > 0.5 {
		t.Errorf("%.2f %% of the requests follow the one before, want 25", got)
	}
}

func TestUniformWithoutMap(t *testing.T) {
	const n = 1000
	w := mustNew(t, Config{Seed: 9, Size: n * 4 * kib, Pattern: RandRead, Sizes: fixed(4 * kib), NoMap: true})
	counts := make([]uint64, n)
	for range 500_000 {
		counts[w.Next().Off/(4*kib)]++
	}
	fits(t, "uniform", counts, uniformShares(n))
}

func TestAlignmentOfItsOwn(t *testing.T) {
	w := mustNew(t, Config{Seed: 9, Size: 1<<20 + 512, Pattern: RandRead, Sizes: fixed(4 * kib), Align: [Dirs]int64{512}})
	places := map[int64]bool{}
	for range 50_000 {
		op := w.Next()
		if op.Off%512 != 0 || op.Off+int64(op.Len) > 1<<20+512 {
			t.Fatalf("request %+v", op)
		}
		places[op.Off] = true
	}
	if want := (1<<20+512-4*kib)/512 + 1; len(places) != want {
		t.Errorf("%d places, want %d", len(places), want)
	}
}

func TestSizesByKind(t *testing.T) {
	w := mustNew(t, Config{
		Seed: 9, Size: 1 << 30, Pattern: RandRead, SizesByKind: true,
		SeqPercent: [Dirs]float64{Read: 50}, Sizes: [Dirs]Sizes{{Min: 4 * kib}, {Min: 64 * kib}},
	})
	end, n := int64(0), 0
	for range 1000 {
		op := w.Next()
		follows := op.Off == end
		if follows != (op.Len == 4*kib) {
			t.Fatalf("follows: %v, size %d", follows, op.Len)
		}
		if end = op.Off + int64(op.Len); follows {
			n++
		}
	}
	if n < 400 {
		t.Errorf("%d sequential requests", n)
	}
}

// Within a zone, random requests cover it pass by pass; zones follow each other.
func TestRandomZones(t *testing.T) {
	z := Strided{Size: 12 * 4 * kib, Range: 8 * 4 * kib, Skip: 2 * 4 * kib}
	for _, law := range []Distribution{{}, {Law: Zipf, Param: 1.1}, {Law: Normal, Param: 20}} {
		w := mustNew(t, Config{
			Seed: 9, Size: 31 * 4 * kib, Pattern: RandRead, Sizes: fixed(4 * kib), Zone: z,
			Dist: [Dirs]Distribution{law},
		})
		for _, zone := range []struct{ begin, blocks, requests int64 }{
			{0, 8, 12}, {10, 8, 12}, {20, 8, 12}, {30, 1, 1}, {0, 8, 12},
		} {
			seen := map[int64]int{}
			for range zone.requests {
				b := w.Next().Off / (4 * kib)
				if b < zone.begin || b >= zone.begin+zone.blocks {
					t.Fatalf("%v: block %d outside the zone at %d", law.Law, b, zone.begin)
				}
				seen[b]++
			}
			if law.Law == Uniform && int64(len(seen)) != zone.blocks {
				t.Errorf("zone at %d: %d of %d blocks", zone.begin, len(seen), zone.blocks)
			}
		}
	}
}

func TestRandomTrimWriteIsInPairs(t *testing.T) {
	w := mustNew(t, Config{Seed: 9, Size: 1 << 30, Pattern: RandTrimWrite, Sizes: fixed(4 * kib)})
	for range 100 {
		a, b := w.Next(), w.Next()
		if a.Dir != Trim || b.Dir != Write || a.Off != b.Off || a.Len != b.Len {
			t.Fatalf("%+v then %+v", a, b)
		}
	}
}

// Batches are the sequence that single requests are, for every hot path.
func TestBatchesAreTheSameSequence(t *testing.T) {
	for name, cfg := range benchConfigs() {
		one, many := mustNew(t, cfg), mustNew(t, cfg)
		ops := make([]Op, 97)
		for range 20 {
			many.Fill(ops)
			for i, op := range ops {
				if want := one.Next(); op != want {
					t.Fatalf("%s: request %d of a batch is %+v, want %+v", name, i, op, want)
				}
			}
		}
	}
}

func TestReproducible(t *testing.T) {
	cfg := Config{
		Seed: 42, Size: 1 << 30, Pattern: RandMixed, ReadPercent: 60,
		Sizes: [Dirs]Sizes{{Min: 512, Max: 8192}, {Split: []Split{{4096, 50}, {8192, 50}}}},
		Dist:  [Dirs]Distribution{{Law: Zipf, Param: 1.2}, {Law: Pareto, Param: 0.3}},
	}
	a, b := mustNew(t, cfg), mustNew(t, cfg)
	first := make([]Op, 1000)
	a.Fill(first)
	for i := range first {
		if op := b.Next(); op != first[i] {
			t.Fatalf("request %d: %+v and %+v", i, first[i], op)
		}
	}
	a.Reset()
	if op := a.Next(); op != first[0] {
		t.Errorf("after a reset: %+v, want %+v", op, first[0])
	}
	cfg.Seed++
	other := make([]Op, 1000)
	mustNew(t, cfg).Fill(other)
	if slices.Equal(first, other) {
		t.Error("another seed gives the same requests")
	}
	// Offsets do not depend on how sizes are drawn.
	cfg.Seed--
	cfg.Sizes[Read] = Sizes{Min: 512}
	for i, op := range first {
		if o := mustNewOnce(t, cfg, i); op.Dir == Read && o.Off != op.Off {
			t.Fatalf("request %d moved from %d to %d", i, op.Off, o.Off)
		}
		if i == 50 {
			break
		}
	}
}

// mustNewOnce is the i-th request of a configuration.
func mustNewOnce(t *testing.T, cfg Config, i int) (op Op) {
	w := mustNew(t, cfg)
	for range i + 1 {
		op = w.Next()
	}
	return op
}

func TestBadConfigsAreRefused(t *testing.T) {
	good := Config{Size: 1 << 20}
	for name, edit := range map[string]func(*Config){
		"no size":            func(c *Config) { c.Size = 0 },
		"range overflows":    func(c *Config) { c.Offset = math.MaxInt64 },
		"block beyond range": func(c *Config) { c.Sizes = fixed(2 << 20) },
		"mix":                func(c *Config) { c.ReadPercent = 101 },
		"sequential share":   func(c *Config) { c.SeqPercent[0] = -1 },
		"run":                func(c *Config) { c.Run = -1 },
		"range backwards":    func(c *Config) { c.Sizes[Read] = Sizes{Min: 8192, Max: 4096} },
		"shares":             func(c *Config) { c.Sizes[Read] = Sizes{Split: []Split{{4096, 60}, {8192, 60}}} },
		"shares too small":   func(c *Config) { c.Sizes[Read] = Sizes{Split: []Split{{4096, 60}, {8192, 30}}} },
		"split size":         func(c *Config) { c.Sizes[Read] = Sizes{Split: []Split{{0, 100}}} },
		"alignment":          func(c *Config) { c.Align[Read] = -512 },
		"zone too small":     func(c *Config) { c.Zone = Strided{Size: 512} },
		"skip only":          func(c *Config) { c.Zone = Strided{Skip: 512} },
		"pattern":            func(c *Config) { c.Pattern = 99 },
		"law":                func(c *Config) { c.Pattern, c.Dist[Read].Law = RandRead, Zipf },
	} {
		cfg := good
		edit(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// No configuration makes a request that leaves the range or has no length.
func FuzzWorkloadStaysInRange(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint16(100), uint16(4), uint16(8), int16(0), uint8(0), uint8(0), uint16(0), uint16(0))
	f.Add(uint64(2), uint8(8), uint16(33), uint16(1), uint16(5), int16(-3), uint8(1), uint8(30), uint16(9), uint16(3))
	f.Fuzz(func(t *testing.T, seed uint64, pattern uint8, size, low, high uint16, stride int16, law, seq uint8, zone, skip uint16) {
		cfg := Config{
			Seed: seed, Offset: 4096, Size: int64(size) * 512, Pattern: Pattern(pattern % 10), ReadPercent: 40,
			Stride: int64(stride) * 512, SeqPercent: [Dirs]float64{float64(seq % 101)}, Run: int(seq % 5),
			Zone: Strided{Size: int64(zone) * 512, Skip: int64(skip) * 512},
		}
		for d := range Dirs {
			cfg.Sizes[d] = Sizes{Min: int64(low) * 512, Max: int64(high) * 512}
			cfg.Dist[d] = []Distribution{{}, {Law: Zipf, Param: 1.3}, {Law: Pareto, Param: 0.7}, {Law: Normal, Param: 30}}[law%4]
		}
		w, err := New(cfg)
		if err != nil {
			return
		}
		for range 300 {
			op := w.Next()
			if op.Off < cfg.Offset || op.Len == 0 || op.Off+int64(op.Len) > cfg.Offset+cfg.Size {
				t.Fatalf("%+v outside %d+%d", op, cfg.Offset, cfg.Size)
			}
		}
	})
}

// benchConfigs are the hot paths; each is also checked not to allocate.
func benchConfigs() map[string]Config {
	base := Config{Seed: 1, Size: 1 << 40, Sizes: fixed(4 * kib)}
	m := map[string]Config{}
	add := func(name string, edit func(*Config)) { c := base; edit(&c); m[name] = c }
	add("seqread", func(*Config) {})
	add("randread", func(c *Config) { c.Pattern = RandRead })
	add("randread-odd", func(c *Config) { c.Pattern, c.Size = RandRead, 1e12 })
	add("norandommap", func(c *Config) { c.Pattern, c.NoMap = RandRead, true })
	add("randrw", func(c *Config) { c.Pattern, c.ReadPercent = RandMixed, 70 })
	add("zipf", func(c *Config) { c.Pattern, c.Dist[Read] = RandRead, Distribution{Law: Zipf, Param: 1.2} })
	add("pareto", func(c *Config) { c.Pattern, c.Dist[Read] = RandRead, Distribution{Law: Pareto, Param: 0.2} })
	add("normal", func(c *Config) { c.Pattern, c.Dist[Read] = RandRead, Distribution{Law: Normal, Param: 10} })
	add("bssplit", func(c *Config) {
		c.Pattern = RandRead
		c.Sizes[Read] = Sizes{Split: []Split{{4096, 60}, {8192, 30}, {65536, 10}}}
	})
	return m
}

func TestNextDoesNotAllocate(t *testing.T) {
	for name, cfg := range benchConfigs() {
		w := mustNew(t, cfg)
		ops := make([]Op, 32)
		if n := testing.AllocsPerRun(200, func() { w.Fill(ops) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkWorkload(b *testing.B) {
	for name, cfg := range benchConfigs() {
		b.Run(name, func(b *testing.B) {
			w := mustNew(b, cfg)
			ops := make([]Op, 32)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i&31 == 0 { // a batch of 32 every 32 rounds: ns/op is per request
					w.Fill(ops)
				}
			}
		})
	}
}

package verify

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/gen"
)

const (
	blockLen = 4096
	at       = int64(0x40000)
	stamp    = 1_700_000_000_000_000_000
)

func mustNew(t testing.TB, c Config) *Verifier {
	t.Helper()
	if c.Target == "" {
		c.Target = "disk.img"
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustPat(t testing.TB, s string) *gen.Pat {
	t.Helper()
	p, err := gen.ParsePat(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// block is a block as write sequence leaves it.
func block(v *Verifier, off int64, sequence uint64) []byte {
	b := make([]byte, blockLen)
	v.Fill(b, off, sequence, stamp)
	return b
}

// configs are all kinds with all bodies and some layouts.
func configs(t testing.TB) map[string]Config {
	m := map[string]Config{}
	for k := CRC32C; k < kinds; k++ {
		m[k.String()] = Config{Kind: k, Seed: 99, Job: 3, Pattern: mustPat(t, `0xdead%o"x"`)}
	}
	maps.Copy(m, map[string]Config{
		"patterned":     {Kind: CRC32C, Body: Patterned, Pattern: mustPat(t, "0xcafe")},
		"caller":        {Kind: XXHash, Body: Caller},
		"interval":      {Kind: SHA512, Interval: 512},
		"header in it":  {Kind: CRC32C, HeaderOffset: 1000},
		"straddling":    {Kind: SHA256, HeaderOffset: 480},
		"at the end":    {Kind: CRC64, HeaderOffset: blockLen - 72},
		"odd interval":  {Kind: MD5, Interval: 1024, HeaderOffset: 100},
		"meta patterns": {Kind: Meta, Body: Patterned, Pattern: mustPat(t, "%o")},
	})
	return m
}

func TestWhatIsFilledChecks(t *testing.T) {
	for name, c := range configs(t) {
		v := mustNew(t, c)
		if err := v.Blocks(blockLen); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, off := range []int64{0, at, 1<<50 + 512} {
			b := block(v, off, 7)
			for _, e := range []Expect{{Written, 7}, Any, {}, {Uncertain, 7}, {Uncertain, 9}} {
				if f := v.Check(b, off, e); f != nil {
					t.Errorf("%s: expecting %+v: %v", name, e, f)
				}
			}
		}
	}
}

// Every bit counts: one flipped anywhere is found, by every kind that has a
// checksum, and in the header by meta too.
func TestEveryFlippedBitIsFound(t *testing.T) {
	for name, c := range configs(t) {
		if c.Kind == Null {
			continue
		}
		v := mustNew(t, c)
		good := block(v, at, 7)
		for bit := 0; bit < blockLen*8; bit += 61 {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			header := bit/8 >= c.HeaderOffset && bit/8 < c.HeaderOffset+headerSize
			if c.Kind == Meta && !header {
				continue
			}
			f := v.Check(b, at, Expect{Written, 7})
			if f == nil {
				t.Fatalf("%s: bit %d of byte %d is not missed", name, bit%8, bit/8)
			}
			if f.Kind != Corrupt && f.Kind != HeaderDestroyed {
				t.Fatalf("%s: bit %d of byte %d: %v", name, bit%8, bit/8, f)
			}
		}
	}
}

// injection is a fault put into a block, and what has to be said about it.
type injection struct {
	name   string
	inject func(v *Verifier, b []byte) []byte
	expect Expect
	kind   FaultKind
	detail string
}

var seventh = Expect{Written, 7}

var injections = []injection{
	{"zeroes", func(_ *Verifier, b []byte) []byte { return make([]byte, len(b)) }, seventh, NeverWritten, "all zeroes"},
	{"what was there before", func(_ *Verifier, b []byte) []byte { gen.FillRandom(b, 5); return b }, seventh, NeverWritten, "nothing of the block is ours"},
	{"older write", func(v *Verifier, _ []byte) []byte { return block(v, at, 5) }, seventh, Stale, "write 5, expected 7"},
	{"newer write", func(v *Verifier, _ []byte) []byte { return block(v, at, 9) }, seventh, Ahead, "write 9, expected 7"},
	{"other offset", func(v *Verifier, _ []byte) []byte { return block(v, at+blockLen, 7) }, seventh, Misplaced, "block of offset 0x41000, write 7"},
	{"other run", func(v *Verifier, _ []byte) []byte {
		c := v.c
		c.Seed++
		w, _ := New(c)
		return block(w, at, 7)
	}, seventh, Foreign, "of the run with seed 0x64"},
	{"other job", func(v *Verifier, _ []byte) []byte {
		c := v.c
		c.Job++
		w, _ := New(c)
		return block(w, at, 7)
	}, seventh, Foreign, "job 4; expected seed"},
	{"other check", func(v *Verifier, _ []byte) []byte {
		c := v.c
		c.Kind = SHA1
		w, _ := New(c)
		return block(w, at, 7)
	}, seventh, Foreign, "checked by sha1"},
	{"new head, old tail", func(v *Verifier, b []byte) []byte { return append(b[:1024], block(v, at, 5)[1024:]...) }, seventh, Torn, "sectors 0-1 from write 7, sectors 2-7 from write 5"},
	{"old head, new tail", func(v *Verifier, b []byte) []byte { return append(block(v, at, 5)[:512], b[512:]...) }, seventh, Torn, "sector 0 from write 5, sectors 1-7 from write 7"},
	{"hole in the middle", func(_ *Verifier, b []byte) []byte { clear(b[1536:2560]); return b }, seventh, Torn, "sectors 0-2 from write 7, sectors 3-4 zero, sectors 5-7 from write 7"},
	{"first sector missing", func(_ *Verifier, b []byte) []byte { clear(b[:512]); return b }, seventh, Torn, "the sector of the header is zero"},
	{"three writes", func(v *Verifier, b []byte) []byte {
		copy(b[512:], block(v, at, 2)[512:1024])
		copy(b[3584:], block(v, at, 3)[3584:])
		return b
	}, seventh, Torn, "sector 1 from write 2, sectors 2-6 from write 7, sector 7 from write 3"},
	{"header overwritten", func(_ *Verifier, b []byte) []byte { gen.FillRandom(b[:64], 3); return b }, seventh, HeaderDestroyed, "no header; sectors 0-7 from write 7"},
	{"header damaged", func(_ *Verifier, b []byte) []byte { b[40] ^= 4; return b }, seventh, HeaderDestroyed, "header checksum is wrong; sectors 0-7 from write 7"},
	{"two bits", func(_ *Verifier, b []byte) []byte { b[2000] ^= 3; return b }, seventh, Corrupt, "byte 2000 is"},
	{"sector of another block", func(v *Verifier, b []byte) []byte { copy(b[1024:1536], block(v, at+8192, 7)[1024:1536]); return b }, seventh, Corrupt, "byte 1024 is"},
	{"misplaced and damaged", func(v *Verifier, _ []byte) []byte { b := block(v, at+blockLen, 7); b[4000] ^= 1; return b }, seventh, Misplaced, "its checksum is wrong too"},
	{"not zero after a trim", func(_ *Verifier, b []byte) []byte { return b }, Expect{State: Trimmed}, NotZero, "after a trim"},
	{"damage where any write is right", func(_ *Verifier, b []byte) []byte { b[2000] ^= 3; return b }, Any, Corrupt, "2 bits differ"},
	{"damage where nothing is certain", func(_ *Verifier, b []byte) []byte { b[2000] ^= 3; return b }, Expect{Uncertain, 7}, Corrupt, "2 bits differ"},
}

func TestInjectedFaultsAreNamed(t *testing.T) {
	for _, kind := range []Kind{CRC32C, XXHash, SHA256} {
		v := mustNew(t, Config{Kind: kind, Seed: 99, Job: 3})
		for _, in := range injections {
			b := in.inject(v, block(v, at, 7))
			f := v.Check(b, at, in.expect)
			if f == nil {
				t.Errorf("%v: %s: not found", kind, in.name)
				continue
			}
			if f.Kind != in.kind || !strings.Contains(f.Detail, in.detail) {
				t.Errorf("%v: %s: %v\nwant %v … %s", kind, in.name, f, in.kind, in.detail)
			}
			if f.Off != at || f.Len != blockLen || f.Target != "disk.img" || !bytes.Equal(f.Received, b) {
				t.Errorf("%v: %s: place or content of the fault is wrong: %v", kind, in.name, f)
			}
			if in.expect == seventh && in.kind != Foreign {
				if g := v.Check(f.Expected, at, seventh); g != nil {
					t.Errorf("%v: %s: the expected block does not check: %v", kind, in.name, g)
				}
			}
			for _, part := range []string{"disk.img", "0x40000+4096", f.Kind.String()} {
				if !strings.Contains(f.Error(), part) {
					t.Errorf("%v: %s: %q does not name %s", kind, in.name, f.Error(), part)
				}
			}
		}
	}
}

// What a crash or an interrupt may leave of a write that was not acknowledged
// is no fault; nor is what was there before.
func TestUncertainBlocksMayHoldOldAndNew(t *testing.T) {
	v := mustNew(t, Config{Kind: CRC32C, Seed: 99})
	torn := slices.Concat(block(v, at, 7)[:1024], block(v, at, 5)[1024:])
	noHead := block(v, at, 7)
	clear(noHead[:512])
	garbage := make([]byte, blockLen)
	gen.FillRandom(garbage, 1)
	for name, b := range map[string][]byte{
		"new": block(v, at, 7), "old": block(v, at, 5), "nothing": make([]byte, blockLen), "torn": torn,
		"first write, torn": noHead, "what was there before": garbage,
	} {
		for _, e := range []Expect{{Uncertain, 7}, {}} {
			if f := v.Check(b, at, e); f != nil {
				t.Errorf("%s, expecting %+v: %v", name, e, f)
			}
		}
	}
	if f := v.Check(block(v, at, 8), at, Expect{Uncertain, 7}); f == nil || f.Kind != Ahead {
		t.Errorf("a write after the last: %v", f)
	}
	if f := v.Check(make([]byte, blockLen), at, Expect{State: Trimmed}); f != nil {
		t.Errorf("zeroes after a trim: %v", f)
	}
}

func TestPatternFaults(t *testing.T) {
	v := mustNew(t, Config{Kind: Pattern, Pattern: mustPat(t, `0xdeadbeef%o`)})
	b := block(v, at, 1)
	b[100] ^= 0x10
	if f := v.Check(b, at, Any); f == nil || f.Kind != Corrupt || !strings.Contains(f.Detail, "byte 100 is") {
		t.Errorf("flipped bit: %v", f)
	}
	if f := v.Check(block(v, at+4096, 1), at, Any); f == nil || f.Kind != Corrupt {
		t.Errorf("misplaced: %v", f)
	}
	if f := v.Check(make([]byte, blockLen), at, Any); f == nil || f.Kind != NeverWritten {
		t.Errorf("zeroes: %v", f)
	}
	if f := v.Check(make([]byte, blockLen), at, Expect{Uncertain, 1}); f != nil {
		t.Errorf("zeroes where nothing is certain: %v", f)
	}
}

func TestCallersBodyIsKeptAndChecked(t *testing.T) {
	v := mustNew(t, Config{Kind: XXHash, Body: Caller})
	b := make([]byte, blockLen)
	gen.FillRandom(b, 1)
	body := bytes.Clone(b)
	v.Fill(b, at, 7, stamp)
	if !bytes.Equal(b[headerSize+8:], body[headerSize+8:]) {
		t.Error("the body was changed")
	}
	b[500] ^= 1
	if f := v.Check(b, at, seventh); f == nil || f.Kind != Corrupt || f.Expected != nil {
		t.Errorf("flipped bit: %v", f)
	}
}

// In a request of several blocks, the fault names the block.
func TestIntervalNamesTheBlock(t *testing.T) {
	v := mustNew(t, Config{Kind: CRC32C, Interval: 1024})
	b := block(v, at, 7)
	b[2500] ^= 1
	if f := v.Check(b, at, seventh); f == nil || f.Off != at+2048 || f.Len != 1024 {
		t.Errorf("%v", f)
	}
	if err := v.Blocks(1500); err == nil {
		t.Error("a request that is no multiple of the interval was accepted")
	}
}

func TestAnySeed(t *testing.T) {
	old := mustNew(t, Config{Kind: CRC32C, Seed: 1})
	v := mustNew(t, Config{Kind: CRC32C, Seed: 2, AnySeed: true, Body: Caller})
	if f := v.Check(block(old, at, 7), at, Any); f != nil {
		t.Errorf("%v", f)
	}
}

func TestDump(t *testing.T) {
	v := mustNew(t, Config{Kind: CRC32C, Target: "/dev/nvme0n1"})
	b := block(v, at, 5)
	f := v.Check(b, at, seventh)
	if f == nil {
		t.Fatal("no fault")
	}
	dir := t.TempDir()
	names, err := f.Dump(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "nvme0n1.262144.received"), filepath.Join(dir, "nvme0n1.262144.expected")}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Fatalf("files %v, want %v", names, want)
	}
	received, err := os.ReadFile(names[0])
	if err != nil || !bytes.Equal(received, b) {
		t.Errorf("received block: %v", err)
	}
	expected, err := os.ReadFile(names[1])
	if err != nil || v.Check(expected, at, seventh) != nil {
		t.Errorf("expected block: %v", err)
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	for _, c := range []Config{
		{},
		{Kind: kinds},
		{Kind: Pattern},
		{Kind: CRC32C, Body: Patterned},
		{Kind: SHA512, Interval: 64},
		{Kind: CRC32C, Interval: 512, HeaderOffset: 480},
		{Kind: CRC32C, HeaderOffset: -1},
		{Kind: CRC32C, Interval: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// The checksums are those the world knows under these names: catalogue values
// for "123456789" and the empty-message digests of the standards.
func TestChecksumsAreStandard(t *testing.T) {
	little := func(s string) string {
		b, _ := hex.DecodeString(s)
		for i := range len(b) / 2 {
			b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
		}
		return hex.EncodeToString(b)
	}
	for k, want := range map[Kind]string{
		CRC32C: little("e3069283"),
		CRC32:  little("cbf43926"),
		CRC16:  little("bb3d"),
		CRC7:   fmt.Sprintf("%02x", 0x75<<1),
		XXHash: little("8cb841db40e6ae83"),
		MD5:    "25f9e794323b453885f5181f1b624d0b",
		SHA1:   "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
	} {
		if got := hex.EncodeToString(newDigester(k).of([]byte("1234"), []byte("56789"))); got != want {
			t.Errorf("%v: %s, want %s", k, got, want)
		}
	}
	for k, n := range kindLengths {
		if Kind(k).Header() && len(newDigester(Kind(k)).of([]byte("x"), nil)) != n {
			t.Errorf("%v: not %d bytes", Kind(k), n)
		}
		if Kind(k) != None {
			if back, ok := KindByName(Kind(k).String()); !ok || back != Kind(k) {
				t.Errorf("%v is not found by its name", Kind(k))
			}
		}
	}
}

// Whatever bytes come back, checking ends in a verdict, and only the block
// itself is without fault.
func FuzzCheck(f *testing.F) {
	v := mustNew(f, Config{Kind: CRC32C, Seed: 99, Job: 3})
	f.Add(block(v, at, 7), uint8(1), uint64(7))
	f.Add(make([]byte, blockLen), uint8(1), uint64(7))
	f.Add(block(v, at, 7)[:700], uint8(2), uint64(9))
	f.Add([]byte(magic), uint8(0), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, state uint8, sequence uint64) {
		if len(b) < headerSize+4 {
			return
		}
		e := Expect{BlockState(state % 4), sequence}
		fault := v.Check(b, at, e)
		if fault != nil {
			_ = fault.Error()
			return
		}
		if e.State == Written && sequence != 0 {
			h, err := ParseHeader(b)
			if err != nil || h.Off != at || h.Sequence != sequence {
				t.Fatalf("accepted %+v, %v as write %d", h, err, sequence)
			}
		}
	})
}

func TestFillAndCheckDoNotAllocate(t *testing.T) {
	for name, c := range configs(t) {
		v := mustNew(t, c)
		b := make([]byte, blockLen)
		if n := testing.AllocsPerRun(50, func() {
			v.Fill(b, at, 7, stamp)
			if v.Check(b, at, seventh) != nil {
				t.Error("fault")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkFillCheck(b *testing.B) {
	for _, k := range []Kind{Meta, CRC32C, XXHash, SHA256, MD5} {
		v := mustNew(b, Config{Kind: k})
		buf := make([]byte, blockLen)
		b.Run(k.String()+"/fill", func(b *testing.B) {
			b.SetBytes(blockLen)
			b.ReportAllocs()
			for b.Loop() {
				v.Fill(buf, at, 7, stamp)
			}
		})
		b.Run(k.String()+"/check", func(b *testing.B) {
			b.SetBytes(blockLen)
			v.Fill(buf, at, 7, stamp)
			for b.Loop() {
				if v.Check(buf, at, seventh) != nil {
					b.Fatal("fault")
				}
			}
		})
	}
}

package verify

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/gen"
)

func mustLedger(t testing.TB, base, size, unit int64) *Ledger {
	t.Helper()
	l, err := NewLedger(base, size, unit, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLedgerFollowsAWrite(t *testing.T) {
	l := mustLedger(t, 8192, 10*4096, 4096)
	expect := func(what string, off, n int64, want Expect) {
		t.Helper()
		if got := l.Expect(off, n); got != want {
			t.Errorf("%s: %+v at %d, want %+v", what, got, off, want)
		}
	}
	expect("fresh", 8192, 4096, Expect{})
	l.Issued(8192, 8192, 1)
	expect("issued", 8192, 4096, Expect{Uncertain, 1})
	l.Completed(8192, 8192, 1)
	expect("completed", 8192, 4096, Expect{Written, 1})
	expect("both blocks", 8192, 8192, Expect{Written, 1})
	l.Issued(12288, 4096, 2)
	l.Completed(12288, 4096, 1) // late news of the older write changes nothing
	expect("overtaken", 12288, 4096, Expect{Uncertain, 2})
	l.Completed(12288, 4096, 2)
	expect("second write", 12288, 4096, Expect{Written, 2})
	expect("two writes", 8192, 8192, Expect{})
	l.Trimmed(8192, 4096, true)
	expect("trimmed to zero", 8192, 4096, Expect{State: Trimmed})
	l.Trimmed(12288, 4096, false)
	expect("trimmed", 12288, 4096, Expect{})
	l.Issued(16384+512, 8192, 3)
	l.Completed(16384+512, 8192, 3)
	expect("covered in part", 16384, 4096, Expect{})
	expect("covered", 20480, 4096, Expect{Written, 3})
	expect("covered in part", 24576, 4096, Expect{})
	expect("not aligned", 20480+512, 512, Expect{})
	expect("outside", 1<<40, 4096, Expect{})
	found := maps.Collect(l.Blocks())
	want := map[int64]Expect{8192: {State: Trimmed}, 20480: {Written, 3}}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("blocks %v, want %v", found, want)
	}
}

func TestLedgerKeepsItsLimit(t *testing.T) {
	if _, err := NewLedger(0, 1<<40, 4096, 1<<30); err == nil || !strings.Contains(err.Error(), "takes 2147483648 bytes") {
		t.Errorf("a ledger of 2 GiB under a limit of 1: %v", err)
	}
	for _, bad := range [][3]int64{{0, 0, 4096}, {-1, 4096, 4096}, {0, 4096, 0}, {0, 512, 4096}} {
		if _, err := NewLedger(bad[0], bad[1], bad[2], 1<<30); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

// A workload with overwrites, several sizes and lost writes on a small disk in
// memory: the ledger finds exactly the blocks whose last write was lost.
func TestLedgerFindsLostWrites(t *testing.T) {
	const size, unit = 256 * 4096, 4096
	cfg := gen.Config{Seed: 3, Size: size, Pattern: gen.RandWrite, NoMap: true, Sizes: [gen.Dirs]gen.Sizes{
		gen.Write: {Split: []gen.Split{{Size: unit, Percent: 70}, {Size: 4 * unit, Percent: 30}}},
	}}
	if !NeedsLedger(&cfg, size) {
		t.Fatal("this workload was said to need no ledger")
	}
	w, err := gen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := mustNew(t, Config{Kind: CRC32C, Seed: 8, Interval: unit})
	l := mustLedger(t, 0, size, unit)
	disk := make([]byte, size)
	lost := map[int64]bool{}
	rng := gen.NewRand(1, 1)
	for sequence := uint64(1); sequence <= 2000; sequence++ {
		op := w.Next()
		buf := make([]byte, op.Len)
		v.Fill(buf, op.Off, sequence, 0)
		l.Issued(op.Off, int64(op.Len), sequence)
		drop := rng.Below(20) == 0
		for off := op.Off; off < op.Off+int64(op.Len); off += unit {
			lost[off] = drop
		}
		if !drop {
			copy(disk[op.Off:], buf)
		}
		l.Completed(op.Off, int64(op.Len), sequence)
	}
	checked, bad := 0, 0
	for off, e := range l.Blocks() {
		f := v.CheckBlock(disk[off:off+unit], off, e)
		if checked++; (f != nil) != lost[off] {
			t.Errorf("block at %d, lost %v: %v", off, lost[off], f)
		}
		if f != nil {
			if bad++; f.Kind != Stale && f.Kind != NeverWritten {
				t.Errorf("lost write called %v", f)
			}
		}
	}
	if checked != 256 || bad < 5 {
		t.Errorf("%d blocks checked, %d lost", checked, bad)
	}
	if f := v.CheckLedger(disk[:8*unit], 0, l); (f != nil) != (lost[0] || lost[unit] || lost[2*unit] || lost[3*unit] || lost[4*unit] || lost[5*unit] || lost[6*unit] || lost[7*unit]) {
		t.Errorf("several blocks at once: %v", f)
	}
}

// One pass over the range, made again from its seed, needs no ledger.
func TestPassIsCheckedFromItsSeed(t *testing.T) {
	const size = 1000 * 4096
	for _, pattern := range []gen.Pattern{gen.SeqWrite, gen.RandWrite} {
		cfg := gen.Config{Seed: 3, Size: size, Pattern: pattern}
		if NeedsLedger(&cfg, size) {
			t.Fatalf("%v was said to need a ledger", pattern)
		}
		w, err := gen.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		v := mustNew(t, Config{Kind: XXHash, Seed: 8})
		disk := make([]byte, size)
		for sequence := uint64(1); sequence <= 1000; sequence++ {
			op := w.Next()
			if sequence == 777 {
				continue // lost
			}
			v.Fill(disk[op.Off:op.Off+int64(op.Len)], op.Off, sequence, 0)
		}
		w.Reset()
		for sequence := uint64(1); sequence <= 1000; sequence++ {
			op := w.Next()
			f := v.Check(disk[op.Off:op.Off+int64(op.Len)], op.Off, Expect{Written, sequence})
			if (f != nil) != (sequence == 777) {
				t.Fatalf("write %d: %v", sequence, f)
			}
		}
	}
}

func TestNeedsLedger(t *testing.T) {
	base := gen.Config{Size: 1 << 20, Pattern: gen.RandWrite}
	for name, edit := range map[string]func(*gen.Config){
		"no map": func(c *gen.Config) { c.NoMap = true },
		"zipf":   func(c *gen.Config) { c.Dist[gen.Write] = gen.Distribution{Law: gen.Zipf, Param: 1.2} },
		"split": func(c *gen.Config) {
			c.Sizes[gen.Write].Split = []gen.Split{{Size: 1, Percent: 50}, {Size: 2, Percent: 50}}
		},
		"range":    func(c *gen.Config) { c.Sizes[gen.Write] = gen.Sizes{Min: 512, Max: 4096} },
		"trim":     func(c *gen.Config) { c.Pattern = gen.RandTrimWrite },
		"run":      func(c *gen.Config) { c.Run = 4 },
		"seq part": func(c *gen.Config) { c.SeqPercent[gen.Write] = 10 },
		"align":    func(c *gen.Config) { c.Align[gen.Write] = 512 },
		"backward": func(c *gen.Config) { c.Stride = -8192 },
	} {
		c := base
		edit(&c)
		if !NeedsLedger(&c, 1<<20) {
			t.Errorf("%s: said to need no ledger", name)
		}
	}
	if !NeedsLedger(&base, 1<<20+1) {
		t.Error("more than a pass: said to need no ledger")
	}
	if NeedsLedger(&base, 1<<20) {
		t.Error("one pass: said to need a ledger")
	}
}

func TestBacklog(t *testing.T) {
	b, err := NewBacklog(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	next, oldest := uint64(0), uint64(0)
	for round := range 3 {
		for b.held < 3 {
			if b.Due() {
				t.Fatalf("round %d: due with %d writes", round, b.held)
			}
			next++
			if !b.Push(Past{Sequence: next}) {
				t.Fatalf("round %d: write %d not taken", round, next)
			}
		}
		if b.Push(Past{}) {
			t.Error("a fourth write was taken")
		}
		for range 2 {
			oldest++
			if p, ok := b.Pop(); !ok || p.Sequence != oldest {
				t.Errorf("round %d: popped %+v %v, want %d", round, p, ok, oldest)
			}
		}
		if _, ok := b.Pop(); ok {
			t.Error("popped beyond the batch")
		}
	}
	if p, ok := b.Drain(); !ok || p.Sequence != oldest+1 {
		t.Errorf("what the batches have left: %+v %v", p, ok)
	}
	b.Push(Past{Sequence: 9})
	if p, ok := b.Drain(); !ok || p.Sequence != 9 {
		t.Errorf("drained %+v %v", p, ok)
	}
	if _, ok := b.Drain(); ok {
		t.Error("drained from nothing")
	}
	if _, err := NewBacklog(0, 0); err == nil {
		t.Error("a backlog of nothing was accepted")
	}
	if n := testing.AllocsPerRun(100, func() { b.Push(Past{}); b.Pop(); b.Drain() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func sampleState(t testing.TB) *State {
	l := mustLedger(t, 4096, 1000*4096, 4096)
	for i := range int64(1000) {
		switch {
		case i < 300: // sequential: one run
			l.Issued(4096+i*4096, 4096, uint64(i+1))
			l.Completed(4096+i*4096, 4096, uint64(i+1))
		case i%7 == 0:
			l.Issued(4096+i*4096, 4096, uint64(5000-i))
		case i%11 == 0:
			l.Trimmed(4096+i*4096, 4096, true)
		}
	}
	return &State{
		Job: "job1", Index: 2, Target: "/dev/null", Kind: CRC32C, Body: Patterned, Seed: 1 << 63, Interval: 4096, HeaderOffset: 8,
		Offset: 4096, Size: 1000 * 4096, Issued: 5000, Acked: 4990, Pending: []Past{{8192, 4096, 4999}, {12288, 512, 5000}}, Ledger: l,
	}
}

func TestStateSurvivesAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), StateName("a/b", 3))
	if filepath.Base(name) != "local-a_b-3-verify.state" {
		t.Errorf("file name %s", name)
	}
	for _, s := range []*State{sampleState(t), {Job: "x", Kind: MD5, Offset: 0, Size: 1}} {
		if err := s.WriteFile(name); err != nil {
			t.Fatal(err)
		}
		back, err := ReadStateFile(name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if s.Pending == nil {
			back.Pending = nil
		}
		if !reflect.DeepEqual(back, s) {
			t.Errorf("came back as %+v, want %+v", back, s)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("%d files left: %v", len(left), err)
	}
}

// Every cut and every flipped bit is refused, with a reason.
func TestDamagedStateIsRefused(t *testing.T) {
	good := sampleState(t).Encode()
	for n := range good {
		if _, err := DecodeState(good[:n], 1<<20); !errors.Is(err, ErrState) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for bit := range len(good) * 8 {
		b := append([]byte(nil), good...)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := DecodeState(b, 1<<20); !errors.Is(err, ErrState) {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":    {nil, "no state file"},
		"longer":   {append(append([]byte(nil), good...), 0), "1 bytes too many"},
		"cut":      {good[:len(good)-5], "cut off"},
		"version":  {versioned(good, 2), "version 2, this is for 1"},
		"checksum": {append(append([]byte(nil), good[:len(good)-1]...), good[len(good)-1]^1), "checksum"},
	} {
		if _, err := DecodeState(c.b, 1<<20); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := DecodeState(good, 1000); err == nil || !strings.Contains(err.Error(), "the limit is 1000") {
		t.Errorf("a ledger over the limit: %v", err)
	}
}

func versioned(b []byte, version uint32) []byte {
	b = append([]byte(nil), b...)
	binary.LittleEndian.PutUint32(b[len(stateMagic):], version)
	return resum(b)
}

// resum makes the checksum right again.
func resum(b []byte) []byte {
	n := len(b) - 4
	binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
	return b
}

func TestStateMatchesItsJob(t *testing.T) {
	s := sampleState(t)
	c := Config{Kind: CRC32C, Body: Patterned, Seed: 1 << 63, Interval: 4096, HeaderOffset: 8}
	if err := s.Matches(&c, 4096, 1000*4096); err != nil {
		t.Error(err)
	}
	c.Kind = MD5
	if err := s.Matches(&c, 4096, 1000*4096); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "saved with check crc32c, the job has md5") {
		t.Errorf("%v", err)
	}
}

// Fields that a good checksum protects are still not believed: the target gets
// a right checksum for whatever the fuzzer makes.
func FuzzDecodeState(f *testing.F) {
	f.Add(sampleState(f).Encode())
	f.Add((&State{Job: "x", Kind: MD5, Size: 1}).Encode())
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= stateHead+4 {
			b = append([]byte(nil), b...)
			copy(b, stateMagic)
			binary.LittleEndian.PutUint32(b[len(stateMagic):], stateVersion)
			binary.LittleEndian.PutUint64(b[stateHead-8:], uint64(len(b)-stateHead-4))
			resum(b)
		}
		s, err := DecodeState(b, 1<<20)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := DecodeState(s.Encode(), 1<<20)
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v came back as %+v", s, again)
		}
	})
}

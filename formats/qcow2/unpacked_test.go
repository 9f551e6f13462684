package qcow2

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// readCounter counts what is read.
type readCounter struct {
	*enginetest.Faults
	file *engine.Ref
}

func countReads(t testing.TB) (c readCounter) {
	_, disk := enginetest.DiskConfig{Growable: true, Discard: true}.Open(t)
	c.Faults = enginetest.NewFaults(t, "")
	c.file = c.Over(disk)
	return c
}

func reads(t testing.TB, c readCounter, f func()) uint64 {
	t.Helper()
	before := c.Ops()
	f()
	return c.Ops() - before
}

// compressedImage has n compressed clusters; cluster i is a text about i.
func compressedImage(t testing.TB, n int64) (readCounter, *engine.Ref) {
	t.Helper()
	c := countReads(t)
	p := params(n << 16)
	if err := Format(ctx, c.file, nil, p); err != nil {
		t.Fatal(err)
	}
	r := openOn(t, c.file, DefaultConfig())
	for i := range n {
		if err := r.WriteAt(ctx, textOf(byte(i)), i<<16, engine.Compressed); err != nil {
			t.Fatal(err)
		}
	}
	return c, r
}

func textOf(i byte) []byte { return bytes.Repeat([]byte{i, i + 1, 'x', i ^ 0x55}, 1<<14) }

// TestPartsOfACompressedClusterCostOneRead: small reads in order find what the first has unpacked.
func TestPartsOfACompressedClusterCostOneRead(t *testing.T) {
	c, r := compressedImage(t, 4)
	defer r.Close()
	got := make([]byte, 4096)
	n := reads(t, c, func() {
		for off := int64(0); off < r.Size(); off += int64(len(got)) {
			if err := r.ReadAt(ctx, got, off); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "part", got, textOf(byte(off >> 16))[:len(got)])
		}
	})
	if n != 4 {
		t.Errorf("%d reads of the file for 64 parts of 4 clusters, want 4", n)
	}
}

// TestUnpackedIsBounded: whatever is read, no more than a few clusters stay.
func TestUnpackedIsBounded(t *testing.T) {
	_, r := compressedImage(t, 3*unpackedMost)
	defer r.Close()
	m := r.Node().(*Image)
	got := make([]byte, 512)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		off := rnd.Int64N(r.Size()) &^ 511
		if err := r.ReadAt(ctx, got, off); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "part", got, textOf(byte(off >> 16))[:len(got)])
	}
	held := 0
	for _, c := range m.unpacked.clusters {
		held += cap(c.data)
	}
	if held == 0 || held > unpackedBytes {
		t.Errorf("%d bytes are kept, at most %d may be", held, unpackedBytes)
	}
}

// TestUnpackedForgetsWhatIsWritten: a place that was freed and compressed into again reads as what is there now.
func TestUnpackedForgetsWhatIsWritten(t *testing.T) {
	_, r := compressedImage(t, 1)
	defer r.Close()
	m := r.Node().(*Image)
	got := make([]byte, 4096)
	entry := func() L2Entry {
		run, err := m.lookup(ctx, 0, 512)
		if err != nil || run.kind != kindCompressed {
			t.Fatalf("%+v, %v", run, err)
		}
		return run.entry
	}
	seen := map[L2Entry]int{}
	for i := range byte(20) {
		if err := r.Discard(ctx, 0, 1<<16); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := r.Domain().Barrier(ctx); err != nil { // what was discarded is free
			t.Fatal(err)
		}
		if err := r.WriteAt(ctx, textOf(i), 0, engine.Compressed); err != nil {
			t.Fatal(err)
		}
		if err := r.ReadAt(ctx, got, 8192); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, "part", got, textOf(i)[:len(got)])
		seen[entry()]++
	}
	if len(seen) == 20 {
		t.Error("no place was used twice: the test has seen nothing")
	}
}

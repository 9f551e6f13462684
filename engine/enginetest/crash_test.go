package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

func write(t testing.TB, ref *engine.Ref, v byte, off, n int64, flags engine.WriteFlags) {
	t.Helper()
	if err := ref.WriteAt(bg, bytes.Repeat([]byte{v}, int(n)), off, flags); err != nil {
		t.Fatal(err)
	}
}

// TestCrashLosesAnySubset: each of three writes can be lost with the others there, not only the last; one is torn between sectors; what was
// flushed, or written with FUA, is always there.
func TestCrashLosesAnySubset(t *testing.T) {
	c := NewCrash(t, DiskConfig{Size: 64 << 10, FUA: true})
	ref := c.Ref()
	write(t, ref, 9, 0, 512, 0)
	if err := ref.Flush(bg); err != nil {
		t.Fatal(err)
	}
	write(t, ref, 1, 4096, 2048, 0)
	write(t, ref, 2, 8192, 2048, 0)
	write(t, ref, 7, 16384, 2048, engine.FUA)
	write(t, ref, 3, 4096, 2048, 0) // over the first
	seen, torn := map[[3]byte]bool{}, false
	for seed := range uint64(2000) {
		img := c.Crash(seed)
		for i := range 512 {
			if img[i] != 9 {
				t.Fatalf("seed %d: what was flushed is lost", seed)
			}
		}
		for i := 16384; i < 16384+2048; i++ {
			if img[i] != 7 {
				t.Fatalf("seed %d: what was written with FUA is lost", seed)
			}
		}
		for at := 4096; at < 12288; at += 512 {
			if !bytes.Equal(img[at:at+512], bytes.Repeat(img[at:at+1], 512)) {
				t.Fatalf("seed %d: a sector is torn", seed)
			}
		}
		seen[[3]byte{img[4096], img[8192]}] = true
		torn = torn || img[4096] != img[4096+512]
	}
	for _, first := range []byte{0, 1, 3} {
		for _, second := range []byte{0, 2} {
			if !seen[[3]byte{first, second}] {
				t.Errorf("no crash leaves %d and %d", first, second)
			}
		}
	}
	if !torn {
		t.Error("no crash tears a write")
	}
}

func TestCutsAreTheSameAgain(t *testing.T) {
	c := NewCrash(t, DiskConfig{Size: 32 << 10, Growable: true, Discard: true, Zero: true})
	ref, rng := c.Ref(), rand.New(rand.NewPCG(1, 1))
	for i := range 60 {
		off, n := rng.Int64N(40<<10), 1+rng.Int64N(5000)
		var err error
		switch i % 7 {
		case 0:
			err = ref.Flush(bg)
		case 1:
			err = ref.Resize(bg, off, engine.ResizeOptions{})
		case 2:
			err = ref.WriteZeroes(bg, off, n, 0)
		default:
			write(t, ref, byte(i), off, n, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l := c.Log()
	count, last := 0, Image{}
	for img := range l.Cuts(4) {
		count++
		if again := l.Cut(img.Moment, img.Seed); !bytes.Equal(img.Data, again.Data) {
			t.Fatalf("moment %d, image %d is another one when it is asked for again", img.Moment, img.Seed)
		}
		if img.Seed == 1 {
			last = Image{Moment: img.Moment, Data: bytes.Clone(img.Data)}
		}
	}
	if count < 2*l.Len() {
		t.Errorf("%d images of %d moments", count, l.Len())
	}
	if !bytes.Equal(last.Data, c.Bytes()) {
		t.Error("with everything that came through, the last moment is not what the disk has")
	}
}

// deviceItself is a history over the crash device alone.
func deviceItself(history func(r *CrashRun)) CrashTest {
	return CrashTest{
		Device:  DiskConfig{Size: 64 << 10, FUA: true, Zero: true, Discard: true},
		History: history,
		Verify:  func(_ testing.TB, img Image, s *CrashState) error { return s.Sectors.Verify(img.Data) },
	}
}

func randomCrashHistory(r *CrashRun) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 60 {
		off := rng.Int64N(r.Size()) &^ 511
		n := min(r.Size()-off, 512*(1+rng.Int64N(8)))
		switch rng.IntN(8) {
		case 0:
			r.Flush()
		case 1:
			r.Zero(off, n, engine.WriteFlags(rng.IntN(2))*engine.FUA)
		case 2:
			r.Discard(off, n)
		default:
			r.Write(off, n, engine.WriteFlags(rng.IntN(4)/3)*engine.FUA)
		}
	}
}

func TestEachCrash(t *testing.T) {
	if n := EachCrash(t, deviceItself(randomCrashHistory)); n < 100 {
		t.Errorf("%d images", n)
	}
}

// TestEachCrashFindsFaults: a device whose flush or FUA does nothing is found, and an update in two steps with nothing in between.
func TestEachCrashFindsFaults(t *testing.T) {
	Long(t)
	fails := func(t *testing.T, c CrashTest) {
		t.Helper()
		tr := &trial{TB: t}
		if err := tr.run(func() error { EachCrash(tr, c); return nil }); err == nil {
			t.Error("not found")
		} else {
			t.Log(err)
		}
	}
	over := func(mutate func(m *mutant)) CrashTest {
		c := deviceItself(randomCrashHistory)
		c.Open = func(_ testing.TB, file *engine.Ref) *engine.Ref {
			m := &mutant{Disk: file.Node().(*Crash).Disk}
			mutate(m)
			return engine.NewRef(m, file.Flags())
		}
		return c
	}
	t.Run("nothing", func(t *testing.T) { EachCrash(t, over(func(*mutant) {})) })
	t.Run("flush", func(t *testing.T) { fails(t, over(func(m *mutant) { m.flush = func() error { return nil } })) })
	t.Run("fua", func(t *testing.T) {
		fails(t, over(func(m *mutant) {
			m.write = func(ctx context.Context, p []byte, off int64, _ engine.WriteFlags) error {
				return m.Disk.WriteAt(ctx, p, off, 0)
			}
		}))
	})
	t.Run("lost", func(t *testing.T) {
		fails(t, over(func(m *mutant) {
			m.zero = func(int64, int64, engine.WriteFlags) error { return nil }
		}))
	})
	t.Run("order kept", func(t *testing.T) { EachCrash(t, twoSteps(true)) })
	t.Run("order not kept", func(t *testing.T) { fails(t, twoSteps(false)) })
}

// twoSteps updates a record in a new place, and then the sector that says which place is current.
func twoSteps(flushBetween bool) CrashTest {
	record := func(slot int64, id uint64) []byte {
		return bytes.Repeat(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, id), uint64(slot)), 256)
	}
	return CrashTest{
		Device: DiskConfig{Size: 64 << 10},
		History: func(r *CrashRun) {
			for id := uint64(1); id < 20; id++ {
				r.Do(fmt.Sprint("update ", id), false, nil, func() error {
					slot := int64(id % 2)
					err := r.Root.WriteAt(bg, record(slot, id), 4096+slot*8192, 0)
					if flushBetween && err == nil {
						err = r.Root.Flush(bg)
					}
					head := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(slot)), id)
					return errors.Join(err, r.Root.WriteAt(bg, append(head, make([]byte, 496)...), 0, 0), r.Root.Flush(bg))
				})
			}
		},
		Verify: func(_ testing.TB, img Image, _ *CrashState) error {
			slot, id := int64(binary.LittleEndian.Uint64(img.Data)), binary.LittleEndian.Uint64(img.Data[8:])
			if id == 0 {
				return nil
			}
			if got := img.Data[4096+slot*8192:][:4096]; !bytes.Equal(got, record(slot, id)) {
				return fmt.Errorf("record %d is not whole", id)
			}
			return nil
		},
	}
}

func BenchmarkCuts(b *testing.B) {
	c := NewCrash(b, DiskConfig{Size: 256 << 10})
	ref := c.Ref()
	for i := range int64(1000) {
		write(b, ref, byte(i), i%60*4096, 4096, 0)
		if i%20 == 19 {
			_ = ref.Flush(bg)
		}
	}
	l := c.Log()
	n := 0
	for b.Loop() {
		for range l.Cuts(4) {
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/image")
}

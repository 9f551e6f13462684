package enginetest

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// store is a toy that keeps a number safe: a record in one of two slots, with a checksum over more than a sector, flushed before the other
// slot is written again.
type store struct {
	ref     *engine.Ref
	seq     uint64
	noFlush bool
}

const slotSize = 3 * SectorSize

func (s *store) put(t *testing.T, v uint64) {
	t.Helper()
	s.seq++
	rec := make([]byte, slotSize)
	binary.LittleEndian.PutUint64(rec[8:], s.seq)
	for i := 16; i+8 <= slotSize; i += 8 {
		binary.LittleEndian.PutUint64(rec[i:], v)
	}
	binary.LittleEndian.PutUint32(rec, crc32.ChecksumIEEE(rec[8:]))
	if err := s.ref.WriteAt(t.Context(), rec, int64(s.seq%2)*slotSize, 0); err != nil {
		t.Fatal(err)
	}
	if s.noFlush {
		return
	}
	if err := s.ref.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// recover answers the newest record that is whole.
func recoverStore(img []byte) (seq, v uint64) {
	for slot := range 2 {
		rec := img[slot*slotSize : (slot+1)*slotSize]
		if crc32.ChecksumIEEE(rec[8:]) != binary.LittleEndian.Uint32(rec) {
			continue
		}
		if s := binary.LittleEndian.Uint64(rec[8:]); s > seq {
			seq, v = s, binary.LittleEndian.Uint64(rec[16:])
		}
	}
	return seq, v
}

// lostPuts runs twenty puts and counts the images in which more than the put under way is lost.
func lostPuts(t *testing.T, noFlush bool) (lost, images, torn int) {
	c := NewCrash(make([]byte, 2*slotSize))
	s := &store{ref: c.Ref(), noFlush: noFlush}
	for i := range 20 {
		s.put(t, uint64(i)*1000)
	}
	c.EachCut(func(cut int, image func(uint64) []byte) {
		finished := uint64(cut / 2)
		if noFlush {
			finished = uint64(cut)
		}
		for seed := range uint64(50) {
			images++
			seq, v := recoverStore(image(seed))
			if seq > 0 && v != (seq-1)*1000 {
				torn++
			}
			if seq < finished {
				lost++
			}
		}
	})
	return lost, images, torn
}

func TestCrashKeepsWhatWasFlushed(t *testing.T) {
	lost, images, torn := lostPuts(t, false)
	if lost != 0 || torn != 0 || images != 41*50 {
		t.Errorf("of %d images %d had lost a flushed put, %d a torn one", images, lost, torn)
	}
}

func TestCrashFindsAMissingFlush(t *testing.T) {
	lost, images, _ := lostPuts(t, true)
	if lost < images/4 {
		t.Errorf("a store that never flushes lost something in %d of %d images only", lost, images)
	}
}

func TestCrashLosesAnySubset(t *testing.T) {
	c := NewCrash(make([]byte, 8*SectorSize))
	ref := c.Ref()
	p := make([]byte, SectorSize)
	for i := range 8 {
		for k := range p {
			p[k] = byte(i + 1)
		}
		if err := ref.WriteAt(t.Context(), p, int64(i)*SectorSize, 0); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	c.EachCut(func(cut int, image func(uint64) []byte) {
		if cut != 8 {
			return
		}
		for seed := range uint64(2000) {
			img := image(seed)
			key := ""
			for i := range 8 {
				b := img[i*SectorSize]
				if b != 0 && b != byte(i+1) {
					t.Fatalf("sector %d holds %d", i, b)
				}
				if b != 0 {
					key += "1"
				} else {
					key += "0"
				}
			}
			seen[key] = true
		}
	})
	if len(seen) < 200 {
		t.Errorf("%d of 256 subsets were seen in 2000 images", len(seen))
	}
}

func TestFUAIsThereAndOldWritesBelowItAreNot(t *testing.T) {
	c := NewCrash(make([]byte, 4*SectorSize))
	ref := c.Ref()
	ones, twos := make([]byte, 4*SectorSize), make([]byte, SectorSize)
	for i := range ones {
		ones[i] = 1
	}
	for i := range twos {
		twos[i] = 2
	}
	if err := ref.WriteAt(t.Context(), ones, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := ref.WriteAt(t.Context(), twos, SectorSize, engine.FUA); err != nil {
		t.Fatal(err)
	}
	c.EachCut(func(cut int, image func(uint64) []byte) {
		for seed := range uint64(100) {
			img := image(seed)
			if cut == 2 && img[SectorSize] != 2 {
				t.Fatalf("seed %d: the FUA sector holds %d", seed, img[SectorSize])
			}
		}
	})
}

func TestEachCrashLooksAtEveryCut(t *testing.T) {
	cuts := map[int]int{}
	EachCrash(t, make([]byte, 1024), 3, func(t *testing.T, ref *engine.Ref) {
		for range 4 {
			if err := ref.WriteAt(t.Context(), make([]byte, 512), 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := ref.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, func(_ *testing.T, cut int, _ []byte) { cuts[cut]++ })
	if len(cuts) != 6 || cuts[0] != 3 || cuts[5] != 3 {
		t.Errorf("cuts %v, want 6 with 3 images each", cuts)
	}
}

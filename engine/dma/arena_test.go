package dma

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestAllocationsArePageAlignedAndDisjoint(t *testing.T) {
	for _, cfg := range []Config{{Size: 1 << 20}, {Size: 1 << 20, Shared: true}, {Size: 4 << 20}, {Size: 1 << 16, NoHuge: true}} {
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		rng := rand.New(rand.NewPCG(1, 2))
		type piece struct {
			h Handle
			n int
			b byte
		}
		var live []piece
		for i := range 2000 {
			if len(live) > 0 && rng.IntN(2) == 0 {
				k := rng.IntN(len(live))
				p := live[k]
				for _, v := range a.Bytes(p.h, p.n) {
					if v != p.b {
						t.Fatalf("%+v: byte %#x instead of %#x: allocations overlap", p, v, p.b)
					}
				}
				a.Free(p.h, p.n)
				live = append(live[:k], live[k+1:]...)
				continue
			}
			n := 1 + rng.IntN(20000)
			h, err := a.Alloc(n)
			if errors.Is(err, ErrFull) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.Addr(h)%PageSize != 0 {
				t.Fatalf("address %#x is not page aligned", a.Addr(h))
			}
			p := piece{h, n, byte(i)}
			for j := range a.Bytes(h, n) {
				a.Bytes(h, n)[j] = p.b
			}
			live = append(live, p)
		}
		for _, p := range live {
			a.Free(p.h, p.n)
		}
		if len(a.free) != 1 || a.free[0].n != uint64(a.Len()) {
			t.Fatalf("after all was freed: %v, want one span of %d", a.free, a.Len())
		}
	}
}

func TestHandleFindsItsArena(t *testing.T) {
	a, err := New(Config{Size: 8192})
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Alloc(10)
	if err != nil {
		t.Fatal(err)
	}
	if got := unsafe.SliceData(Bytes(h.Add(4), 3)); uintptr(unsafe.Pointer(got)) != a.Addr(h)+4 {
		t.Errorf("Bytes gives %p, want %#x", got, a.Addr(h)+4)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if Bytes(h, 1) != nil {
		t.Error("a closed arena still resolves")
	}
}

func TestArenaRefusesNonsense(t *testing.T) {
	for _, n := range []int{0, -1, 1 << 50} {
		if a, err := New(Config{Size: n}); err == nil {
			a.Close()
			t.Errorf("an arena of %d bytes was made", n)
		}
	}
}

package mmio_test

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/blkbench/blkbench/vfio/mmio"
)

func TestAccessorsKeepWidthAndNeighbours(t *testing.T) {
	mem := make([]uint64, 4)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&mem[0])), 32)
	for i := range b {
		b[i] = 0xa5
	}
	w := mmio.NewWindow(b)
	mmio.Store32(w.Register(12, 4), 0x01020304)
	mmio.Store64(w.Register(16, 8), 0x1112131415161718)
	if got := mmio.Load32(w.Register(12, 4)); got != 0x01020304 {
		t.Errorf("Load32 = %#x", got)
	}
	if got := mmio.Load64(w.Register(16, 8)); got != 0x1112131415161718 {
		t.Errorf("Load64 = %#x", got)
	}
	for _, i := range []int{0, 11, 24, 31} {
		if b[i] != 0xa5 {
			t.Errorf("byte %d overwritten: %#x", i, b[i])
		}
	}
	if got := mmio.Load32(w.Register(16, 4)); got != 0x15161718 {
		t.Errorf("low half = %#x", got)
	}
	mmio.FenceWC()
	mmio.Pause(0)
	mmio.Pause(3)
}

// A consumer that sees the doorbell must see the data that was written before it.
func TestStoreIsARelease(t *testing.T) {
	const rounds = 100_000
	var data, bell, ack uint32
	errs := make(chan uint32, 1)
	go func() {
		defer close(errs)
		for i := uint32(1); i <= rounds; i++ {
			for atomic.LoadUint32(&bell) != i {
				mmio.Pause(1)
			}
			if v := mmio.Load32(unsafe.Pointer(&data)); v != i {
				errs <- v
				return
			}
			atomic.StoreUint32(&ack, i)
		}
	}()
	for i := uint32(1); i <= rounds; i++ {
		mmio.Store32(unsafe.Pointer(&data), i)
		mmio.Store32(unsafe.Pointer(&bell), i)
		for atomic.LoadUint32(&ack) != i {
			select {
			case v, bad := <-errs:
				if bad {
					t.Fatalf("round %d: stale data %d", i, v)
				}
			default:
			}
		}
	}
}

func TestRegisterBounds(t *testing.T) {
	w := mmio.NewWindow(make([]byte, 16))
	for _, c := range []struct{ off, width uint64 }{{16, 4}, {2, 4}, {12, 8}, {1 << 63, 8}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Register(%#x, %d) did not panic", c.off, c.width)
				}
			}()
			w.Register(c.off, c.width)
		}()
	}
}

func BenchmarkStore32(b *testing.B) {
	var v uint32
	for b.Loop() {
		mmio.Store32(unsafe.Pointer(&v), 1)
	}
}

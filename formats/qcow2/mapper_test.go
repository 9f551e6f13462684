package qcow2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// mapped is an image of which the first half is allocated, a quarter zero, and the rest unallocated; all tables are in memory.
func mapped(t testing.TB, p CreateParams) (*Image, *engine.Ref) {
	t.Helper()
	node := &memNode{}
	file := engine.NewRef(node, engine.OpenFlags{Write: true, Discard: true})
	if err := Format(ctx, file, nil, p); err != nil {
		t.Fatal(err)
	}
	r := openOn(t, file, DefaultConfig())
	buf := bytes.Repeat([]byte{1}, 1<<20)
	for off := int64(0); off < p.Size/2; off += int64(len(buf)) {
		if err := r.WriteAt(ctx, buf, off, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WriteZeroes(ctx, p.Size/2, p.Size/4, 0); err != nil {
		t.Fatal(err)
	}
	return r.Node().(*Image), r
}

// TestMapAllocatesNothing: look-ups of every kind cost no memory.
func TestMapAllocatesNothing(t *testing.T) {
	for _, extended := range []bool{false, true} {
		p := params(16 << 20)
		p.ExtendedL2 = extended
		m, r := mapped(t, p)
		defer r.Close()
		off := int64(0)
		if n := testing.AllocsPerRun(1000, func() {
			off = (off + 37*4096) % p.Size
			n := min(64<<10, p.Size-off)
			if _, ok := m.Map(engine.OpRead, off, n); !ok {
				t.Fatalf("no answer for %#x", off)
			}
			_, ok := m.Map(engine.OpWrite, off, n)
			if ok != (off < p.Size/2) {
				t.Fatalf("write at %#x: %t", off, ok)
			}
		}); n != 0 {
			t.Errorf("extended %t: %v allocations", extended, n)
		}
	}
}

// TestMapAgrees: what Map says leads to the bytes that ReadAt gives.
func TestMapAgrees(t *testing.T) {
	for name, p := range map[string]CreateParams{"64k": params(16 << 20), "512": func() CreateParams {
		p := params(4 << 20)
		p.ClusterSize = 512
		return p
	}()} {
		t.Run(name, func(t *testing.T) {
			m, r := mapped(t, p)
			defer r.Close()
			rnd := testRand(t)
			for range 3000 {
				off := rnd.Int64N(p.Size)
				n := min(p.Size-off, 1+rnd.Int64N(200<<10))
				mp, ok := m.Map(engine.OpRead, off, n)
				if !ok || mp.Len <= 0 || mp.Len > n {
					t.Fatalf("%#x+%d: %+v %t", off, n, mp, ok)
				}
				want := make([]byte, mp.Len)
				if err := r.ReadAt(ctx, want, off); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, mp.Len)
				if mp.Kind == engine.MapData {
					if err := m.Children()[mp.Child].Ref.ReadAt(ctx, got, mp.Off); err != nil {
						t.Fatal(err)
					}
				}
				sameBytes(t, fmt.Sprintf("%#x+%d", off, mp.Len), got, want)
			}
		})
	}
}

// TestMapNeedsFlush: a write to a mapping that is not on the disk yet says so, until a flush.
func TestMapNeedsFlush(t *testing.T) {
	m, r := mapped(t, params(4<<20))
	defer r.Close()
	if mp, ok := m.Map(engine.OpWrite, 0, 4096); !ok || !mp.NeedFlush {
		t.Fatalf("before the flush: %+v %t", mp, ok)
	}
	if err := r.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if mp, ok := m.Map(engine.OpWrite, 0, 4096); !ok || mp.NeedFlush {
		t.Fatalf("after the flush: %+v %t", mp, ok)
	}
}

func BenchmarkMap(b *testing.B) {
	for _, extended := range []bool{false, true} {
		p := params(256 << 20)
		p.ExtendedL2 = extended
		m, r := mapped(b, p)
		rnd := rand.New(rand.NewPCG(1, 1))
		offs := make([]int64, 4096)
		for i := range offs {
			offs[i] = rnd.Int64N(p.Size/2/4096) * 4096
		}
		for _, op := range []engine.Op{engine.OpRead, engine.OpWrite} {
			b.Run(fmt.Sprintf("extended=%t/%v", extended, op), func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					if _, ok := m.Map(op, offs[i&4095], 4096); !ok {
						b.Fatal("no answer")
					}
				}
			})
		}
		r.Close()
	}
}

// BenchmarkAllocatingWrite is sequential writing into a new image.
func BenchmarkAllocatingWrite(b *testing.B) {
	for _, size := range []int{4096, 64 << 10, 2 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			file := openFile(b, b.TempDir()+"/a.qcow2", true, true)
			p := params(1 << 40)
			if err := Format(ctx, file, nil, p); err != nil {
				b.Fatal(err)
			}
			r := openOn(b, file, DefaultConfig())
			buf := bytes.Repeat([]byte{1}, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := r.WriteAt(ctx, buf, int64(i)*int64(size)%(4<<30), 0); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			r.Close()
		})
	}
}

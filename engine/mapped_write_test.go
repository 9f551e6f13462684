package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// shifted is a Mapper that has everything at a fixed distance in its child, and notes which writes came to its blocking method. It has no
// mapping for writes of the odd blocks of 4 KiB where missOdd is set.
type shifted struct {
	child   *engine.Ref
	by      int64
	missOdd bool

	mu     sync.Mutex
	writes []string
}

func (s *shifted) Info() engine.Info {
	return engine.Info{Driver: "shifted", Filename: "toy", Caps: engine.CapWritable}
}
func (s *shifted) Size() int64              { return 1 << 16 }
func (s *shifted) Children() []engine.Child { return []engine.Child{{Name: "file", Ref: s.child}} }
func (s *shifted) Close() error             { return s.child.Close() }

func (s *shifted) Map(op engine.Op, off, n int64) (engine.Mapping, bool) {
	n = min(n, 4096-off%4096)
	return engine.Mapping{Off: off + s.by, Len: n}, op == engine.OpRead || !s.missOdd || off/4096%2 == 0
}

func (s *shifted) ReadAt(ctx context.Context, p []byte, off int64) error {
	return s.child.ReadAt(ctx, p, off+s.by)
}

func (s *shifted) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	s.mu.Lock()
	s.writes = append(s.writes, fmt.Sprintf("%d+%d", off, len(p)))
	s.mu.Unlock()
	return s.child.WriteAt(ctx, p, off+s.by, flags)
}

func (s *shifted) Flush(ctx context.Context) error { return s.child.Flush(ctx) }

func (s *shifted) Extents(_ context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentData | engine.ExtentAllocated}), nil
}

func (s *shifted) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.writes)
	return slices.Compact(s.writes)
}

// TestWritesForgetTheirLookUps: what has passed a mapper and fits no leaf is written by the first mapper's blocking method, whole runs at
// the mapper's own offsets; see the argument in grace.go. What does fit goes to the leaf beside it.
func TestWritesForgetTheirLookUps(t *testing.T) {
	for name, c := range map[string]struct {
		disk    enginetest.DiskConfig
		flags   engine.OpenFlags // of the reference to the leaf
		missOdd bool             // a second mapper, which misses
		off     int64
		n       uint32
		write   engine.WriteFlags
		want    []string // runs that the first mapper was called for
		direct  bool
	}{
		"it fits":                    {off: 4096, n: 4096, direct: true},
		"durable":                    {off: 4096, n: 8192, write: engine.FUA, want: []string{"4096+4096", "8192+4096"}},
		"durable, the leaf can":      {disk: enginetest.DiskConfig{FUA: true}, off: 4096, n: 8192, write: engine.FUA, direct: true},
		"not aligned":                {disk: enginetest.DiskConfig{Limits: engine.Limits{RequestAlign: 512}}, off: 4096, n: 100, want: []string{"4096+100"}},
		"partly aligned":             {disk: enginetest.DiskConfig{Limits: engine.Limits{RequestAlign: 512}}, off: 4096, n: 4196, want: []string{"8192+100"}, direct: true},
		"past the end":               {disk: enginetest.DiskConfig{Size: 3000, Growable: true}, off: 0, n: 4096, want: []string{"0+4096"}},
		"write-through":              {flags: engine.OpenFlags{Cache: engine.Cache{WriteThrough: true}}, off: 0, n: 4096, want: []string{"0+4096"}},
		"a deeper mapper misses":     {missOdd: true, off: 4096, n: 4096, want: []string{"4096+4096"}},
		"a deeper mapper misses one": {missOdd: true, off: 0, n: 8192, want: []string{"4096+4096"}, direct: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.disk.Size == 0 {
				c.disk.Size = 1 << 20
			}
			disk := enginetest.NewDisk(t, c.disk)
			c.flags.Write = true
			below := engine.NewRef(disk, c.flags)
			if c.missOdd {
				below = engine.NewRef(&shifted{child: below, by: 8192, missOdd: true}, engine.OpenFlags{Write: true})
			}
			top := &shifted{child: below, by: 16384}
			ref := engine.NewRef(top, engine.OpenFlags{Write: true})
			defer ref.Close()
			path := openPath(t, ref, 4)
			r := &engine.Request{Op: engine.OpWrite, Off: c.off, Len: c.n, Flags: c.write, Buf: path.buf}
			for i := range dma.Bytes(path.buf, int(c.n)) {
				dma.Bytes(path.buf, int(c.n))[i] = 7
			}
			if err := path.do(t, r); err != nil {
				t.Fatal(err)
			}
			if got := top.seen(); !slices.Equal(got, c.want) {
				t.Errorf("the first mapper's blocking method was called for %v, want %v", got, c.want)
			}
			if s := path.Stats(); (s.Direct+s.Pieces > 0) != c.direct {
				t.Errorf("ways taken: %+v, want some at the leaf: %t", s, c.direct)
			}
			got := make([]byte, c.n)
			if err := ref.ReadAt(t.Context(), got, c.off); err != nil {
				t.Fatal(err)
			}
			if i := slices.IndexFunc(got, func(b byte) bool { return b != 7 }); i >= 0 {
				t.Errorf("byte %d is %d", i, got[i])
			}
		})
	}
}

package qcow2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// faultNode fails one operation, the n-th, or all from the n-th on.
type faultNode struct {
	memNode
	left    int // operations until the fault; negative: none
	lasting bool
	errno   unix.Errno
	fired   bool
	reads   bool // reads count too
}

func (n *faultNode) fault() error {
	if n.left < 0 {
		return nil
	}
	if n.left > 0 {
		n.left--
		return nil
	}
	n.fired = true
	if !n.lasting {
		n.left = -1
	}
	return n.errno
}

func (n *faultNode) ReadAt(ctx context.Context, p []byte, off int64) error {
	if n.reads {
		if err := n.fault(); err != nil {
			return err
		}
	}
	return n.memNode.ReadAt(ctx, p, off)
}

func (n *faultNode) WriteAt(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
	if err := n.fault(); err != nil {
		return err
	}
	return n.memNode.WriteAt(ctx, p, off, f)
}

func (n *faultNode) Flush(ctx context.Context) error {
	if err := n.fault(); err != nil {
		return err
	}
	return n.memNode.Flush(ctx)
}

func (n *faultNode) Discard(ctx context.Context, off, length int64) error {
	if err := n.fault(); err != nil {
		return err
	}
	return n.memNode.WriteAt(ctx, make([]byte, length), off, 0)
}

func (n *faultNode) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	if err := n.fault(); err != nil {
		return err
	}
	return n.memNode.Resize(ctx, size, o)
}

// faultVerbs are what changes an image. Each is given an image that has some of everything.
var faultVerbs = map[string]func(m *Image, r *engine.Ref) error{
	"write": func(_ *Image, r *engine.Ref) error {
		return r.WriteAt(ctx, bytes.Repeat([]byte{0xaa}, 150<<10), 3000, 0)
	},
	"compressed": func(m *Image, r *engine.Ref) error {
		return r.WriteAt(ctx, bytes.Repeat([]byte{0xaa}, 8*int(m.clusterSize)), 0, engine.Compressed)
	},
	"zero": func(_ *Image, r *engine.Ref) error { return r.WriteZeroes(ctx, 1000, 150<<10, engine.MayUnmap) },
	"discard": func(_ *Image, r *engine.Ref) error {
		return errors.Join(r.Discard(ctx, 0, 128<<10), r.Flush(ctx), r.WriteAt(ctx, []byte("x"), 0, 0))
	},
	"create snapshot": func(m *Image, _ *engine.Ref) error {
		return m.CreateSnapshot(ctx, engine.Snapshot{Name: "new", Icount: -1})
	},
	"delete snapshot": func(m *Image, _ *engine.Ref) error { return m.DeleteSnapshot(ctx, "old") },
	"apply snapshot":  func(m *Image, _ *engine.Ref) error { return m.ApplySnapshot(ctx, "old") },
	"grow": func(_ *Image, r *engine.Ref) error {
		return r.Resize(ctx, 2<<20, engine.ResizeOptions{Prealloc: engine.PreallocMetadata})
	},
	"shrink":        func(_ *Image, r *engine.Ref) error { return r.Resize(ctx, 64<<10, resizeOff) },
	"add bitmap":    func(m *Image, _ *engine.Ref) error { return m.AddBitmap(ctx, "b", 0, false) },
	"remove bitmap": func(m *Image, _ *engine.Ref) error { return m.RemoveBitmap(ctx, "there") },
	"rebase":        func(m *Image, _ *engine.Ref) error { return m.ChangeBacking(ctx, "some/other/name", "raw") },
	"empty":         func(m *Image, _ *engine.Ref) error { return m.MakeEmpty(ctx) },
	"amend refcount_bits": func(m *Image, _ *engine.Ref) error {
		return m.AmendTo(ctx, AmendParams{Size: -1, RefcountBits: 64}, nil)
	},
	"amend compat": func(m *Image, _ *engine.Ref) error {
		if err := m.RemoveBitmap(ctx, "there"); err != nil {
			return err
		}
		return m.AmendTo(ctx, AmendParams{Size: -1, Version: 2}, nil)
	},
	"check": func(m *Image, _ *engine.Ref) error {
		_, err := m.Check(ctx, engine.CheckOptions{FixErrors: true, FixLeaks: true})
		return err
	},
}

// faultImage makes an image with data, zeroes, compressed clusters, a snapshot and a bitmap.
func faultImage(t testing.TB, cluster int64, lazy bool) []byte {
	t.Helper()
	node := &memNode{}
	file := engine.NewRef(node, engine.OpenFlags{Write: true, Discard: true})
	p := params(512 << 10)
	p.ClusterSize, p.Lazy = cluster, lazy
	if err := Format(ctx, file, nil, p); err != nil {
		t.Fatal(err)
	}
	r := openOn(t, file, DefaultConfig())
	m := r.Node().(*Image)
	for _, err := range []error{
		r.WriteAt(ctx, bytes.Repeat([]byte{1}, 100<<10), 5000, 0),
		r.WriteAt(ctx, bytes.Repeat([]byte{2}, 4*int(cluster)), 256<<10, engine.Compressed),
		r.WriteZeroes(ctx, 20<<10, 20<<10, 0),
		m.CreateSnapshot(ctx, engine.Snapshot{Name: "old", Icount: -1}),
		r.WriteAt(ctx, bytes.Repeat([]byte{3}, 10<<10), 9000, 0),
		m.AddBitmap(ctx, "there", 0, false),
		r.WriteAt(ctx, bytes.Repeat([]byte{4}, 10<<10), 300<<10, 0),
		r.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return node.data
}

// TestFaults fails the k-th operation on the file, for every k, in every verb that changes an image. What the verb leaves, and what is
// written afterwards, is consistent: leaks at the most, or the dirty bit.
func TestFaults(t *testing.T) {
	enginetest.Long(t)
	for _, cluster := range []int64{512, 4096} {
		for name, verb := range faultVerbs {
			for _, lasting := range []bool{false, true} {
				for _, reads := range []bool{false, true} {
					t.Run(fmt.Sprintf("%d %s lasting %t reads %t", cluster, name, lasting, reads), func(t *testing.T) {
						base := faultImage(t, cluster, false)
						for k := 0; ; k++ {
							if testing.Short() && k > 8 {
								return
							}
							fired, err := faultOnce(t, base, k, lasting, reads, verb)
							if err != nil {
								t.Fatalf("operation %d: %v", k, err)
							}
							if !fired {
								if k == 0 {
									t.Fatal("nothing happened")
								}
								return
							}
						}
					})
				}
			}
		}
	}
}

func faultOnce(t *testing.T, base []byte, k int, lasting, reads bool, verb func(m *Image, r *engine.Ref) error) (bool, error) {
	node := &faultNode{memNode: memNode{data: bytes.Clone(base)}, left: -1, errno: unix.EIO, lasting: lasting, reads: reads}
	if k%3 == 1 {
		node.errno = unix.ENOSPC
	}
	file := engine.NewRef(node, engine.OpenFlags{Write: true, Discard: true})
	cfg := DefaultConfig()
	cfg.L2CacheBytes, cfg.RefcountCacheBytes = 0, 0
	r := openOn(t, file, cfg)
	m := r.Node().(*Image)
	node.left = k
	verr := verb(m, r)
	if node.fired && verr == nil && !lasting {
		// A discard or a cleaning up that does not work is nobody's error; the image must be right all the same.
		verr = nil
	}
	if !lasting {
		node.left = -1
		_ = r.WriteAt(ctx, bytes.Repeat([]byte{5}, 3000), 40<<10, 0)
		_ = r.Flush(ctx)
	}
	cerr := r.Close()
	node.left = -1
	if !node.fired && (verr != nil || cerr != nil) {
		return false, fmt.Errorf("without a fault: %w", errors.Join(verr, cerr))
	}
	ro := engine.NewRef(&memNode{data: node.data}, engine.OpenFlags{})
	h, err := ReadHeader(ctx, ro, false)
	if err != nil {
		return node.fired, fmt.Errorf("after %w: %w", verr, err)
	}
	m2, err := New(ctx, Parts{Header: h, File: ro, Config: DefaultConfig()})
	if err != nil {
		return node.fired, fmt.Errorf("after %w: %w", verr, err)
	}
	var lines []string
	res, err := m2.Check(ctx, engine.CheckOptions{Report: func(s string) { lines = append(lines, s) }})
	if err != nil {
		return node.fired, err
	}
	if res.CheckErrors > 0 || (res.Corruptions > 0 && m2.hdr.Incompatible&IncompatDirty == 0) {
		return node.fired, fmt.Errorf("after %w: %+v: %v", verr, res, lines)
	}
	b := make([]byte, m2.Size())
	if err := m2.ReadAt(ctx, b, 0); err != nil {
		return node.fired, fmt.Errorf("after %w: %w", verr, err)
	}
	return node.fired, nil
}

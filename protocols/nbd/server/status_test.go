package server

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// striped is a node whose every second block of 4 KiB is a hole, and whose bitmap "b" has every third dirty.
type striped struct{ *gate }

func (s *striped) Extents(_ context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	step := min(n, 4096-off%4096)
	e := engine.Extent{Off: off, Len: step, Flags: engine.ExtentData | engine.ExtentAllocated}
	if off/4096%2 == 1 {
		e.Flags, e.Depth = engine.ExtentZero, 1
	}
	return append(dst, e), nil
}

func (s *striped) DirtyRanges(_ context.Context, name string, f func(off, n int64) error) error {
	if name != "b" {
		return fmt.Errorf("no bitmap %s", name)
	}
	for off := int64(0); off < testSize; off += 3 * 4096 {
		if err := f(off, 4096); err != nil {
			return err
		}
	}
	return nil
}

// Runs are described exactly, as many as fit or as are asked for, in every context, in both planes.
func TestBlockStatus(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, _ []byte) {
		x.Root = engine.NewRef(&striped{newGate(x.Root)}, engine.OpenFlags{Write: true})
		x.AllocationDepth, x.Bitmaps = true, []string{"b"}
		_, path := start(t, Config{}, x)
		names := []string{wire.ContextAllocation, wire.ContextDepth, wire.ContextBitmap + "b"}
		for name, kind := range kinds {
			if kind == wire.Simple {
				continue
			}
			t.Run(name, func(t *testing.T) {
				p := connect(t, path).begin(kind, "", names...)
				res := p.want(wire.OK, wire.CmdBlockStatus, 0, 4096, 20480, nil)
				got := fmt.Sprint(res.status[1], res.status[2], res.status[3])
				const want = "[{4096 3} {4096 0} {4096 3} {4096 0} {4096 3}] [{4096 0} {4096 1} {4096 0} {4096 1} {4096 0}] [{8192 0} {4096 1} {8192 0}]"
				if got != want || res.chunks != 3 {
					t.Errorf("%d chunks: %s, want %s", res.chunks, got, want)
				}
				if got := fmt.Sprint(p.want(wire.OK, wire.CmdBlockStatus, wire.FlagReqOne, 12288, 40960, nil).status); got != "map[1:[{4096 3}] 2:[{4096 0}] 3:[{4096 1}]]" {
					t.Errorf("one run: %s", got)
				}
				res = p.want(wire.OK, wire.CmdBlockStatus, 0, 0, testSize, nil)
				if n := len(res.status[1]); n < 100 || n > statusRoom/8 {
					t.Errorf("%d runs of many", n)
				}
			})
		}
		// With a payload a client chooses contexts by request.
		p := connect(t, path).begin(wire.Extended, "", names...)
		if p.flags&wire.BlockStatusPayload == 0 {
			t.Error("not announced")
		}
		ask := func(want wire.Errno, n uint64, ids ...uint32) result {
			t.Helper()
			b := wire.AppendStatusPayload(nil, n, ids...)
			return p.want(want, wire.CmdBlockStatus, wire.FlagPayloadLen, 4096, uint64(len(b)), b)
		}
		if got := fmt.Sprint(ask(wire.OK, 8192, 3, 1).status); got != "map[1:[{4096 3} {4096 0}] 3:[{8192 0}]]" {
			t.Errorf("chosen contexts: %s", got)
		}
		ask(wire.EINVAL, 4096, 4)
		ask(wire.EINVAL, 4096, 2, 2)
		ask(wire.EINVAL, testSize, 1)
		ask(wire.EINVAL, 0, 1)
		ask(wire.EINVAL, 4096, make([]uint32, 2*maxStatus/4)...)
		ask(wire.OK, 4096, 2)
	})
}

// A qcow2 image with a backing file is served by the ring: fast where it is allocated, by the slow lane where not.
func TestPeerQcow2OnTheRing(t *testing.T) {
	enginetest.Require(t, "qemu-img")
	base, content := makeFile(t, testSize)
	img := filepath.Join(t.TempDir(), "top.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", base.Info().Filename, img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := base.Close(); err != nil {
		t.Fatal(err)
	}
	x := &Export{Root: open(t, img, "qcow2", true)}
	_, path := start(t, Config{}, x)
	p := connect(t, path).begin(wire.Structured, "")
	for i := range uint64(50) {
		off, n := i*100003, uint64(1000+i*900)
		data := randomBytes(int(n), i)
		p.want(wire.OK, wire.CmdWrite, 0, off, n, data)
		copy(content[off:], data)
		if i%5 == 0 {
			p.want(wire.OK, wire.CmdWriteZeroes, 0, off+500, 70000, nil)
			clear(content[off+500 : off+70500])
			p.want(wire.OK, wire.CmdFlush, 0, 0, 0, nil)
		}
	}
	if !x.onRing() {
		t.Error("not on the ring")
	}
	if res := p.want(wire.OK, wire.CmdRead, 0, 0, testSize, nil); string(res.data) != string(content) {
		t.Error("the content differs")
	}
	p.bye()
}

package qcow2

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// heldDisk is a disk one of whose blocking writes waits.
type heldDisk struct {
	*enginetest.Disk
	armed            func(p []byte) bool
	arrived, release chan struct{}
}

func (d *heldDisk) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if d.armed != nil && d.armed(p) {
		close(d.arrived)
		<-d.release
	}
	return d.Disk.WriteAt(ctx, p, off, flags)
}

// TestFastWriteThatTurnsSlowKeepsSnapshotsOut: a write that was mapped, and that the file's queue does not take (it must be durable, and
// the file has no FUA), is under way by blocking calls. It must hold the gate: a snapshot would share its cluster, somebody else would
// copy that, and the write would land in the copied one and be lost.
func TestFastWriteThatTurnsSlowKeepsSnapshotsOut(t *testing.T) {
	disk := &heldDisk{
		Disk:    enginetest.NewDisk(t, enginetest.DiskConfig{Growable: true, Discard: true}),
		arrived: make(chan struct{}), release: make(chan struct{}),
	}
	file := engine.NewRef(disk, engine.OpenFlags{Write: true, Discard: true})
	if err := Format(ctx, file, nil, params(1<<20)); err != nil {
		t.Fatal(err)
	}
	ref := openOn(t, file, DefaultConfig())
	defer ref.Close()
	m := ref.Node().(*Image)
	mustWrite := func(v byte, off, n int) {
		t.Helper()
		if err := ref.WriteAt(ctx, bytes.Repeat([]byte{v}, n), int64(off), 0); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(1, 0, 64<<10)
	if err := ref.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if mp, ok := m.Map(engine.OpWrite, 0, 4096); !ok || mp.NeedFlush {
		t.Fatalf("the write would not be mapped: %+v, %t", mp, ok)
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	arena, err := dma.New(dma.Config{Size: 8192, NoHuge: true})
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Close()
	h, err := arena.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	path, err := engine.OpenPath(ctx, ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: 1, Arenas: []*dma.Arena{arena}})
	if err != nil {
		t.Fatal(err)
	}
	defer path.Close()
	copy(dma.Bytes(h, 4096), bytes.Repeat([]byte{2}, 4096))
	disk.armed = func(p []byte) bool { return len(p) == 4096 && p[0] == 2 }
	write := &engine.Request{Op: engine.OpWrite, Len: 4096, Buf: h, Flags: engine.FUA}
	if path.Submit([]*engine.Request{write}) != 1 {
		t.Fatal("the request was not taken")
	}
	<-disk.arrived
	free := m.gate.TryLock()
	if free {
		m.gate.Unlock()
		t.Error("the write does not hold the gate")
	}
	done := make(chan error, 1)
	go func() {
		err := m.CreateSnapshot(ctx, engine.Snapshot{Name: "s", Icount: -1})
		if err == nil {
			err = ref.WriteAt(ctx, bytes.Repeat([]byte{3}, 4096), 32<<10, 0)
		}
		done <- err
	}()
	finish := func() {
		t.Helper()
		for path.InFlight() > 0 {
			if path.Poll(make([]*engine.Request, 1)) == 0 {
				if err := path.Wait(time.Second); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if free {
		// What is lost then.
		for len(done) == 0 {
			path.Poll(make([]*engine.Request, 1))
		}
	}
	close(disk.release)
	finish()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := write.Err(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64<<10)
	if err := ref.ReadAt(ctx, got, 0); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{1}, 64<<10)
	copy(want, bytes.Repeat([]byte{2}, 4096))
	copy(want[32<<10:], bytes.Repeat([]byte{3}, 4096))
	sameBytes(t, "after the snapshot", got, want)
	if err := checkClean(t, ref); err != nil {
		t.Error(err)
	}
}

// TestFreesKeepToTheirOwnGracePeriod: what is freed late waits for its own grace period, whatever older frees do meanwhile.
func TestFreesKeepToTheirOwnGracePeriod(t *testing.T) {
	_, ref := onDisk(t, params(1<<20), DefaultConfig(), enginetest.DiskConfig{})
	defer ref.Close()
	m := ref.Node().(*Image)
	reader := m.domain.Enter() // holds all grace periods up
	m.mu.Lock()
	var clusters [3]int64
	for i := range clusters {
		c, err := m.allocContiguous(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		clusters[i] = c
	}
	hand := func(i int) (mark int64) {
		m.written = append(m.written, pendingFree{clusters[i], 1, freeOther})
		m.release(1)
		return m.drained + int64(len(m.draining))
	}
	first := hand(0)
	second := hand(1)
	m.freeDrained(ctx, first)
	hand(2)
	m.freeDrained(ctx, second)
	for i, want := range []uint64{0, 0, 1} {
		if v, err := m.refcount(ctx, clusters[i]); err != nil || v != want {
			t.Errorf("cluster %d has %d references (%v), want %d", i, v, err, want)
		}
	}
	m.mu.Unlock()
	m.domain.Exit(reader)
	if err := m.domain.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, err := m.refcount(ctx, clusters[2]); err != nil || v != 0 {
		t.Errorf("after its grace period the last has %d references (%v)", v, err)
	}
}

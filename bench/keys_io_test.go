package bench

import (
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
)

func TestSequentialReadVisitsEachBlockInOrder(t *testing.T) {
	o := runArgs(t, nil, job("--rw=read")...).must(t)
	for i, op := range o.rec().of(engine.OpRead) {
		if op.off != int64(i)*4096 || op.n != 4096 {
			t.Fatalf("request %d is %d+%d", i, op.off, op.n)
		}
	}
	if n := o.rec().count(engine.OpRead); n != 256 {
		t.Errorf("%d reads of a 1 MiB target, want 256", n)
	}
	if d := o.Jobs[0].Dir[0]; d.IOs != 256 || d.Bytes != 1<<20 {
		t.Errorf("the result says %d I/Os, %d bytes", d.IOs, d.Bytes)
	}
}

func TestRandomReadVisitsEachBlockOnce(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread", "--iodepth=8")...).must(t)
	seen := map[int64]bool{}
	inOrder := true
	for i, op := range o.rec().of(engine.OpRead) {
		if seen[op.off] {
			t.Fatalf("block at %d twice", op.off)
		}
		seen[op.off] = true
		inOrder = inOrder && op.off == int64(i)*4096
	}
	if len(seen) != 256 || inOrder {
		t.Errorf("%d blocks, in order: %v", len(seen), inOrder)
	}
}

func TestIODepthIsReachedAndKept(t *testing.T) {
	slow := func(_ string, r *recorder) {
		r.delay = func(engine.Op, int64, int) time.Duration { return time.Millisecond }
	}
	o := runArgs(t, slow, job("--rw=randread", "--iodepth=4")...).must(t)
	if o.rec().deepest != 4 {
		t.Errorf("depth %d, want 4", o.rec().deepest)
	}
}

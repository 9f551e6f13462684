package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/engine"
)

// verified is a job that writes 1 MiB of 4 KiB blocks and checks them; state and dumps go to dir.
func verified(dir string, extra ...string) []string {
	return append([]string{"--aux-path=" + dir}, job(append([]string{"--rw=randwrite", "--verify=crc32c"}, extra...)...)...)
}

func TestVerifyReadsBackEveryBlockAfterWriting(t *testing.T) {
	fiotest.Long(t)
	for _, kind := range []string{
		"md5", "crc64", "crc32", "crc32c", "crc32c-intel", "crc16", "crc7", "sha1", "sha256", "sha512", "sha3-224", "sha3-256", "sha3-384",
		"sha3-512", "xxhash", "meta", "null",
	} {
		o := runArgs(t, nil, verified(t.TempDir(), "--verify="+kind, "--iodepth=8")...).must(t)
		writes, reads := o.rec().count(engine.OpWrite), o.rec().count(engine.OpRead)
		if writes != 256 || reads != 256 {
			t.Errorf("%s: %d writes, %d reads, want 256 of each", kind, writes, reads)
		}
		if v := o.Jobs[0].Verify; v == nil || v.Blocks != 256 || v.Failures != 0 || !strings.HasPrefix(kind, v.Kind) {
			t.Errorf("%s: the result says %+v", kind, v)
		}
	}
}

func TestDoVerifyOffWritesOnly(t *testing.T) {
	o := runArgs(t, nil, verified(t.TempDir(), "--do_verify=0")...).must(t)
	if n := o.rec().count(engine.OpRead); n != 0 {
		t.Errorf("%d reads", n)
	}
}

func TestVerifyPatternIsWhatIsWritten(t *testing.T) {
	o := runArgs(t, nil, job("--rw=write", "--verify=pattern", "--verify_pattern=0xdeadbeef", "--aux-path="+t.TempDir())...).must(t)
	want := bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef}, 1024)
	for _, op := range o.rec().of(engine.OpWrite) {
		if !bytes.Equal(op.data, want) {
			t.Fatalf("at %d: % x…", op.off, op.data[:16])
		}
	}
	if v := o.Jobs[0].Verify; v.Blocks != 256 || v.Failures != 0 {
		t.Errorf("%+v", v)
	}
}

func TestVerifyPatternOffsetIsThatOfTheBlock(t *testing.T) {
	o := runArgs(t, nil, job("--rw=write", "--verify=pattern", "--verify_pattern=%o", "--aux-path="+t.TempDir())...).must(t)
	for _, op := range o.rec().of(engine.OpWrite) {
		var got int64
		for i := range 8 {
			got |= int64(op.data[i]) << (8 * i)
		}
		if got != op.off {
			t.Fatalf("at %#x: %#x", op.off, got)
		}
	}
}

func TestVerifyIntervalAndOffsetPlaceHeaders(t *testing.T) {
	o := runArgs(t, nil, job("--rw=write", "--verify=crc32c", "--verify_interval=1024", "--verify_offset=512", "--aux-path="+t.TempDir())...).must(t)
	for _, op := range o.rec().of(engine.OpWrite) {
		for at := 0; at < 4096; at += 1024 {
			if !bytes.HasPrefix(op.data[at+512:], []byte("blkbVRF1")) {
				t.Fatalf("at %d+%d there is no header", op.off, at)
			}
		}
	}
}

// spoil changes what a target holds, between the writes and their verification.
type spoil func(r *recorder, before map[int64][]byte)

// spoiled runs a job that writes twice over its range (loops), and spoils the data once the first read of the second verification comes.
func spoiled(t *testing.T, dir string, how spoil, extra ...string) *outcome {
	t.Helper()
	var done atomic.Bool
	prepare := func(_ string, r *recorder) {
		before := map[int64][]byte{}
		writes := 0
		r.intercept = func(op engine.Op, off int64, p []byte) {
			if op == engine.OpWrite {
				if writes++; writes <= 256 {
					before[off] = bytes.Clone(p)
				}
			}
			if op == engine.OpRead && writes == 512 && !done.Swap(true) {
				how(r, before)
			}
		}
	}
	o := runArgs(t, prepare, verified(dir, append([]string{"--rw=write", "--loops=2"}, extra...)...)...)
	if !done.Load() {
		t.Fatal("nothing was spoiled")
	}
	return o
}

func TestVerifyFindsAndNamesBadBlocks(t *testing.T) {
	const at = 0x8000
	for _, c := range []struct {
		want string
		how  spoil
	}{
		{"stale", func(r *recorder, before map[int64][]byte) { copy(r.data[at:], before[at]) }},
		{"misplaced", func(r *recorder, _ map[int64][]byte) { copy(r.data[at:at+4096], r.data[0x4000:]) }},
		{"torn", func(r *recorder, before map[int64][]byte) { copy(r.data[at+2048:at+4096], before[at][2048:]) }},
		{"corrupt", func(r *recorder, _ map[int64][]byte) { r.data[at+1000] ^= 4 }},
		{"never written", func(r *recorder, _ map[int64][]byte) { clear(r.data[at : at+4096]) }},
	} {
		dir := t.TempDir()
		o := spoiled(t, dir, c.how)
		if !errors.Is(o.err, syscall.EILSEQ) {
			t.Errorf("%s: %v", c.want, o.err)
			continue
		}
		v := o.Jobs[0].Verify
		if v.Failures != 1 || v.Blocks != 512 {
			t.Errorf("%s: %+v", c.want, v)
		}
		for _, word := range []string{c.want, "rec", "0x8000", "write 256"[:5]} {
			if !strings.Contains(v.First, word) {
				t.Errorf("%s: %q does not say %q", c.want, v.First, word)
			}
		}
		kept, _ := filepath.Glob(filepath.Join(dir, "*"))
		received, expected := 0, 0
		for _, name := range kept {
			b, err := os.ReadFile(name)
			if err != nil || len(b) != 4096 {
				t.Errorf("%s: %s: %d bytes, %v", c.want, name, len(b), err)
			}
			if strings.Contains(name, "received") {
				received++
			}
			if strings.Contains(name, "expected") {
				expected++
			}
		}
		if received != 1 || expected != 1 {
			t.Errorf("%s: kept %v", c.want, kept)
		}
		if j := &o.Jobs[0]; j.Error != int(syscall.EILSEQ) || j.TotalErrors != 1 || j.Errors[0].Off != at {
			t.Errorf("%s: error %d, %d in all, %+v", c.want, j.Error, j.TotalErrors, j.Errors)
		}
	}
}

// ruin spoils four blocks.
func ruin(r *recorder, _ map[int64][]byte) {
	for i := range 4 {
		r.data[i*0x10000+700] ^= 1
	}
}

func TestVerifyGoesOnToTheEndUnlessFatal(t *testing.T) {
	o := spoiled(t, t.TempDir(), ruin)
	if v := o.Jobs[0].Verify; v.Failures != 4 || v.Blocks != 512 {
		t.Errorf("%+v", v)
	}
	o = spoiled(t, t.TempDir(), ruin, "--verify_fatal=1")
	if v := o.Jobs[0].Verify; v.Failures != 1 || v.Blocks >= 512 {
		t.Errorf("fatal: %+v", v)
	}
}

func TestVerifyDumpKeepsEveryBadBlock(t *testing.T) {
	fiotest.Long(t)
	for _, c := range []struct {
		arg  []string
		want int
	}{{nil, 2}, {[]string{"--verify_dump=1"}, 8}, {[]string{"--verify_dump=0"}, 0}} {
		dir := t.TempDir()
		spoiled(t, dir, ruin, c.arg...)
		if kept, _ := filepath.Glob(filepath.Join(dir, "*")); len(kept) != c.want {
			t.Errorf("%v: %d files, want %d: %v", c.arg, len(kept), c.want, kept)
		}
	}
}

func TestContinueOnErrorVerifyCountsBadBlocks(t *testing.T) {
	o := spoiled(t, t.TempDir(), ruin, "--continue_on_error=verify").must(t)
	if j := &o.Jobs[0]; j.TotalErrors != 4 || j.Error != 0 {
		t.Errorf("%d errors, error %d", j.TotalErrors, j.Error)
	}
	o = spoiled(t, t.TempDir(), ruin, "--ignore_error=,,EILSEQ").must(t)
	if j := &o.Jobs[0]; j.TotalErrors != 0 {
		t.Errorf("ignored: %d errors", j.TotalErrors)
	}
}

func TestVerifyBacklogReadsBackInBetween(t *testing.T) {
	o := runArgs(t, nil, verified(t.TempDir(), "--verify_backlog=16", "--iodepth=4")...).must(t)
	reads, writes, most := 0, 0, 0
	for _, op := range o.rec().ops {
		switch op.op {
		case engine.OpRead:
			reads++
		case engine.OpWrite:
			writes++
			most = max(most, writes-reads)
		default:
		}
	}
	if reads != 256 || writes != 256 || most > 16+4 {
		t.Errorf("%d writes, %d reads, at most %d writes ahead", writes, reads, most)
	}
	o = runArgs(t, nil, verified(t.TempDir(), "--verify_backlog=16", "--verify_backlog_batch=4")...).must(t)
	run, longest := 0, 0
	for _, op := range o.rec().ops[:100] {
		if run++; op.op != engine.OpRead {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest != 4 {
		t.Errorf("batches of %d reads, want 4", longest)
	}
}

func TestVerifyBacklogFindsLostWrites(t *testing.T) {
	lose := func(_ string, r *recorder) {
		n := 0
		r.drop = func(int64) bool { n++; return n == 20 }
	}
	o := runArgs(t, lose, verified(t.TempDir(), "--verify_backlog=8")...)
	if !errors.Is(o.err, syscall.EILSEQ) || o.Jobs[0].Verify.Failures != 1 {
		t.Errorf("%v, %+v", o.err, o.Jobs[0].Verify)
	}
}

func TestVerifyWithOverwritesExpectsTheLastWrite(t *testing.T) {
	// Blocks are written several times, in several sizes: what was last has to be remembered.
	o := runArgs(t, nil, verified(t.TempDir(), "--norandommap", "--bsrange=4k-16k", "--io_size=4M", "--iodepth=8")...).must(t)
	if v := o.Jobs[0].Verify; v.Failures != 0 || v.Blocks == 0 {
		t.Errorf("%+v", v)
	}
	lose := func(_ string, r *recorder) {
		n := 0
		r.drop = func(int64) bool { n++; return n == 300 }
	}
	o = runArgs(t, lose, verified(t.TempDir(), "--norandommap", "--io_size=2M")...)
	if !errors.Is(o.err, syscall.EILSEQ) || !strings.Contains(o.Jobs[0].Verify.First, "stale") && !strings.Contains(o.Jobs[0].Verify.First, "never written") {
		t.Errorf("a lost overwrite: %v", o.err)
	}
}

func TestReadingJobVerifiesWhatItReads(t *testing.T) {
	dir := t.TempDir()
	args := append(verified(dir, "--do_verify=0"), "--name=r", "--stonewall", "--filename=driver=rec,name=a", "--bs=4k", "--rw=read", "--verify=crc32c")
	o := runArgs(t, nil, args...).must(t)
	if v := o.Jobs[1].Verify; v.Blocks != 256 || v.Failures != 0 {
		t.Errorf("%+v", v)
	}
	args = append(args, "--verify_header_seed=1")
	if o = runArgs(t, nil, args...); !errors.Is(o.err, syscall.EILSEQ) || !strings.Contains(o.Jobs[1].Verify.First, "foreign") {
		t.Errorf("with verify_header_seed: %v", o.err)
	}
}

// keptTarget lets several runs use one target's data.
func keptTarget(data []byte) func(string, *recorder) {
	return func(_ string, r *recorder) { r.data = data }
}

func TestVerifyOnlyChecksAnEarlierRun(t *testing.T) {
	dir, data := t.TempDir(), make([]byte, 1<<20)
	for _, extra := range [][]string{nil, {"--norandommap", "--io_size=2M"}} {
		runArgs(t, keptTarget(data), verified(dir, append(extra, "--do_verify=0")...)...).must(t)
		o := runArgs(t, keptTarget(data), verified(dir, append(extra, "--verify_only")...)...).must(t)
		if v := o.Jobs[0].Verify; o.rec().count(engine.OpWrite) != 0 || v.Blocks == 0 || v.Failures != 0 {
			t.Errorf("%v: %d writes, %+v", extra, o.rec().count(engine.OpWrite), v)
		}
		data[0x8000+100] ^= 1
		if o = runArgs(t, keptTarget(data), verified(dir, append(extra, "--verify_only")...)...); !errors.Is(o.err, syscall.EILSEQ) {
			t.Errorf("%v: %v", extra, o.err)
		}
	}
}

func TestVerifyWriteSequenceOffAcceptsOlderWrites(t *testing.T) {
	stale := func(r *recorder, before map[int64][]byte) { copy(r.data[0x8000:], before[0x8000]) }
	spoiled(t, t.TempDir(), stale, "--verify_write_sequence=0").must(t)
}

func TestVerifyStateOfAnInterruptedRunIsCheckedLater(t *testing.T) {
	fiotest.Long(t)
	for _, extra := range [][]string{nil, {"--norandommap"}} {
		dir, data := t.TempDir(), make([]byte, 1<<20)
		plan, err := fiojob.ParseArgs(verified(dir, append(extra, "--iodepth=4")...), fiojob.SystemEnv())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		reg, recs := recorders(t, func(_ string, r *recorder) {
			r.data = data
			n := 0
			r.intercept = func(op engine.Op, _ int64, _ []byte) {
				if n++; n == 100 {
					stop()
				}
				if n > 100 {
					time.Sleep(time.Millisecond)
				}
			}
		})
		res, err := Run(ctx, Config{Env: &engine.Env{Registry: reg}, Plan: plan})
		if err != nil || !res.Interrupted {
			t.Fatalf("%v, interrupted %v", err, res.Interrupted)
		}
		writes := recs["a"].count(engine.OpWrite)
		if states, _ := filepath.Glob(filepath.Join(dir, "local-j-0-verify.state")); len(states) != 1 || writes == 256 {
			t.Fatalf("%v: states %v after %d writes", extra, states, writes)
		}
		o := runArgs(t, keptTarget(data), verified(dir, append(extra, "--verify_only", "--verify_state_load=1")...)...).must(t)
		if v := o.Jobs[0].Verify; v.Failures != 0 || int(v.Blocks) > writes || int(v.Blocks) < writes/2 {
			t.Errorf("%v: %+v of %d writes", extra, v, writes)
		}
		var off int64 // a block that was written surely
		for _, op := range recs["a"].of(engine.OpWrite)[:1] {
			off = op.off
		}
		data[off+99] ^= 1
		if o = runArgs(t, keptTarget(data), verified(dir, append(extra, "--verify_only", "--verify_state_load=1")...)...); !errors.Is(o.err, syscall.EILSEQ) {
			t.Errorf("%v: a bad block: %v", extra, o.err)
		}
	}
}

func TestVerifyStateSaveOffKeepsNothing(t *testing.T) {
	dir := t.TempDir()
	runArgs(t, nil, verified(dir, "--do_verify=0", "--verify_state_save=0")...).must(t)
	if kept, _ := filepath.Glob(filepath.Join(dir, "*")); len(kept) != 0 {
		t.Errorf("kept %v", kept)
	}
	runArgs(t, nil, verified(dir, "--do_verify=0")...).must(t)
	if kept, _ := filepath.Glob(filepath.Join(dir, "*")); len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
}

func TestVerifyAsyncChecksOnOtherThreads(t *testing.T) {
	o := runArgs(t, nil, verified(t.TempDir(), "--verify_async=2", "--verify_async_cpus=0", "--iodepth=8")...).must(t)
	if v := o.Jobs[0].Verify; v.Blocks != 256 || v.Failures != 0 {
		t.Errorf("%+v", v)
	}
	o = spoiled(t, t.TempDir(), ruin, "--verify_async=2", "--iodepth=8")
	if v := o.Jobs[0].Verify; v == nil || v.Failures != 4 {
		t.Errorf("%+v, %v", v, o.err)
	}
}

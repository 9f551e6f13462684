package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/iolog"
)

// trace writes a trace and returns its name.
func trace(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	recA = "driver=rec,name=a"
	recB = "driver=rec,name=b"

	someTrace = "fio version 3 iolog\n0 " + recA + " add\n0 " + recB + " add\n0 " + recA + " open\n" +
		"10 " + recA + " read 8192 4096\n" +
		"20 " + recB + " write 0 16384\n" +
		"40000 " + recA + " trim 65536 8192\n" +
		"80000 " + recA + " sync 0 0\n" +
		"120000 " + recA + " read 20480 512\n120000 " + recA + " close\n"
)

func replayed(t *testing.T, args ...string) *outcome {
	t.Helper()
	return runArgs(t, nil, append([]string{"--name=r", "--iodepth=4"}, args...)...).must(t)
}

func (o *outcome) heard(name string) (all []string) {
	for _, r := range o.recs[name].ops {
		all = append(all, fmt.Sprint(r.op, " ", r.off, "+", r.n))
	}
	return all
}

func TestReplayPlaysATrace(t *testing.T) {
	o := replayed(t, "--read_iolog="+trace(t, someTrace), "--iodepth=1")
	if got := o.heard("a"); !slices.Equal(got, []string{"read 8192+4096", "discard 65536+8192", "flush 0+0", "read 20480+512"}) {
		t.Errorf("a: %v", got)
	}
	if got := o.heard("b"); !slices.Equal(got, []string{"write 0+16384"}) {
		t.Errorf("b: %v", got)
	}
	d := &o.Jobs[0].Dir
	if d[0].IOs != 2 || d[0].Bytes != 4608 || d[1].Bytes != 16384 || d[2].Bytes != 8192 || d[3].IOs != 1 {
		t.Errorf("%+v", d)
	}
}

func TestReplayKeepsTheRecordedTimes(t *testing.T) {
	fiotest.Long(t)
	span := func(args ...string) time.Duration {
		o := replayed(t, append(args, "--read_iolog="+trace(t, someTrace))...)
		ops := o.recs["a"].ops
		return ops[3].at.Sub(ops[0].at)
	}
	for _, c := range []struct {
		arg         string
		least, most time.Duration
	}{
		{"--replay_time_scale=100", 115 * time.Millisecond, 200 * time.Millisecond},
		{"--replay_time_scale=200", 55 * time.Millisecond, 110 * time.Millisecond},
		{"--replay_time_scale=50", 235 * time.Millisecond, 400 * time.Millisecond},
		{"--replay_no_stall=1", 0, 50 * time.Millisecond},
	} {
		quietly(t, func() error {
			if d := span(c.arg); d < c.least || d > c.most {
				return fmt.Errorf("%s: %v, want %v to %v", c.arg, d, c.least, c.most)
			}
			return nil
		})
	}
}

func TestReplayOfVersion2Waits(t *testing.T) {
	o := replayed(t, "--read_iolog="+trace(t, "fio version 2 iolog\n"+recA+" add\n"+recA+" open\n"+recA+" read 0 4096\n"+recA+" wait 50000 0\n"+
		recA+" wait 99 0\n"+recA+" datasync 0 0\n"+recA+" write 4096 4096\n"))
	ops := o.recs["a"].ops
	if d := ops[1].at.Sub(ops[0].at); len(ops) != 3 || d < 48*time.Millisecond {
		t.Errorf("%d requests, %v between them", len(ops), d)
	}
}

func TestReplayOptions(t *testing.T) {
	name := trace(t, someTrace)
	o := replayed(t, "--read_iolog="+name, "--replay_no_stall=1", "--replay_redirect="+recA)
	if len(o.heard("a")) != 5 || o.recs["b"] != nil {
		t.Errorf("redirected: %v", o.heard("a"))
	}
	o = replayed(t, "--read_iolog="+name, "--replay_no_stall=1", "--replay_skip=trim,sync,write")
	if got := o.heard("a"); len(got) != 2 {
		t.Errorf("skipped: %v", got)
	}
	o = replayed(t, "--read_iolog="+name, "--replay_no_stall=1", "--replay_scale=4", "--replay_align=4096", "--iodepth=1")
	if got := o.heard("a"); !slices.Equal(got, []string{"read 0+4096", "discard 16384+8192", "flush 0+0", "read 4096+512"}) {
		t.Errorf("scaled and aligned: %v", got)
	}
	o = replayed(t, "--read_iolog="+name, "--replay_no_stall=1", "--loops=3")
	if n := len(o.heard("a")); n != 12 {
		t.Errorf("three loops: %d requests", n)
	}
	second := trace(t, "fio version 2 iolog\n"+recB+" add\n"+recB+" read 0 4096\n")
	o = replayed(t, "--read_iolog="+name+":"+second, "--replay_no_stall=1", "--numjobs=2", "--replay_skip=write")
	if a, b := o.heard("a"), o.heard("b"); len(a) != 4 || !slices.Equal(b, []string{"read 0+4096"}) {
		t.Errorf("two traces: %v and %v", a, b)
	}
}

func TestReplayNamesBadLines(t *testing.T) {
	o := runArgs(t, nil, "--name=r", "--read_iolog="+trace(t, "fio version 2 iolog\n"+recA+" add\n"+recA+" read 0 zero\n"))
	if !errors.Is(o.err, iolog.ErrFormat) {
		t.Errorf("%v", o.err)
	}
}

package player

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/trace"
)

func disk(t *testing.T, size int64) (*enginetest.Disk, *engine.Ref) {
	d, ref := enginetest.DiskConfig{Size: size, Discard: true, Zero: true, FUA: true}.Open(t)
	t.Cleanup(func() { ref.Close() })
	return d, ref
}

func sample() []trace.Entry {
	var list []trace.Entry
	for i := range 500 {
		e := trace.Entry{Op: trace.Op(i % 5), Off: int64(i%100) * 4096, Len: 4096, At: int64(i) * 100_000}
		if e.Op == trace.Flush {
			e.Off, e.Len = 0, 0
		}
		list = append(list, e)
	}
	return list
}

// TestPlay: everything is done once, at the speed that was asked for, and not before it is due.
func TestPlay(t *testing.T) {
	list := sample()
	for _, c := range []struct {
		speed float64
		least time.Duration
	}{{0, 0}, {1, 49_900 * time.Microsecond}, {2, 24_950 * time.Microsecond}} {
		d, ref := disk(t, 1<<20)
		res, err := Play(t.Context(), ref, list, Config{Speed: c.speed, Depth: 8})
		if err != nil {
			t.Fatal(err)
		}
		for op := range res.Ops {
			if res.Ops[op].Count != 100 {
				t.Errorf("%d of operation %d, want 100", res.Ops[op].Count, op)
			}
		}
		if res.Errors != 0 || d.Flushes() < 100 || d.Discards() < 100 || d.Zeroings() < 100 || engine.IsZero(d.Bytes()[4096:8192]) {
			t.Errorf("errors %d (%v), %d flushes, %d discards, %d zeroings", res.Errors, res.First, d.Flushes(), d.Discards(), d.Zeroings())
		}
		if res.Elapsed < c.least || res.Traced != c.least {
			t.Errorf("speed %v: %v for %v, want %v", c.speed, res.Elapsed, res.Traced, c.least)
		}
		if want := uint64(500); c.speed > 0 && res.Late.Count() != want {
			t.Errorf("%d timing errors", res.Late.Count())
		}
	}
}

// TestEnds: a trace that does not fit is refused, or wrapped; a context that ends stops the play.
func TestEnds(t *testing.T) {
	_, ref := disk(t, 64<<10)
	if _, err := Play(t.Context(), ref, sample(), Config{}); err == nil || !strings.Contains(err.Error(), "reaches to") {
		t.Fatal(err)
	}
	res, err := Play(t.Context(), ref, sample(), Config{Wrap: true})
	if err != nil || res.Errors != 0 || res.Ops[trace.Write].Bytes != 100*4096 {
		t.Fatalf("%v, %d errors (%v)", err, res.Errors, res.First)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err = Play(over, ref, sample(), Config{Wrap: true, Speed: 0.001}); err == nil || res.Ops[trace.Read].Count > 1 {
		t.Fatalf("%v", err)
	}
	if res, err = Play(t.Context(), ref, nil, Config{}); err != nil || res.Elapsed != 0 {
		t.Fatal(err)
	}
}

// TestIolog: a trace that is written as an iolog and read again is the same, to the microsecond; version 2 has waits.
func TestIolog(t *testing.T) {
	list := sample()
	var out bytes.Buffer
	if err := WriteIolog(&out, list, []string{"a file"}); err != nil {
		t.Fatal(err)
	}
	got, names, err := Load(bytes.NewReader(out.Bytes()))
	if err != nil || !reflect.DeepEqual(names, []string{"a_file"}) {
		t.Fatalf("%q, %v", names, err)
	}
	for i := range list {
		if list[i].Op == trace.Zero {
			list[i].Op = trace.Write
		}
	}
	if !reflect.DeepEqual(got, list) {
		t.Fatalf("%d entries, %d wanted; first %+v", len(got), len(list), got[0])
	}
	got, _, err = Load(strings.NewReader("fio version 2 iolog\nf add\nf open\nf read 0 512\nf wait 1500 0\nf write 512 512\nf close\n"))
	want := []trace.Entry{{Op: trace.Read, Len: 512}, {Op: trace.Write, Off: 512, Len: 512, At: 1_500_000}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

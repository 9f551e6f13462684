package log_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
	"github.com/blkbench/blkbench/engine/filter/log"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/engine/trace"
	"github.com/blkbench/blkbench/protocols/mem"
)

func over(t testing.TB, child *engine.Ref, name string) engine.Node {
	n, err := log.New(child, log.NewRecorder(name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSuites(t *testing.T) {
	filtertest.Suites(t, filtertest.Filter{Over: func(t testing.TB, child *engine.Ref) engine.Node {
		return over(t, child, filepath.Join(t.TempDir(), "trace"))
	}})
}

func load(t *testing.T, name string) ([]trace.Entry, []string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, names, err := trace.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return list, names
}

// TestRecords: operation, place, flags, time and result of each request are in the trace.
func TestRecords(t *testing.T) {
	clock := enginetest.NewClock(t)
	name := filepath.Join(t.TempDir(), "trace")
	disk, child := enginetest.DiskConfig{Size: 1 << 20, Discard: true, Zero: true, FUA: true}.Open(t)
	ref := engine.NewRef(over(t, child, name), engine.OpenFlags{Write: true, Discard: true})
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		clock.Advance(1000)
	}
	p := make([]byte, 4096)
	step(ref.WriteAt(t.Context(), p, 8192, engine.FUA))
	step(ref.ReadAt(t.Context(), p[:512], 100))
	step(ref.WriteZeroes(t.Context(), 4096, 4096, engine.MayUnmap))
	step(ref.Discard(t.Context(), 0, 65536))
	disk.FailFlush(unix.ENOSPC)
	if ref.Flush(t.Context()) == nil {
		t.Fatal("no error")
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	list, names := load(t, name)
	want := []trace.Entry{
		{Op: trace.Write, Flags: uint8(engine.FUA), Off: 8192, Len: 4096, At: 0},
		{Op: trace.Read, Off: 100, Len: 512, At: 1000},
		{Op: trace.Zero, Flags: uint8(engine.MayUnmap), Off: 4096, Len: 4096, At: 2000},
		{Op: trace.Discard, Off: 0, Len: 65536, At: 3000},
		{Op: trace.Flush, At: 4000, Errno: uint16(unix.ENOSPC)},
	}
	if len(list) != len(want) || len(names) != 1 || names[0] != "toy" {
		t.Fatalf("%+v of %q", list, names)
	}
	for i := range want {
		if list[i] != want[i] {
			t.Errorf("%+v, want %+v", list[i], want[i])
		}
	}
}

// TestShared: nodes that name one file have numbers of their own in it.
func TestShared(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trace")
	e := &engine.Env{Registry: engine.NewRegistry(mem.Driver(), log.Driver())}
	var refs []*engine.Ref
	for range 2 {
		tree, err := opts.ParseImageOpts("driver=log,trace=" + name + ",file.driver=mem")
		if err != nil {
			t.Fatal(err)
		}
		ref, err := e.Open(t.Context(), tree, engine.OpenFlags{})
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	for i, ref := range refs {
		if err := ref.ReadAt(t.Context(), make([]byte, 512), int64(i)*512); err != nil {
			t.Fatal(err)
		}
		if err := ref.Close(); err != nil {
			t.Fatal(err)
		}
	}
	list, names := load(t, name)
	if len(list) != 2 || len(names) != 2 || list[0].Node != 0 || list[1].Node != 1 {
		t.Fatalf("%+v of %q", list, names)
	}
}

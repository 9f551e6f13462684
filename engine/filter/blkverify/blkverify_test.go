package blkverify_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/blkverify"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

func TestSuites(t *testing.T) {
	filtertest.Suites(t, filtertest.Filter{Opaque: true, Over: func(t testing.TB, child *engine.Ref) engine.Node {
		i := child.Info()
		_, copied := enginetest.DiskConfig{Size: child.Size(), Growable: i.Caps.Has(engine.CapGrowable), FUA: true}.Open(t)
		return blkverify.New(copied, child)
	}})
}

// TestDifference: a byte that differs is found with its place, and so is a child that fails alone.
func TestDifference(t *testing.T) {
	one, a := enginetest.DiskConfig{Size: 1 << 20}.Open(t)
	_, b := enginetest.DiskConfig{Size: 1 << 20}.Open(t)
	one.Fill([]byte{1}, 70_000)
	ref := engine.NewRef(blkverify.New(a, b), engine.OpenFlags{Write: true})
	defer ref.Close()
	p := make([]byte, 4096)
	if err := ref.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	err := ref.ReadAt(t.Context(), p, 69_632)
	if !errors.Is(err, engine.ErrCorrupt) || !strings.Contains(err.Error(), "contents mismatch at offset 70000") {
		t.Fatal(err)
	}
	if err := ref.WriteAt(t.Context(), p, 69_632, 0); err != nil {
		t.Fatal(err)
	}
	if err := ref.ReadAt(t.Context(), p, 69_632); err != nil {
		t.Fatal(err)
	}
	one.FailFlush(unix.EIO)
	if err := ref.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "return value mismatch") {
		t.Fatal(err)
	}
}

// TestName: blkverify:RAW:TEST is probed over, as a protocol is.
func TestName(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, f), make([]byte, 65536), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e := &engine.Env{Registry: engine.NewRegistry(raw.Driver(), file.Driver(), blkverify.Driver())}
	ref, err := e.OpenName(t.Context(), "blkverify:"+filepath.Join(dir, "a")+":"+filepath.Join(dir, "b"), "", engine.OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := ref.WriteAt(t.Context(), []byte("both"), 1000, 0); err != nil {
		t.Fatal(err)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"a", "b"} {
		if b, err := os.ReadFile(filepath.Join(dir, f)); err != nil || string(b[1000:1004]) != "both" {
			t.Fatalf("%s: %v", f, err)
		}
	}
}

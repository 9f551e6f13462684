package qcow2_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

// TestTemporaryOverlay: with snapshot=on writes go to an image without a name; the file below stays as it is, whatever its format.
func TestTemporaryOverlay(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	path := filepath.Join(dir, "base")
	old := bytes.Repeat([]byte{1}, 100_000)
	if err := os.WriteFile(path, old, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{
		"driver=raw,snapshot=on,file.driver=file,file.filename=" + path,
		"driver=raw,file.driver=file,file.filename=" + path,
	} {
		e := &engine.Env{Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver())}
		tree, err := opts.ParseImageOpts(options)
		if err != nil {
			t.Fatal(err)
		}
		flags := engine.OpenFlags{Write: true, Snapshot: !tree.Has("snapshot")}
		ref, err := e.Open(t.Context(), tree, flags)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(old))
		if err := ref.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, old) {
			t.Fatalf("what is below: %v", err)
		}
		if err := ref.WriteAt(t.Context(), []byte("new"), 70_000, engine.FUA); err != nil {
			t.Fatal(err)
		}
		if err := ref.ReadAt(t.Context(), got, 0); err != nil || string(got[70_000:70_003]) != "new" || got[69_999] != 1 || got[70_003] != 1 {
			t.Fatalf("what was written: %v, % x", err, got[69_999:70_004])
		}
		left, err := os.ReadDir(tmp)
		if err != nil || len(left) != 0 {
			t.Fatalf("in TMPDIR while it is open: %v, %v", left, err)
		}
		if err := ref.Close(); err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, old) {
			t.Fatalf("the file has changed: %v", err)
		}
	}
}

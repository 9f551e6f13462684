package qcow2_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

var ctx = context.Background()

func env(refs engine.References) *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver()), References: refs}
}

func make1(t *testing.T, e *engine.Env, format, path, options string, size int64) error {
	t.Helper()
	target, err := opts.ParseName(path)
	if err != nil {
		t.Fatal(err)
	}
	co := opts.NewTree()
	if options != "" {
		if co, err = opts.ParseKeyval(options); err != nil {
			t.Fatal(err)
		}
	}
	return e.Create(ctx, format, target, path, size, co, engine.OpenFlags{})
}

func img(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestOptionStructs(t *testing.T) {
	for _, v := range []any{&qcow2.OpenOptions{}, &qcow2.CreateOptions{}, &qcow2.AmendOptions{}, &raw.OpenOptions{}, &raw.CreateOptions{}} {
		if err := opts.Check(v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}

// TestPeerRegistry makes a chain with a shorter raw base by the registry, under the policies for references.
func TestPeerRegistry(t *testing.T) {
	enginetest.Require(t, "qemu-img")
	dir := t.TempDir()
	base, mid, top := filepath.Join(dir, "base.raw"), filepath.Join(dir, "mid.qcow2"), filepath.Join(dir, "top.qcow2")
	e := env(engine.ReferencesAllow)
	for _, err := range []error{
		os.WriteFile(base, bytes.Repeat([]byte{1}, 100<<10), 0o644),
		make1(t, e, "qcow2", mid, "backing_file=base.raw,backing_fmt=raw,cluster_size=4k", 200<<10),
		make1(t, e, "qcow2", top, "backing_file=mid.qcow2,backing_fmt=qcow2,extended_l2=on", 300<<10),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := e.OpenName(ctx, mid, "qcow2", engine.OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.WriteAt(ctx, bytes.Repeat([]byte{2}, 60<<10), 80<<10, 0), r.Close()); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 300<<10)
	copy(want, bytes.Repeat([]byte{1}, 100<<10))
	copy(want[80<<10:], bytes.Repeat([]byte{2}, 60<<10))
	if r, err = e.OpenName(ctx, top, "", engine.OpenFlags{Write: true}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, r.Size())
	if err := r.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("through the chain: %v, equal %t", err, bytes.Equal(got, want))
	}
	copy(want[99<<10:], bytes.Repeat([]byte{3}, 1000))
	if err := errors.Join(r.WriteAt(ctx, want[99<<10:99<<10+1000], 99<<10, 0), r.Close()); err != nil {
		t.Fatal(err)
	}
	img(t, "check", "-q", top)
	model := filepath.Join(dir, "model.raw")
	if err := os.WriteFile(model, want, 0o644); err != nil {
		t.Fatal(err)
	}
	img(t, "compare", "-F", "raw", top, model)

	_, err = env(engine.ReferencesNone).OpenName(ctx, top, "qcow2", engine.OpenFlags{})
	if !errors.Is(err, engine.ErrPermission) || !strings.Contains(err.Error(), "mid.qcow2") {
		t.Fatalf("without references: %v", err)
	}
	if r, err = env(engine.ReferencesFolder).OpenName(ctx, top, "qcow2", engine.OpenFlags{}); err != nil {
		t.Fatalf("with references in the folder: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = env(engine.ReferencesNone).OpenName(ctx, top, "qcow2", engine.OpenFlags{NoBacking: true}); err != nil {
		t.Fatalf("with the backing file left closed: %v", err)
	}
	d := r.Info().Detail.(*qcow2.Detail)
	if d.BackingFile != "mid.qcow2" || d.BackingFormat != "qcow2" || !*d.ExtendedL2 {
		t.Fatalf("%+v", d)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, err = env(engine.ReferencesNone).OpenName(ctx, `json:{"driver":"qcow2","file":{"driver":"file","filename":"`+top+`"},"backing":null}`, "", engine.OpenFlags{})
	if err != nil {
		t.Fatalf("backing: null: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPeerDataFile makes an image with an external data file by the registry.
func TestPeerDataFile(t *testing.T) {
	enginetest.Require(t, "qemu-img")
	dir := t.TempDir()
	path, data := filepath.Join(dir, "a.qcow2"), filepath.Join(dir, "data")
	e := env(engine.ReferencesAllow)
	if err := make1(t, e, "qcow2", path, "data_file="+data+",data_file_raw=on", 1<<20); err != nil {
		t.Fatal(err)
	}
	r, err := e.OpenName(ctx, path, "qcow2", engine.OpenFlags{Write: true, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20)
	copy(want[12345:], bytes.Repeat([]byte{5}, 300000))
	clear(want[100000:150000])
	if err := errors.Join(r.WriteAt(ctx, bytes.Repeat([]byte{5}, 300000), 12345, 0), r.WriteZeroes(ctx, 100000, 50000, engine.MayUnmap), r.Close()); err != nil {
		t.Fatal(err)
	}
	img(t, "check", "-q", path)
	img(t, "compare", "-F", "raw", path, data)
	got, err := os.ReadFile(data)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the data file: %v, equal %t", err, bytes.Equal(got, want))
	}
}

// TestRefusals: what is not there is refused by name.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	e := env(engine.ReferencesAllow)
	for options, want := range map[string]string{
		"encryption=on":                         "aes",
		"encrypt.format=luks":                   "luks",
		"compat=0.10,refcount_bits=1":           "compatibility level",
		"compat=0.10,lazy_refcounts=on":         "compatibility level",
		"cluster_size=3k":                       "power of two",
		"cluster_size=4M":                       "512 and 2048k",
		"extended_l2=on,cluster_size=4k":        "16384",
		"backing_fmt=raw":                       "without backing file",
		"backing_file=x,preallocation=metadata": "extended_l2",
		"data_file_raw=on":                      "requires data-file",
		"cluster_sise=4k":                       "cluster_size",
	} {
		err := make1(t, e, "qcow2", filepath.Join(dir, "x"), options, 1<<20)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", options, err, want)
		}
	}
}

// TestReferenceIsOpenedWhereItIsChecked swaps the name of a backing file for a link to somewhere else, between the probing of its format and
// its opening for good.
func TestReferenceIsOpenedWhereItIsChecked(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	secret, base, top := filepath.Join(outside, "secret"), filepath.Join(dir, "base"), filepath.Join(dir, "top.qcow2")
	all := env(engine.ReferencesAllow)
	if err := errors.Join(
		os.WriteFile(secret, bytes.Repeat([]byte("secret "), 10000)[:64<<10], 0o644),
		os.WriteFile(base, bytes.Repeat([]byte("public "), 10000)[:64<<10], 0o644),
		make1(t, all, "qcow2", top, "backing_file=base", 64<<10),
	); err != nil {
		t.Fatal(err)
	}
	swapped := 0
	swap := engine.Define[engine.NoOptions, engine.NoOptions](engine.Driver{
		Name: "swap", Kind: engine.KindFormat,
		Probe: func(head []byte, _ string) int {
			if bytes.HasPrefix(head, []byte("public")) {
				swapped++
				if err := errors.Join(os.Remove(base), os.Symlink(secret, base)); err != nil {
					t.Error(err)
				}
			}
			return 0
		},
	}, func(context.Context, *engine.OpenRequest, *engine.NoOptions) (engine.Node, error) {
		return nil, errors.New("never opened")
	}, nil)
	e := &engine.Env{Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver(), swap), References: engine.ReferencesFolder}
	r, err := e.OpenName(ctx, top, "qcow2", engine.OpenFlags{})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if err := errors.Join(r.ReadAt(ctx, got, 0), r.Close()); err != nil {
		t.Fatal(err)
	}
	if swapped != 1 || string(got) != "public " {
		t.Errorf("swapped %d times, read %q", swapped, got)
	}
	// The next one finds the link, which leads out of the folder.
	if _, err := e.OpenName(ctx, top, "qcow2", engine.OpenFlags{}); !errors.Is(err, engine.ErrPermission) {
		t.Errorf("a link out of the folder: %v", err)
	}
}

// TestReferencesInFolder tries what a hostile image may name.
func TestReferencesInFolder(t *testing.T) {
	dir := t.TempDir()
	e, folder := env(engine.ReferencesAllow), env(engine.ReferencesFolder)
	sub := filepath.Join(dir, "sub")
	if err := errors.Join(
		os.Mkdir(sub, 0o755), os.WriteFile(filepath.Join(dir, "outside"), make([]byte, 4096), 0o644),
		os.WriteFile(filepath.Join(sub, "inside"), make([]byte, 4096), 0o644), os.Mkdir(filepath.Join(sub, "folder"), 0o755),
		os.Symlink("inside", filepath.Join(sub, "link")), os.Symlink("/dev/zero", filepath.Join(sub, "zero")),
		unix.Mkfifo(filepath.Join(sub, "pipe"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	for name, allowed := range map[string]bool{
		"inside": true, "link": true, filepath.Join(sub, "inside"): true, "./folder/../inside": true,
		"../outside": false, filepath.Join(dir, "outside"): false, "/etc/passwd": false, "zero": false, "pipe": false, "folder": false,
		"/proc/self/fd/0": false, "json:{\"driver\":\"file\",\"filename\":\"inside\"}": false, "file:inside": false, "nbd://localhost/": false,
	} {
		top := filepath.Join(sub, "top.qcow2")
		if err := make1(t, e, "qcow2", top, "", 4096); err != nil {
			t.Fatal(err)
		}
		r, err := e.OpenName(ctx, top, "qcow2", engine.OpenFlags{Write: true, NoBacking: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Node().(engine.Backed).ChangeBacking(ctx, name, "raw"), r.Close()); err != nil {
			t.Fatal(err)
		}
		r, err = folder.OpenName(ctx, top, "qcow2", engine.OpenFlags{})
		if allowed != (err == nil) || err != nil && !errors.Is(err, engine.ErrPermission) {
			t.Errorf("%s: %v, allowed %t", name, err, allowed)
		}
		if err == nil {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

func makeImage(t *testing.T, path string, size int64, options string, allow ...string) error {
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
	return newEnv(allow...).Create(ctx, "file", target, path, size, co, engine.OpenFlags{})
}

func TestCreate(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		const size = 1 << 20
		for options, allocated := range map[string]bool{
			"": false, "preallocation=off": false, "preallocation=falloc": true, "preallocation=full": true,
			"nocow=on": false, "extent_size_hint=1M": false,
		} {
			path, _ := makeFile(t, t.TempDir(), 2*size) // what was there goes
			if err := makeImage(t, path, size, options); err != nil {
				t.Fatalf("%q: %v", options, err)
			}
			got, err := os.ReadFile(path)
			if err != nil || len(got) != size || !engine.IsZero(got) {
				t.Errorf("%q: %d bytes, error %v, want %d zeroes", options, len(got), err, size)
			}
			if n := blocksOf(t, path); (n >= size) != allocated {
				t.Errorf("%q: %d bytes are allocated", options, n)
			}
		}
		if err := makeImage(t, filepath.Join(dir, "absent", "x"), size, ""); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("in a folder that is not there: %v", err)
		}
		if err := makeImage(t, filepath.Join(dir, "x"), size, "preallocation=metadata"); err == nil {
			t.Error("preallocation=metadata is taken")
		}
	})
}

func TestCreateLeavesAFileInUseAlone(t *testing.T) {
	path, content := makeFile(t, t.TempDir(), 4096)
	ref := mustOpen(t, path, rw())
	if err := makeImage(t, path, 1<<20, ""); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("%v, want ErrLocked", err)
	}
	if ref.Size() != int64(len(content)) {
		t.Error("the file in use has changed")
	}
	if st, err := os.Stat(path); err != nil || st.Size() != int64(len(content)) {
		t.Errorf("the file in use has changed: %v, %v", st, err)
	}
}

func TestCreateOnADeviceChecksItsSize(t *testing.T) {
	dev := loop(t, 1<<20)
	if err := makeImage(t, dev, 1<<20, ""); !errors.Is(err, engine.ErrConsent) {
		t.Errorf("without consent: %v", err)
	}
	if err := makeImage(t, dev, 1<<20, "", dev); err != nil {
		t.Error(err)
	}
	if err := makeImage(t, dev, 2<<20, "", dev); !errors.Is(err, engine.ErrNoSpace) {
		t.Errorf("an image that is too large: %v, want ErrNoSpace", err)
	}
}

func TestOptionsOfTheFileDriver(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	for options, want := range map[string]string{
		`,"aio":"native"`:                        "",
		`,"aio":"io_uring","aio-max-batch":"32"`: "",
		`,"aio":"posix"`:                         "posix",
		`,"locking":"maybe"`:                     "maybe",
		`,"lokcing":"on"`:                        "locking",
		`,"cache":{"direct":true}`:               "",
	} {
		ref, err := openWith(t, path, options, engine.OpenFlags{})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", options, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want something about %s", options, err, want)
		}
		if strings.Contains(options, "native") && err == nil && len(ref.Info().Notes) != 1 {
			t.Errorf("notes %q, want one about native", ref.Info().Notes)
		}
	}
}

// TestAllocatedSizeKnowsHoles: what was written counts, and not the hole before it.
func TestAllocatedSizeKnowsHoles(t *testing.T) {
	ref := fresh(t, t.TempDir(), 64<<20, rw())
	defer ref.Close()
	before, err := ref.AllocatedSize(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ref.WriteAt(ctx, bytes.Repeat([]byte{1}, 1<<20), 60<<20, 0), ref.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	after, err := ref.AllocatedSize(ctx)
	if err != nil || after-before < 1<<20 || after-before > 2<<20 {
		t.Errorf("%d bytes of storage, then %d with 1 MiB written (%v)", before, after, err)
	}
	if want := blocksOf(t, ref.Info().Filename); after != want {
		t.Errorf("%d bytes of storage, stat says %d", after, want)
	}
}

package file

import (
	"os"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// reopen closes a reference and opens what it left.
func reopen(t testing.TB, ref *engine.Ref, flags engine.OpenFlags) *engine.Ref {
	t.Helper()
	path := ref.Node().(*Node).opt.Filename
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	ref, err := newEnv(path).OpenName(ctx, path, "file", flags)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestNodeSuite(t *testing.T) {
	enginetest.Long(t)
	eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
		readOnly := flags
		readOnly.Write = false
		enginetest.Node(t, enginetest.NodeConfig{
			Open: func(t testing.TB, size int64) *engine.Ref {
				f, err := os.CreateTemp(dir, "node") //nolint:usetesting // a name in a folder
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if err := f.Truncate(size); err != nil {
					t.Fatal(err)
				}
				ref, err := newEnv().OpenName(ctx, f.Name(), "file", flags)
				if err != nil {
					t.Fatal(err)
				}
				return ref
			},
			Reopen:     func(t testing.TB, ref *engine.Ref) *engine.Ref { return reopen(t, ref, flags) },
			ReadOnly:   func(t testing.TB, ref *engine.Ref) *engine.Ref { return reopen(t, ref, readOnly) },
			ResizeUnit: 1,
			Writable:   true,
			Growable:   true,
		})
	})
}

func TestNodeSuiteOnADevice(t *testing.T) {
	enginetest.Long(t)
	for name, direct := range map[string]bool{"cached": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			flags := rw()
			flags.Cache.Direct = direct
			readOnly := flags
			readOnly.Write = false
			enginetest.Node(t, enginetest.NodeConfig{
				Open: func(t testing.TB, size int64) *engine.Ref {
					dev := loop(t, size)
					ref, err := newEnv(dev).OpenName(ctx, dev, "file", flags)
					if err != nil {
						t.Fatal(err)
					}
					return ref
				},
				Reopen:   func(t testing.TB, ref *engine.Ref) *engine.Ref { return reopen(t, ref, flags) },
				ReadOnly: func(t testing.TB, ref *engine.Ref) *engine.Ref { return reopen(t, ref, readOnly) },
				SizeUnit: 512,
				Writable: true,
			})
		})
	}
}

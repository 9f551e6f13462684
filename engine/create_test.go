package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/opts"
)

// fileOptions are the create options of a protocol, formatOptions those of a format above it.
type (
	fileOptions struct {
		NoCOW         bool   `opt:"nocow"`
		Hint          int64  `opt:"extent_size_hint" kind:"size"`
		Preallocation string `opt:"preallocation"`
	}
	formatOptions struct {
		NoCOW         bool   `opt:"nocow"`
		Preallocation string `opt:"preallocation"`
		Fail          bool   `opt:"fail"`
	}
)

// TestCreateSharesOptions: the protocol gets what it alone knows and what is about the file; the format what decides its size.
func TestCreateSharesOptions(t *testing.T) {
	var file fileOptions
	var format formatOptions
	removed := 0
	disk := enginetest.DiskConfig{Size: 4096, Growable: true}
	env := &engine.Env{Registry: engine.NewRegistry(
		engine.Define(engine.Driver{
			Name: "file", Kind: engine.KindProtocol,
			Remove: func(context.Context, *opts.Tree) error { removed++; return nil },
		}, func(_ context.Context, r *engine.OpenRequest, _ *struct {
			Filename string `opt:"filename"`
		},
		) (engine.Node, error) {
			_, ref := disk.Open(t)
			return ref.Node(), nil
		}, func(_ context.Context, _ *engine.CreateRequest, o *fileOptions) error { file = *o; return nil }),
		engine.Define(engine.Driver{Name: "fmt", Kind: engine.KindFormat}, func(context.Context, *engine.OpenRequest, *engine.NoOptions) (engine.Node, error) {
			return nil, errors.New("not opened here")
		}, func(_ context.Context, _ *engine.CreateRequest, o *formatOptions) error {
			if format = *o; o.Fail {
				return engine.Errf(engine.ErrOption, "told to fail")
			}
			return nil
		}),
	)}
	create := func(keyval string) error {
		t.Helper()
		file, format = fileOptions{}, formatOptions{}
		co, err := opts.ParseKeyval(keyval)
		if err != nil {
			t.Fatal(err)
		}
		target, err := opts.ParseName("x")
		if err != nil {
			t.Fatal(err)
		}
		return env.Create(t.Context(), "fmt", target, "x", 4096, co, engine.OpenFlags{})
	}
	if err := create("nocow=on,extent_size_hint=1M,preallocation=full"); err != nil {
		t.Fatal(err)
	}
	if want := (fileOptions{NoCOW: true, Hint: 1 << 20}); file != want {
		t.Errorf("the protocol got %+v, want %+v", file, want)
	}
	if want := (formatOptions{NoCOW: true, Preallocation: "full"}); format != want {
		t.Errorf("the format got %+v, want %+v", format, want)
	}
	if removed != 0 {
		t.Error("the file was removed though all went well")
	}
	if err := create("fail=on"); !errors.Is(err, engine.ErrOption) {
		t.Errorf("the format's error is %v", err)
	}
	if removed != 1 {
		t.Errorf("the file was removed %d times after the format failed, want once", removed)
	}
	if err := create("nonsense=1"); !errors.Is(err, engine.ErrOption) || removed != 2 {
		t.Errorf("unknown option: %v, removed %d times", err, removed)
	}
}

package nbd

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
	filedriver "github.com/blkbench/blkbench/protocols/file"
	"github.com/blkbench/blkbench/protocols/mem"
	"github.com/blkbench/blkbench/protocols/nbd/server"
)

// exported serves a node by our own server, which speaks extended headers.
func exported(t testing.TB, ref *engine.Ref) string {
	t.Helper()
	sock := filepath.Join(scratch(t), "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{Default: true})
	if err := s.Add(&server.Export{Name: "disk", Root: ref}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(bg), ref.Close()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, server.ErrClosed) {
			t.Error(err)
		}
	})
	return uri(sock, "disk")
}

// ourMemory is served by goroutines.
func ourMemory(t testing.TB, size int64) string {
	t.Helper()
	return exported(t, engine.NewRef(mem.New(size, true), engine.OpenFlags{Write: true, Discard: true}))
}

// ourFile is served by a poller.
func ourFile(t testing.TB, size int64) string {
	t.Helper()
	name := filepath.Join(scratch(t), "disk")
	file(t, name, size)
	e := &engine.Env{Registry: engine.NewRegistry(filedriver.Driver())}
	ref, err := e.OpenName(bg, name, "file", engine.OpenFlags{Write: true, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	return exported(t, ref)
}

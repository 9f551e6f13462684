package file

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// openWith opens a file with options in QEMU's spelling.
func openWith(t testing.TB, path, options string, flags engine.OpenFlags) (*engine.Ref, error) {
	t.Helper()
	return tryOpen(t, newEnv(), `json:{"driver":"file","filename":"`+path+`"`+options+`}`, flags)
}

func TestTwoWritersExcludeEachOther(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	first, err := openWith(t, path, "", rw())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options string
		flags   engine.OpenFlags
		want    string // of the error; empty for none
	}{
		{"", rw(), `Failed to get "write" lock`},
		{"", engine.OpenFlags{}, `Failed to get shared "write" lock`},
		{"", engine.OpenFlags{ForceShare: true}, ""},
		{`,"locking":"off"`, rw(), ""},
		{`,"locking":"on"`, rw(), `Failed to get "write" lock`},
		{`,"share-rw":true`, rw(), `Failed to get "write" lock`},
	} {
		_, err := openWith(t, path, c.options, c.flags)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q %+v: %v", c.options, c.flags, err)
		case c.want != "" && (!errors.Is(err, engine.ErrLocked) || !strings.HasSuffix(err.Error(), c.want)):
			t.Errorf("%q %+v: %v, want %s", c.options, c.flags, err, c.want)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := openWith(t, path, "", rw())
	if err != nil {
		t.Fatalf("after the first has closed: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadersShare(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	for range 3 {
		if _, err := openWith(t, path, "", engine.OpenFlags{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openWith(t, path, "", rw()); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("a writer beside readers: %v", err)
	}
}

func TestWritersThatShare(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	for range 2 {
		if _, err := openWith(t, path, `,"share-rw":true`, rw()); err != nil {
			t.Fatal(err)
		}
	}
}

// A change of what is declared either succeeds or leaves what was.
func TestLocksChangeAsAWhole(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	open := func() *Node {
		ref, err := openWith(t, path, `,"locking":"off"`, rw())
		if err != nil {
			t.Fatal(err)
		}
		return ref.Node().(*Node)
	}
	a, b := open(), open()
	const reading = engine.PermConsistentRead
	if err := errors.Join(a.Lock(reading, reading|engine.PermWrite), b.Lock(reading, reading)); err != nil {
		t.Fatal(err)
	}
	before := a.locks
	if err := a.Lock(reading|engine.PermWrite, reading); !errors.Is(err, engine.ErrLocked) {
		t.Fatalf("writing beside a reader that does not share it: %v", err)
	}
	if a.locks != before {
		t.Errorf("locks %+v after a failure, want %+v", a.locks, before)
	}
	if err := b.Lock(reading, engine.PermAll); err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(reading|engine.PermWrite, reading); err != nil {
		t.Errorf("after the reader shares: %v", err)
	}
	if err := b.Lock(reading|engine.PermWrite, engine.PermAll); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
}

// peer is a QEMU process that holds a file until it is told to stop.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

func holdByQEMU(t *testing.T, args ...string) *peer {
	t.Helper()
	p := &peer{cmd: exec.Command(program(t, "qemu-io"), args...)}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t) })
	// An answer to a command says that the file is open.
	if _, err := io.WriteString(p.in, "length\n"); err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "iB") || strings.Contains(s.Text(), "bytes") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return p
		}
	}
	t.Fatal("qemu-io ended")
	return nil
}

func (p *peer) stop(t *testing.T) {
	t.Helper()
	if p.in == nil {
		return
	}
	_, _ = io.WriteString(p.in, "quit\n")
	p.in.Close()
	p.in = nil
	_ = p.cmd.Wait()
}

func TestPeerQEMUSeesOurLocksAndWeItsOwn(t *testing.T) {
	enginetest.Long(t)
	path := filepath.Join(t.TempDir(), "image") // qcow2, since QEMU's raw driver shares everything
	mustRun(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
	program(t, "qemu-io")
	ours := func(flags engine.OpenFlags) error {
		ref, err := newEnv().OpenName(context.Background(), path, "file", flags)
		if err == nil {
			err = ref.Close()
		}
		return err
	}
	read := engine.OpenFlags{}
	force := engine.OpenFlags{ForceShare: true}

	writer := holdByQEMU(t, "-f", "qcow2", path)
	for what, c := range map[string]struct {
		flags  engine.OpenFlags
		locked bool
	}{"write": {rw(), true}, "read": {read, true}, "force-share": {force, false}} {
		if err := ours(c.flags); errors.Is(err, engine.ErrLocked) != c.locked || (!c.locked && err != nil) {
			t.Errorf("%s beside a writing qemu-io: %v", what, err)
		}
	}
	writer.stop(t)

	reader := holdByQEMU(t, "-r", "-f", "qcow2", path)
	if err := ours(rw()); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("write beside a reading qemu-io: %v", err)
	}
	if err := ours(read); err != nil {
		t.Errorf("read beside a reading qemu-io: %v", err)
	}
	reader.stop(t)

	theirs := func(args ...string) (string, bool) {
		out, err := run(t, "qemu-io", append(args, "-f", "qcow2", "-c", "read 0 512", path)...)
		return out, err == nil
	}
	ref := mustOpen(t, path, rw())
	if out, ok := theirs(); ok || !strings.Contains(out, `Failed to get "write" lock`) {
		t.Errorf("a writing qemu-io beside our writer: %s", out)
	}
	if out, ok := theirs("-r"); ok || !strings.Contains(out, `Failed to get shared "write" lock`) {
		t.Errorf("a reading qemu-io beside our writer: %s", out)
	}
	if out, ok := theirs("-r", "-U"); !ok {
		t.Errorf("a force-sharing qemu-io beside our writer: %s", out)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, read)
	if out, ok := theirs(); ok {
		t.Errorf("a writing qemu-io beside our reader: %s", out)
	}
	if out, ok := theirs("-r"); !ok {
		t.Errorf("a reading qemu-io beside our reader: %s", out)
	}
}

// Where the kernel has no locks of the open file description, locking=on falls back to those of the process and says so, and auto has none.
func TestPeerLocksOfTheProcess(t *testing.T) {
	old := hasOFD
	hasOFD = func() bool { return false }
	t.Cleanup(func() { hasOFD = old })
	path, _ := makeFile(t, t.TempDir(), 1<<20)
	ref, err := openWith(t, path, `,"locking":"on"`, rw())
	if err != nil {
		t.Fatal(err)
	}
	if notes := ref.Info().Notes; len(notes) != 1 || notes[0] != posixNote {
		t.Errorf("notes %q", notes)
	}
	program(t, "qemu-io")
	out, err := run(t, "qemu-io", "-f", "raw", "-c", "write 0 512", path)
	if err == nil || !strings.Contains(out, `Failed to get "write" lock`) {
		t.Errorf("a writing qemu-io beside our locks: %s", out)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	if ref, err = openWith(t, path, "", rw()); err != nil {
		t.Fatal(err)
	}
	if n := ref.Node().(*Node); n.locks.perm != 0 || len(n.info.Notes) != 0 {
		t.Errorf("under auto: %+v, notes %q", n.locks, n.info.Notes)
	}
	if out, err := run(t, "qemu-io", "-f", "raw", "-c", "write 0 512", path); err != nil {
		t.Errorf("a writing qemu-io beside no locks: %s", out)
	}
}

// While a graph is exchanged nobody else gets at the file.
func TestExchangeKeepsLocks(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	env := newEnv()
	open := func(e *engine.Env, flags engine.OpenFlags) (*engine.Ref, error) {
		return e.OpenName(t.Context(), path, "file", flags)
	}
	ref, err := open(env, rw())
	if err != nil {
		t.Fatal(err)
	}
	between := func() {
		if _, err := open(newEnv(), rw()); !errors.Is(err, engine.ErrLocked) {
			t.Errorf("a writer in between: %v", err)
		}
	}
	broken := errors.New("broken")
	ref, err = env.Exchange(t.Context(), ref, func() (*engine.Ref, error) { between(); return nil, broken }, func() (*engine.Ref, error) {
		between()
		return open(env, rw())
	})
	if !errors.Is(err, broken) || ref == nil {
		t.Fatalf("%v, %v", ref, err)
	}
	between()
	if ref, err = env.Exchange(t.Context(), ref, func() (*engine.Ref, error) { return open(env, engine.OpenFlags{}) }, nil); err != nil {
		t.Fatal(err)
	}
	reader, err := open(newEnv(), engine.OpenFlags{})
	if err != nil {
		t.Errorf("a reader beside what is only read now: %v", err)
	}
	if err := errors.Join(reader.Close(), ref.Close()); err != nil {
		t.Fatal(err)
	}
	if ref, err = open(newEnv(), rw()); err != nil {
		t.Fatalf("a writer after the end: %v", err)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
}

package blkdebug_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/blkdebug"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

var ctx = context.Background()

func env() *engine.Env {
	return &engine.Env{
		Registry:   engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver(), blkdebug.Driver()),
		References: engine.ReferencesAllow,
	}
}

// script is what both sides do with an image: qemu-io's commands.
var script = []string{
	"write -P 1 0 64k",   // a new cluster in a table that is there
	"flush",              //
	"read 0 4k",          // data
	"write -P 2 1M 512",  // an allocation with edges, of which the backing file has one
	"read 2M 4k",         // from the backing file
	"write -P 3 600M 4k", // a new table
	"flush",              //
	"read 600M 4k",       //
	"write -z 64k 64k",   //
	"flush",              //
}

// makeImages makes a backing file and an overlay in a folder.
func makeImages(t *testing.T, dir string) string {
	t.Helper()
	base, top := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "top.qcow2")
	for _, args := range [][]string{
		{"qemu-img", "create", "-q", "-f", "qcow2", base, "1G"},
		{"qemu-io", "-c", "write -P 9 1M 2M", base},
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top},
		{"qemu-io", "-c", "write -P 8 3M 64k", top},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return top
}

// theirs runs the script by qemu-io and says which commands failed; a failing open is one letter.
func theirs(t *testing.T, image, conf string) string {
	t.Helper()
	args := []string{"-f", "qcow2"}
	for _, c := range script {
		args = append(args, "-c", c)
	}
	args = append(args, "blkdebug:"+conf+":"+image)
	out, _ := exec.CommandContext(t.Context(), "qemu-io", args...).CombinedOutput()
	if strings.Contains(string(out), "can't open") {
		return "open"
	}
	// Writes are followed by a flush of their own (writethrough is qemu-io's default). Every command that moves data says what it moved, or
	// that it failed; a flush says nothing unless it failed.
	var b strings.Builder
	lines := strings.Split(string(out), "\n")
	for _, c := range script {
		if c == "flush" {
			continue
		}
		for len(lines) > 0 && !strings.Contains(lines[0], "bytes at offset") && !strings.HasPrefix(lines[0], "write failed") && !strings.HasPrefix(lines[0], "read failed") {
			lines = lines[1:]
		}
		if len(lines) > 0 && strings.Contains(lines[0], "failed") {
			b.WriteByte('F')
		} else {
			b.WriteByte('.')
		}
		lines = lines[min(1, len(lines)):]
	}
	return b.String()
}

// ours does the same by the driver.
func ours(t *testing.T, image, conf string) string {
	t.Helper()
	ref, err := env().OpenName(ctx, "blkdebug:"+conf+":"+image, "qcow2", engine.OpenFlags{Write: true, Cache: engine.Cache{WriteThrough: true}})
	if err != nil {
		return "open"
	}
	defer ref.Close()
	var b strings.Builder
	for _, c := range script {
		f := strings.Fields(c)
		number := func(i int) int64 {
			n, err := opts.ParseSize(f[len(f)-i])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		var err error
		switch {
		case f[0] == "flush":
			_ = ref.Flush(ctx) // what fails here fails there, but is not said in words that can be told apart
			continue
		case f[0] == "read":
			err = ref.ReadAt(ctx, make([]byte, number(1)), number(2))
		case f[1] == "-z":
			err = ref.WriteZeroes(ctx, number(2), number(1), 0)
		default:
			p := make([]byte, number(1))
			v, _ := strconv.Atoi(f[2])
			for i := range p {
				p[i] = byte(v)
			}
			err = ref.WriteAt(ctx, p, number(2), 0)
		}
		if err != nil {
			b.WriteByte('F')
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// TestPeerEvents: the steps of qcow2 are announced where QEMU announces them: an error that is injected at an event fails the same
// commands of one script in both. (flush_to_disk is left out: QEMU leaves out flushes of what was flushed by the step before.)
func TestPeerEvents(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	if testing.Short() {
		t.Skip("many images")
	}
	dir := t.TempDir()
	top, err := os.ReadFile(makeImages(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	image := func(t *testing.T, name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, top, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, event := range []string{
		"read_aio", "write_aio", "read_backing_aio", "l2_load", "l2_update", "l2_alloc_write", "l1_update", "cow_read", "cow_write", "refblock_load",
		"refblock_update_part", "cluster_alloc", "cluster_free", "reftable_load", "pwritev", "pwritev_done", "none", "flush_to_os",
	} {
		t.Run(event, func(t *testing.T) {
			conf := filepath.Join(t.TempDir(), "conf")
			text := fmt.Sprintf("[inject-error]\nevent = \"%s\"\nerrno = \"5\"\nonce = \"on\"\n", event)
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			want := theirs(t, image(t, event+".theirs"), conf)
			got := ours(t, image(t, event+".ours"), conf)
			if got != want {
				t.Errorf("commands that fail: %s, with qemu-io %s", got, want)
			}
		})
	}
}

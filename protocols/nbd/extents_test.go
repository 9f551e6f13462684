package nbd

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

func tool(t testing.TB, name string, args ...string) {
	t.Helper()
	enginetest.Require(t, name)
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// mapped are all extents of a node, as off+len and letters: Data, Zero.
func mapped(t *testing.T, ref *engine.Ref) string {
	t.Helper()
	var words []string
	for off := int64(0); off < ref.Size(); {
		out, err := ref.Extents(bg, off, ref.Size()-off, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out {
			kind := "-"
			switch {
			case e.Flags&engine.ExtentData != 0:
				kind = "D"
			case e.Flags&engine.ExtentZero != 0:
				kind = "Z"
			}
			if k := len(words) - 1; k >= 0 && strings.HasSuffix(words[k], kind) {
				var n int64
				if _, err := fmt.Sscanf(words[k], "%dk", &n); err != nil {
					t.Fatal(err)
				}
				words[k] = fmt.Sprintf("%dk%s", n+e.Len>>10, kind)
			} else {
				words = append(words, fmt.Sprintf("%dk%s", e.Len>>10, kind))
			}
			off += e.Len
		}
	}
	return strings.Join(words, " ")
}

// TestContexts: extents by each of the metadata contexts of qemu-nbd, in a chain of two layers with a bitmap.
func TestContexts(t *testing.T) {
	dir := scratch(t)
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	tool(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "1M")
	tool(t, "qemu-io", "-f", "qcow2", "-c", "write 0 128k", base)
	tool(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
	tool(t, "qemu-img", "bitmap", "--add", top, "bm0")
	tool(t, "qemu-io", "-f", "qcow2", "-c", "write 64k 64k", "-c", "write -z 256k 64k", "-c", "write 512k 128k", top)
	sock := qemuNBD(t, "-f", "qcow2", "-r", "-A", "-B", "bm0", "--shared=0", top)
	for context, want := range map[string]string{
		"":                      "128kD 384kZ 128kD 384kZ",
		"base:allocation":       "128kD 384kZ 128kD 384kZ",
		"qemu:dirty-bitmap:bm0": "64kD 64k- 128kD 64k- 192kD 128k- 384kD", // dirty: 64k+64k, 256k+64k, 512k+128k
		"qemu:allocation-depth": "64kZ 64k- 128kD 64k- 192kD 128k- 384kD", // depth 2 over 0+64k, 1 where the top has clusters
	} {
		name := "driver=nbd,path=" + sock
		if context != "" {
			name += ",x-dirty-bitmap=" + context
		}
		ref := mustOpen(t, name, false)
		if got := mapped(t, ref); got != want {
			t.Errorf("%q: %s, want %s", context, got, want)
		}
		ref.Close()
	}
	refused(t, "driver=nbd,path="+sock+",x-dirty-bitmap=qemu:dirty-bitmap:nope", false, engine.ErrUnsupported, "no metadata context 'qemu:dirty-bitmap:nope'")
}

// TestDetails: what several servers say of themselves.
func TestDetails(t *testing.T) {
	dir := scratch(t)
	disk := filepath.Join(dir, "disk")
	file(t, disk, 1<<20)
	for _, c := range []struct {
		name, uri, want string
		limits          engine.Limits
	}{
		{"memory", uri(nbdkit(t, "memory", "1M"), ""), "fixed newstyle structured CAN_MULTI_CONN,SEND_CACHE,SEND_DF,SEND_FAST_ZERO,SEND_FLUSH,SEND_FUA,SEND_TRIM,SEND_WRITE_ZEROES base:allocation ''", engine.Limits{
			RequestAlign: 512, MaxTransfer: 32 << 20, MaxDiscard: 1 << 30, MaxZero: 32 << 20,
		}},
		{"no structured replies", uri(nbdkit(t, "--no-sr", "pattern", "1M"), ""), "fixed newstyle simple CAN_MULTI_CONN,READ_ONLY,SEND_CACHE  ''", engine.Limits{
			RequestAlign: 512, MaxTransfer: 32 << 20, MaxDiscard: 1 << 30, MaxZero: 32 << 20,
		}},
		{"qemu-nbd", uri(qemuNBD(t, "-f", "raw", "-x", "d", "-D", "what it is", "--shared=0", disk), "d"), "fixed newstyle structured CAN_MULTI_CONN,SEND_CACHE,SEND_DF,SEND_FAST_ZERO,SEND_FLUSH,SEND_FUA,SEND_TRIM,SEND_WRITE_ZEROES base:allocation 'what it is'", engine.Limits{
			RequestAlign: 1, MaxTransfer: 32 << 20, OptTransfer: 4096, MaxDiscard: 1 << 30, MaxZero: 32 << 20,
		}},
		{"nbd-server", uri(nbdServer(t, 1<<20, ""), "disk"), "fixed newstyle simple CAN_MULTI_CONN,SEND_FLUSH,SEND_FUA,SEND_TRIM,SEND_WRITE_ZEROES  ''", engine.Limits{
			RequestAlign: 512, MaxTransfer: 32 << 20, MaxDiscard: 1 << 30, MaxZero: 32 << 20,
		}},
		{"our own", ourMemory(t, 1<<20), "fixed newstyle extended ", engine.Limits{
			RequestAlign: 1, MaxTransfer: 32 << 20, OptTransfer: 4096, MaxDiscard: 1 << 40, MaxZero: 1 << 40,
		}},
	} {
		ref := mustOpen(t, c.uri, false)
		d := ref.Info().Detail.(Details)
		if got := fmt.Sprintf("%s %s %s %s '%s'", d.Negotiation, d.Replies, strings.Join(d.Flags, ","), d.Context, d.Description); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
		if got := ref.Info().Limits; got != c.limits {
			t.Errorf("%s: %+v\nwant %+v", c.name, got, c.limits)
		}
		if ref.Size() != 1<<20 {
			t.Errorf("%s: %d bytes", c.name, ref.Size())
		}
		ref.Close()
	}
}

// TestList: all exports of a server with what it tells of them.
func TestList(t *testing.T) {
	dir := scratch(t)
	for name, size := range map[string]int64{"one": 1 << 20, "two": 2 << 20} {
		file(t, filepath.Join(dir, name), size)
	}
	at := func(sock string) *Options { return &Options{Server: Server{Type: "unix", Path: sock}} }
	all, err := List(bg, at(nbdkit(t, "file", "dir="+dir)), nil)
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, name := range []string{"one", "two"} {
		l := all[i]
		if l.Name != name || l.Size != uint64(i+1)<<20 || !l.Known || !slices.Equal(l.Contexts, []string{"base:allocation"}) {
			t.Errorf("%+v", l)
		}
	}
	all, err = List(bg, at(qemuNBD(t, "-f", "raw", "-x", "d", "-D", "what it is", filepath.Join(dir, "one"))), nil)
	if err != nil || len(all) != 1 || all[0].Name != "d" || all[0].Description != "what it is" || all[0].Blocks.Max != 32<<20 {
		t.Errorf("%+v, %v", all, err)
	}
	_, err = List(bg, at(nbdkit(t, "-o", "memory", "1M")), nil)
	wantError(t, err, engine.ErrUnsupported, "oldstyle")
}

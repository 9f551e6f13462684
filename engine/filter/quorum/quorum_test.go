package quorum_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
	"github.com/blkbench/blkbench/engine/filter/quorum"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/protocols/mem"
)

func TestSuites(t *testing.T) {
	for _, pattern := range []string{"quorum", "fifo"} {
		t.Run(pattern, func(t *testing.T) {
			filtertest.Suites(t, filtertest.Filter{Opaque: true, NoGrow: true, Over: func(t testing.TB, child *engine.Ref) engine.Node {
				children := []*engine.Ref{child}
				for range 2 {
					_, c := enginetest.DiskConfig{Size: child.Size(), Zero: true, FUA: true, Discard: true}.Open(t)
					children = append(children, c)
				}
				n, err := quorum.New(children, quorum.OpenOptions{Threshold: 2, Pattern: pattern, Rewrite: opts.OptBool{On: true}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}})
		})
	}
}

type copies struct {
	ref   *engine.Ref
	disks []*enginetest.Disk
	warns []string
}

func make3(t *testing.T, o quorum.OpenOptions, n int) *copies {
	c := &copies{}
	var children []*engine.Ref
	for range n {
		d, ref := enginetest.DiskConfig{Size: 1 << 20}.Open(t)
		c.disks, children = append(c.disks, d), append(children, ref)
	}
	node, err := quorum.New(children, o, func(w string) { c.warns = append(c.warns, w) })
	if err != nil {
		t.Fatal(err)
	}
	c.ref = engine.NewRef(node, engine.OpenFlags{Write: true})
	t.Cleanup(func() { c.ref.Close() })
	return c
}

// TestVote: the majority wins, what differs is told and rewritten, and without a majority there is an error.
func TestVote(t *testing.T) {
	ones := bytes.Repeat([]byte{1}, 4096)
	for _, rewrite := range []bool{false, true} {
		c := make3(t, quorum.OpenOptions{Threshold: 2, Pattern: "quorum", Rewrite: opts.OptBool{On: rewrite}}, 3)
		if err := c.ref.WriteAt(t.Context(), ones, 8192, 0); err != nil {
			t.Fatal(err)
		}
		c.disks[0].Fill([]byte{7}, 8200) // the child whose buffer is the caller's
		p := make([]byte, 4096)
		if err := c.ref.ReadAt(t.Context(), p, 8192); err != nil || !bytes.Equal(p, ones) {
			t.Fatalf("%v, % x", err, p[:16])
		}
		if len(c.warns) == 0 || !strings.Contains(c.warns[0], "child 0 differs at 0x2000+4096") {
			t.Fatalf("%q", c.warns)
		}
		if fixed := c.disks[0].Bytes()[8200] == 1; fixed != rewrite {
			t.Fatalf("rewritten: %t, want %t", fixed, rewrite)
		}
		c.disks[0].Fill([]byte{7}, 8200)
		c.disks[1].Fill([]byte{8}, 8200)
		if err := c.ref.ReadAt(t.Context(), p, 8192); !errors.Is(err, engine.ErrIO) {
			t.Fatalf("without a majority: %v", err)
		}
	}
}

// TestThreshold: as many flushes must succeed as the threshold says.
func TestThreshold(t *testing.T) {
	c := make3(t, quorum.OpenOptions{Threshold: 2, Pattern: "quorum"}, 3)
	c.disks[1].FailFlush(unix.EIO)
	if err := c.ref.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.disks[1].FailFlush(unix.ENOSPC)
	c.disks[2].FailFlush(unix.ENOSPC)
	if err := c.ref.Flush(t.Context()); engine.Errno(err) != unix.ENOSPC {
		t.Fatal(err)
	}
}

// TestFIFO: the first child is believed.
func TestFIFO(t *testing.T) {
	c := make3(t, quorum.OpenOptions{Threshold: 1, Pattern: "fifo"}, 2)
	c.disks[0].Fill([]byte{7}, 0)
	p := make([]byte, 512)
	if err := c.ref.ReadAt(t.Context(), p, 0); err != nil || p[0] != 7 {
		t.Fatalf("%v, %d", err, p[0])
	}
}

// TestBlkverify: any difference is an error with its place.
func TestBlkverify(t *testing.T) {
	c := make3(t, quorum.OpenOptions{Threshold: 2, Pattern: "quorum", Blkverify: opts.OptBool{On: true}}, 2)
	c.disks[1].Fill([]byte{7}, 100)
	if err := c.ref.ReadAt(t.Context(), make([]byte, 512), 0); !errors.Is(err, engine.ErrCorrupt) || !strings.Contains(err.Error(), "offset 100") {
		t.Fatal(err)
	}
}

// TestOpen: by options, and what is refused.
func TestOpen(t *testing.T) {
	e := &engine.Env{Registry: engine.NewRegistry(mem.Driver(), quorum.Driver())}
	three := ",children.0.driver=mem,children.1.driver=mem,children.2.driver=mem"
	for options, want := range map[string]string{
		"driver=quorum,vote-threshold=2" + three:                                                        "",
		"driver=quorum,vote-threshold=2,read-pattern=fifo,rewrite-corrupted=on" + three:                 "",
		"driver=quorum,vote-threshold=4" + three:                                                        "threshold may not exceed children count",
		"driver=quorum,vote-threshold=0" + three:                                                        "vote-threshold",
		"driver=quorum,vote-threshold=2,blkverify=on" + three:                                           "exactly two files",
		"driver=quorum,vote-threshold=1":                                                                "Number of provided children must be 1 or more",
		"driver=quorum" + three:                                                                         "vote-threshold",
		"driver=quorum,vote-threshold=1,children.0.driver=mem,children.1.driver=mem,children.1.size=1k": "child 1 has 1024 bytes",
	} {
		tree, err := opts.ParseImageOpts(options)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := e.Open(t.Context(), tree, engine.OpenFlags{Write: true})
		if err == nil {
			var names []string
			for _, c := range ref.Node().(engine.Parent).Children() {
				names = append(names, c.Name)
			}
			if !slices.Equal(names, []string{"children.0", "children.1", "children.2"}) {
				t.Errorf("%s: %v", options, names)
			}
			ref.Close()
		}
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}

package imgcmd

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// hostOffset is where a cluster lies, which is each program's own choice.
var hostOffset = regexp.MustCompile(`, "offset": \d+`)

// history draws command lines that change the image a.q: writes by the real qemu-io in both folders, the rest by either qemu-img.
type history struct {
	rand      *rand.Rand
	size      int64 // KiB
	snapshots []string
	bitmaps   []string
	next      int
}

func (h *history) name(list *[]string) string {
	h.next++
	n := fmt.Sprintf("n%d", h.next)
	*list = append(*list, n)
	return n
}

func (h *history) pick(list []string) string { return list[h.rand.IntN(len(list))] }

func (h *history) drop(list *[]string) string {
	i := h.rand.IntN(len(*list))
	n := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return n
}

func (h *history) step() string {
	off, n := h.rand.Int64N(h.size), 1+h.rand.Int64N(200)
	n = min(n, h.size-off)
	switch k := h.rand.IntN(16); {
	case k < 4:
		return fmt.Sprintf("qemu-io -c 'write -P %d %dk %dk' a.q", 1+h.rand.IntN(255), off, n)
	case k == 4:
		return fmt.Sprintf("qemu-io -c 'write -z %dk %dk' a.q", off, n)
	case k == 5:
		return fmt.Sprintf("qemu-io -c 'discard %dk %dk' a.q", off, n)
	case k == 6:
		h.size = 512 + h.rand.Int64N(3000)
		return fmt.Sprintf("resize --shrink a.q %dk", h.size)
	case k == 7 && len(h.snapshots) < 4:
		return "snapshot -c " + h.name(&h.snapshots) + " a.q"
	case k == 8 && len(h.snapshots) > 0:
		return "snapshot -d " + h.drop(&h.snapshots) + " a.q"
	case k == 9:
		return fmt.Sprintf("amend -o refcount_bits=%d a.q", 4<<h.rand.IntN(5))
	case k == 10:
		return "amend -o lazy_refcounts=" + h.pick([]string{"on", "off"}) + " a.q"
	case k == 11 && len(h.bitmaps) < 4:
		return fmt.Sprintf("bitmap --add -g %dk %s a.q %s", 4<<h.rand.IntN(5), h.pick([]string{"", "--disable"}), h.name(&h.bitmaps))
	case k == 12 && len(h.bitmaps) > 0:
		return "bitmap --remove a.q " + h.drop(&h.bitmaps)
	case k == 13 && len(h.bitmaps) > 1:
		return "bitmap --merge " + h.pick(h.bitmaps) + " a.q " + h.pick(h.bitmaps)
	case k == 14 && len(h.bitmaps) > 0:
		return "bitmap " + h.pick([]string{"--clear", "--enable", "--disable"}) + " a.q " + h.pick(h.bitmaps)
	}
	return "check a.q"
}

func TestHistoriesAgreeWithThePeer(t *testing.T) {
	for seed, options := range []string{"cluster_size=64k", "cluster_size=4k,extended_l2=off", "cluster_size=16k,extended_l2=on", "cluster_size=512"} {
		t.Run(options, func(t *testing.T) {
			p := prepare(t, "create -q -f qcow2 -o "+options+" a.q 2M")
			enginetest.Require(t, "qemu-io")
			h := history{rand: rand.New(rand.NewPCG(uint64(seed), 7)), size: 2048}
			var done []string
			for i := range 40 {
				line := h.step()
				done = append(done, line)
				if rest, ok := strings.CutPrefix(line, "qemu-io "); ok {
					for _, dir := range []string{p.theirs, p.ours} {
						cmd := exec.CommandContext(t.Context(), "qemu-io", words(rest)...)
						cmd.Dir = dir
						if out, err := cmd.CombinedOutput(); err != nil {
							t.Fatalf("%v: %s: %s", err, out, strings.Join(done, "\n"))
						}
					}
				} else if strings.HasPrefix(line, "check") {
					p.sameCode(t, line)
				} else {
					p.same(t, line)
				}
				if i%4 == 3 {
					p.sameImage(t, "a.q")
					theirs, ours := run(t, "peer", p.theirs, "map", "--output=json", "a.q"), run(t, "peer", p.ours, "map", "--output=json", "a.q")
					if a, b := unmapped(theirs.out), unmapped(ours.out); a != b {
						t.Errorf("the peer's map of its image is\n%s\nand of ours\n%s", a, b)
					}
				}
				if t.Failed() {
					t.Fatalf("after\n%s", strings.Join(done, "\n"))
				}
			}
		})
	}
}

// unmapped is a map without places, in which neighbours that differ in nothing else are one.
func unmapped(s string) string {
	var b strings.Builder
	last, start := "", ""
	for line := range strings.Lines(hostOffset.ReplaceAllString(s, "")) {
		at := strings.Index(line, `"depth"`)
		if at < 0 {
			continue
		}
		kind := strings.TrimRight(strings.TrimSpace(line[at:]), ",]")
		if kind == last {
			continue
		}
		start, _, _ = strings.Cut(line, ",")
		last = kind
		fmt.Fprintln(&b, start, kind)
	}
	return b.String()
}

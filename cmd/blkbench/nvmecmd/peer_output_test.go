//go:build amd64

package nvmecmd

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/nvme"
)

// ours runs a sub-command of this package on the canned controller.
func ours(t *testing.T, c *canned, stdin string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	c.seen = nil
	env := &Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Prog: "nvme", Link: true, Version: "test",
		Open: func(context.Context, string) (*Device, error) {
			return &Device{Commands: c, Label: "null", NSID: 1}, nil
		},
	}
	code := Run(t.Context(), env, args)
	return answer{stdout: out.String(), stderr: errs.String(), code: code, commands: c.seen}
}

// fixture is a controller whose structures are made by gen.
func fixture(gen func(seed uint64, n int) []byte, seed uint64) *canned {
	c := &canned{identify: map[uint8][]byte{}, logs: map[uint8][]byte{}, feature: map[uint8][]byte{}}
	for i := range 256 {
		c.identify[uint8(i)] = gen(seed+uint64(i), 4096)
		c.logs[uint8(i)] = gen(seed+1000+uint64(i), 64<<10)
		c.feature[uint8(i)] = gen(seed+2000+uint64(i), 4096)
	}
	id, ns := c.identify[nvme.CNSController], c.identify[nvme.CNSNamespace]
	// The serial number is what the consent asks for.
	copy(id[4:24], "SERIAL 7            ")
	// What nvme-cli 2.3 gets wrong is kept out of the comparison: reserved bits that it masks wrongly, counts that make
	// it read beyond a structure, bits of power states that are reserved.
	id[111] &= 3
	id[253] &= 3
	id[254] &= 0x7e
	id[255] &= 3
	id[257] &= 7
	id[263] &= 31
	id[522], id[523] = id[522]&1, 0
	for i := range 32 {
		for j := 12; j < 16; j++ {
			id[2048+32*i+j] &= 0x1f
		}
	}
	ns[25], ns[82] = ns[25]&31, ns[82]&31
	ns[26] &= 0xf
	smart := c.logs[nvme.LIDSMART]
	clear(smart[37:48])
	clear(smart[53:64])
	for i := range 64 {
		ns[128+4*i+3] &= 3
		ns[128+4*i+2] = 9 + ns[128+4*i+2]&7
	}
	c.identify[nvme.CNSAllocatedNS] = ns
	c.dw0 = uint32(seed * 2654435761)
	return c
}

func zeroes(_ uint64, n int) []byte { return make([]byte, n) }
func ones(_ uint64, n int) []byte   { return bytes.Repeat([]byte{0xff}, n) }

var fixtures = map[string]*canned{
	"zeroes": fixture(zeroes, 0), "ones": fixture(ones, 0), "noise 1": fixture(noise, 1), "noise 2": fixture(noise, 7777),
	"noise 3": fixture(noise, 424242),
}

// What is printed is byte for byte what nvme-cli prints, whatever the controller says.
func TestPeerOutput(t *testing.T) {
	requirePeer(t)
	for name, c := range fixtures {
		t.Run(name, func(t *testing.T) {
			for _, line := range []string{
				"id-ctrl DEV", "id-ctrl DEV -o json", "id-ctrl DEV -H", "id-ctrl DEV -v", "id-ctrl DEV -b", "id-ctrl -o binary DEV",
				"id-ns DEV", "id-ns DEV -o json", "id-ns DEV -H", "id-ns DEV -n 3", "id-ns DEV --force", "id-ns DEV -b",
				"list-ns DEV", "list-ns DEV -o json", "list-ns DEV -a", "list-ns DEV -n 5 -y 0", "list-ns DEV -a -y 2",
				"smart-log DEV", "smart-log DEV -o json", "smart-log DEV -H", "smart-log DEV -n 1 -b",
				"error-log DEV -e 3 -o json", "error-log DEV -e 2 -b",
				"fw-log DEV", "fw-log DEV -o json", "fw-log DEV -b",
				"sanitize-log DEV", "sanitize-log DEV -o json", "sanitize-log DEV -H", "sanitize-log DEV -r",
				"get-log DEV -i 2 -l 48", "get-log DEV -i 0xc0 -l 512 -b", "get-log DEV -i 5 -l 4096 -s 3 -S 9 -U 2 -y 1",
				"admin-passthru DEV -o 6 -l 64 -4 1 -r", "admin-passthru DEV -o 6 -l 32 -4 1 -r -b", "io-passthru DEV -o 2 -l 48 -n 1 -r",
				"read DEV -z 512 -s 9", "read DEV -z 8192 -c 15",
			} {
				samePeer(t, c, "", line)
			}
		})
	}
}

// samePeer runs a line in both programs and compares the standard output, the exit code, and the last command.
func samePeer(t *testing.T, c *canned, stdin, line string) {
	t.Helper()
	args := strings.Fields(line)
	theirs := nvmeCLI(t, c, 1, stdin, args...)
	mine := ours(t, c, stdin, consented(args)...)
	if mine.stdout != theirs.stdout {
		t.Errorf("%s: prints\n%s\n%s", line, firstDifference(mine.stdout, theirs.stdout), mine.stderr)
	}
	if mine.code != theirs.code {
		t.Errorf("%s: exit code %d, want %d\n%s", line, mine.code, theirs.code, mine.stderr)
	}
	if a, b := last(mine.commands), last(theirs.commands); a != b {
		t.Errorf("%s: sends\n%s, want\n%s", line, a, b)
	}
}

// consented adds the serial number where a sub-command asks for it.
func consented(args []string) []string {
	if c := lookup(args[0]); c != nil {
		for _, o := range c.options() {
			if o.Long == "allow-destroy" {
				return append(slices.Clone(args), "--allow-destroy=SERIAL 7")
			}
		}
	}
	return args
}

func last(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return list[len(list)-1]
}

// firstDifference is the first line that differs, with the one before.
func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(la), len(lb)) {
		x, y := "(end)", "(end)"
		if i < len(la) {
			x = la[i]
		}
		if i < len(lb) {
			y = lb[i]
		}
		if x != y {
			before := ""
			if i > 0 {
				before = la[i-1] + "\n"
			}
			return before + "ours:   " + x + "\ntheirs: " + y
		}
	}
	return "the same"
}

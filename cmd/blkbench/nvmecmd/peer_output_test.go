//go:build amd64

package nvmecmd

import (
	"slices"
	"strings"
	"testing"
)

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

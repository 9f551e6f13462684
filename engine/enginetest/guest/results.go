package guest

import (
	"regexp"
	"strings"
	"testing"
)

// guestTest is the outcome of one top-level test in the guest.
type guestTest struct {
	name   string
	state  string // PASS, FAIL, SKIP, or RUN when it did not end
	output []string
}

func (g guestTest) report(t *testing.T) {
	t.Helper()
	text := strings.Join(g.output, "\n")
	switch g.state {
	case "PASS":
		if text != "" {
			t.Log("\n" + text)
		}
	case "SKIP":
		t.Skip("\n" + text)
	default:
		t.Errorf("%s in the guest\n%s", g.state, text)
	}
}

var (
	runLine = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+(\S+)$`)
	endLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
)

// parseTests reads the output of "test -v". The lines of a subtest belong to its top-level test.
func parseTests(output string) []guestTest {
	var tests []guestTest
	index := map[string]int{}
	current := -1
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if m := runLine.FindStringSubmatch(line); m != nil {
			top, _, _ := strings.Cut(m[1], "/")
			i, known := index[top]
			if !known {
				i = len(tests)
				index[top] = i
				tests = append(tests, guestTest{name: top, state: "RUN"})
			}
			current = i
			continue
		}
		if m := endLine.FindStringSubmatch(line); m != nil {
			if i, known := index[m[2]]; known {
				tests[i].state = m[1]
				current = i
			}
		}
		if current >= 0 && line != "PASS" && line != "FAIL" {
			tests[current].output = append(tests[current].output, line)
		}
	}
	return tests
}

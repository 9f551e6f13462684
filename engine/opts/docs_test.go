package opts

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// docCheckers parse one line of a fenced block of docs/options.md by the block's
// word, and return what the line shows after its arrow.
var docCheckers = map[string]func(string) (string, error){
	"name":   docTree(ParseName),
	"opts":   docTree(ParseImageOpts),
	"keyval": docTree(ParseKeyval),
	"object": func(s string) (string, error) {
		o, err := ParseObject(s)
		return o.ID, err
	},
	"size": func(s string) (string, error) {
		n, err := ParseSize(s)
		return strconv.FormatInt(n, 10), err
	},
	"redacted": func(s string) (string, error) { return RedactName(s), nil },
}

func docTree(parse func(string) (*Tree, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		t, err := parse(s)
		if err != nil {
			return "", err
		}
		return strings.TrimPrefix(t.Canonical(), "json:"), nil
	}
}

// TestDocExamples parses every line of every block of docs/options.md.
func TestDocExamples(t *testing.T) {
	b, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	block, config := "", ""
	for n, line := range strings.Split(string(b), "\n") {
		word, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && block == "":
			if block = word; block == "" {
				t.Fatalf("line %d: a block without a word", n+1)
			}
		case fence && block == "config":
			if sections, err := ParseConfig([]byte(config)); err != nil || len(sections) == 0 {
				t.Errorf("line %d: %v", n+1, err)
			}
			fallthrough
		case fence:
			block = ""
		case block == "config":
			config += line + "\n"
			lines[block]++
		case block != "":
			lines[block]++
			docLine(t, n+1, block, line)
		}
	}
	for _, word := range []string{"name", "opts", "keyval", "object", "size", "redacted", "config", "name-error", "keyval-error", "size-error"} {
		if lines[word] == 0 {
			t.Errorf("no lines of %s", word)
		}
	}
}

func docLine(t *testing.T, n int, block, line string) {
	t.Helper()
	kind, wantError := strings.CutSuffix(block, "-error")
	check := docCheckers[kind]
	if check == nil {
		t.Fatalf("line %d: unknown block %s", n, block)
	}
	input, want, shown := strings.Cut(line, " → ")
	got, err := check(input)
	switch {
	case wantError && (err == nil || !shown || !strings.Contains(err.Error(), want)):
		t.Errorf("line %d: %s: %v, the page says %s", n, input, err, want)
	case !wantError && err != nil:
		t.Errorf("line %d: %s: %v", n, input, err)
	case !wantError && shown && got != want:
		t.Errorf("line %d: %s:\n   got %s\nthe page %s", n, input, got, want)
	}
}

// TestDocProtocols: the page's table is that of the code, row by row.
func TestDocProtocols(t *testing.T) {
	b, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "| form | driver |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	for i, p := range Protocols() {
		want := "| `" + strings.ReplaceAll(p.Form, "|", `\|`) + "` | " + p.Driver + " |"
		if i >= len(rows) || rows[i] != want {
			t.Fatalf("row %d is not %s", i+1, want)
		}
	}
	if len(rows) != len(Protocols()) {
		t.Errorf("%d rows, %d protocols", len(rows), len(Protocols()))
	}
}

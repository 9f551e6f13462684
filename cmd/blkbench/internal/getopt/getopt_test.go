package getopt_test

import (
	"strings"
	"testing"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
)

var table = []getopt.Option{
	{Long: "output", Short: "o", Arg: "FMT"},
	{Long: "output-file", Arg: "FILE"},
	{Long: "verbose", Short: "v"},
	{Long: "force"},
	{Long: "raw", Short: "b"},
	{Long: "color", Short: "c", Arg: "WHEN", Optional: true},
}

func parse(style getopt.Style, line string) string {
	found, operands, err := getopt.Parse(table, style, strings.Fields(line))
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, f := range found {
		s := f.Option.Long
		if f.Given {
			s += "=" + f.Value
		}
		parts = append(parts, s)
	}
	return strings.Join(append(append(parts, "|"), operands...), " ")
}

// What glibc's getopt_long does with the same lines.
func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"dev -o json":             "output=json | dev",
		"-ojson dev -v":           "output=json verbose | dev",
		"-vbo json":               "verbose raw output=json |",
		"-vb -- -o":               "verbose raw | -o",
		"--output=json --verb":    "output=json verbose |",
		"--output json":           "output=json |",
		"--output-f x":            "output-file=x |",
		"--output= x":             "output= | x",
		"--color x":               "color | x",
		"--color=x":               "color=x |",
		"-c x":                    "color | x",
		"-cx":                     "color=x |",
		"- a":                     "| - a",
		"a -- -v --force":         "| a -v --force",
		"-x":                      "invalid option -- 'x'",
		"-vx":                     "invalid option -- 'x'",
		"-o":                      "option requires an argument -- 'o'",
		"--output":                "option '--output' requires an argument",
		"--out":                   "option '--out' is ambiguous; possibilities: '--output' '--output-file'",
		"--nothing=3":             "unrecognized option '--nothing'",
		"--force=3":               "option '--force' doesn't allow an argument",
		"--output-file --verbose": "output-file=--verbose |",
	} {
		if got := parse(getopt.Style{}, line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestStyles(t *testing.T) {
	if got := parse(getopt.Style{Ordered: true}, "-v a -b"); got != "verbose | a -b" {
		t.Error(got)
	}
	for line, want := range map[string]string{
		"-force -v":    "force verbose |",
		"-output json": "output=json |",
		"-ojson":       "output=json |",
		"-vb":          "verbose raw |",
		"-x":           "unrecognized option '-x'",
		"-xy":          "unrecognized option '-xy'",
		"-o json":      "output=json |",
		"-fo":          "force |",
		"-output-f=1":  "output-file=1 |",
		"-vx":          "invalid option -- 'x'",
	} {
		if got := parse(getopt.Style{LongOnly: true}, line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

type common struct {
	Output string `long:"output-format" short:"o" arg:"FMT" help:"how to print" default:"normal"`
}

type options struct {
	NSID  uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	Count uint16 `long:"block-count" short:"c" arg:"NUM" help:"blocks less one"`
	LID   uint8  `long:"log-id" short:"i" arg:"NUM" help:"log page" default:"0xff"`
	Start uint64 `long:"start-block" short:"s" arg:"IONUM" kind:"size" help:"first block"`
	common
	Force bool `long:"force" help:"do it"`
}

func TestBind(t *testing.T) {
	var o options
	rest, err := getopt.Bind(&o, getopt.Style{}, strings.Fields("-n 0x10 dev -c 010 -s4k --force"))
	if err != nil || len(rest) != 1 || o.NSID != 16 || o.Count != 8 || o.LID != 0xff || o.Start != 4096 || o.Output != "normal" || !o.Force {
		t.Errorf("%+v %v %v", o, rest, err)
	}
	for line, want := range map[string]string{
		"-n x":          "Expected word argument for 'namespace-id' but got 'x'!",
		"-i 0x100":      "Expected byte argument for 'log-id' but got '0x100'!",
		"-c 65536":      "Expected short argument for 'block-count' but got '65536'!",
		"-s 1x":         "Expected long suffixed integer argument for 'start-block' but got '1x'!",
		"-n -1":         "Expected word argument for 'namespace-id' but got '-1'!",
		"-n 4294967296": "Expected word argument for 'namespace-id' but got '4294967296'!",
	} {
		if _, err := getopt.Bind(&o, getopt.Style{}, strings.Fields(line)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "12": 12, "0x1e": 30, "1k": 1024, "2Ki": 2048, "1M": 1 << 20, "3Gi": 3 << 30, "1T": 1 << 40, "1P": 1 << 50, "15E": 15 << 60,
	} {
		if got, err := getopt.Size(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "k", "1i", "16E", "1kk", "-1", "1.5k", "0x", "Ki"} {
		if got, err := getopt.Size(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"-o json dev", "--out", "-vbo", "--=x", "-", "--", "-c --color="} {
		f.Add(s, true, false)
	}
	f.Fuzz(func(t *testing.T, line string, only, ordered bool) {
		args := strings.Split(line, " ")
		found, operands, err := getopt.Parse(table, getopt.Style{LongOnly: only, Ordered: ordered}, args)
		// A cluster of k letters is at most k options.
		if err == nil && len(operands) > len(args) || len(found) > len(line) {
			t.Errorf("%q: %d options, operands %q", line, len(found), operands)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"1k", "0x10", "010", "15E", "i"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := getopt.Size(s); err == nil {
			if n, err := getopt.Number(s); err == nil && n != v {
				t.Errorf("%q: size %d, number %d", s, v, n)
			}
		}
	})
}

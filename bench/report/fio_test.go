package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/report"
	"github.com/blkbench/blkbench/bench/result"
)

// fioOutput is what one run of the real fio printed in three formats at once.
type fioOutput struct {
	json   []byte
	header []string
	normal []string
	terse  []string
}

// runFio runs the peer; FILE in an argument becomes a fresh directory in memory or on disk.
func runFio(t *testing.T, terse int, args ...string) fioOutput {
	t.Helper()
	bin, err := exec.LookPath("fio")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires fio")
		}
		t.Skip("requires fio")
	}
	dir := t.TempDir()
	all := []string{"--output-format=normal,json+,terse", "--terse-version=" + strconv.Itoa(terse), "--directory=" + dir}
	cmd := exec.CommandContext(context.Background(), bin, append(all, args...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("fio %v: %v", args, err)
	}
	start := bytes.Index(out, []byte("\n{\n"))
	end := bytes.LastIndex(out, []byte("\n}\n"))
	if start < 0 || end < 0 {
		t.Fatalf("fio %v printed no document:\n%s", args, out)
	}
	f := fioOutput{json: out[start+1 : end+3], header: lines(string(out[:start+1])), normal: lines(string(out[end+3:]))}
	for _, l := range f.header {
		if len(l) > 2 && l[0] == byte('0'+terse) && l[1] == ';' || strings.HasPrefix(l, ";") {
			f.terse = append(f.terse, l)
		}
	}
	return f
}

func lines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }

// fioCases are short runs of the real fio that between them use everything that changes its reports.
var fioCases = []struct {
	name  string
	terse int
	args  []string
}{
	{"null", 3, []string{"--name=null", "--ioengine=null", "--size=1g", "--rw=randread", "--time_based", "--runtime=700ms", "--iodepth=16"}},
	{"mix", 5, []string{"--name=mix", "--ioengine=psync", "--size=4m", "--rw=randrw", "--rwmixread=70", "--bsrange=512-8k", "--time_based", "--runtime=700ms"}},
	{"verify", 4, []string{"--name=v", "--ioengine=libaio", "--iodepth=4", "--size=2m", "--rw=write", "--verify=crc32c", "--fsync=16", "--description=a b"}},
	{"group", 2, []string{"--name=g", "--ioengine=psync", "--size=1m", "--rw=randwrite", "--numjobs=3", "--group_reporting", "--end_fsync=1"}},
	{"two groups", 3, []string{"--name=one", "--ioengine=null", "--size=64m", "--rw=read", "--name=two", "--stonewall", "--ioengine=null", "--size=64m", "--rw=write", "--description=second"}},
	{"trim", 4, []string{"--name=t", "--ioengine=null", "--size=32m", "--rw=randtrim"}},
	{"percentiles", 5, []string{"--name=p", "--ioengine=null", "--size=64m", "--rw=read", "--lat_percentiles=1", "--slat_percentiles=1", "--clat_percentiles=1", "--percentile_list=50:90:99.9:99.99"}},
	{"latency target", 3, []string{"--name=lt", "--ioengine=null", "--size=1g", "--rw=randread", "--iodepth=32", "--time_based", "--runtime=1", "--latency_target=10us", "--latency_window=50ms", "--latency_percentile=95", "--continue_on_error=all"}},
	{"steady state", 3, []string{"--name=ss", "--ioengine=null", "--size=1g", "--rw=read", "--time_based", "--runtime=4", "--ss=iops_slope:90%", "--ss_dur=2"}},
	{"unified", 5, []string{"--name=u", "--ioengine=null", "--size=64m", "--rw=randrw", "--unified_rw_reporting=mixed"}},
	{"unified both", 3, []string{"--name=b", "--ioengine=null", "--size=64m", "--rw=randrw", "--unified_rw_reporting=both"}},
	{"error", 3, []string{"--name=e", "--ioengine=psync", "--size=64k", "--rw=randtrim"}},
}

// TestInteropFio takes what fio measured back into a run and prints it again: document, text and terse lines must be those of fio.
func TestInteropFio(t *testing.T) {
	for _, c := range fioCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := runFio(t, c.terse, c.args...)
			run, err := report.Read(bytes.NewReader(f.json))
			if err != nil {
				t.Fatal(err)
			}
			t.Run("json", func(t *testing.T) {
				compareJSON(t, f.json, render(t, func(w io.Writer) error { return report.JSON(w, run, report.JSONOptions{Bins: true}) }))
			})
			t.Run("normal", func(t *testing.T) {
				compareLines(t, f.normal, lines(string(render(t, func(w io.Writer) error { return report.Normal(w, run) }))), " ,=()/[]")
			})
			t.Run("terse", func(t *testing.T) {
				compareLines(t, f.terse, lines(string(render(t, func(w io.Writer) error { return report.Terse(w, run, c.terse) }))), ";=")
			})
		})
	}
}

func render(t *testing.T, f func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compareLines compares field by field; numbers may differ by what rounding on the way makes.
func compareLines(t *testing.T, want, got []string, separators string) {
	t.Helper()
	want, got = alike(want), alike(got)
	if len(want) != len(got) {
		t.Fatalf("%d lines, fio has %d\ngot:\n%s\nfio:\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(separators, r) })
	}
	for i := range want {
		w, g := split(want[i]), split(got[i])
		if len(w) != len(g) {
			t.Errorf("line %d has %d fields, fio has %d\n got %s\nfio  %s", i+1, len(g), len(w), got[i], want[i])
			continue
		}
		for k := range w {
			if !sameField(w[k], g[k]) {
				t.Fatalf("line %d field %d: %q, fio has %q\n got %s\nfio  %s", i+1, k+1, g[k], w[k], got[i], want[i])
			}
		}
		if skeleton(want[i]) != skeleton(got[i]) {
			t.Errorf("line %d is laid out differently\n got %q\nfio  %q", i+1, got[i], want[i])
		}
	}
}

var (
	pid      = regexp.MustCompile(`pid=\d+: .*`)
	reason   = regexp.MustCompile(`err=\d+ \([^)]*\)`)
	brackets = regexp.MustCompile(`\([^)]*\)`)
	version  = regexp.MustCompile(`fio-3\.33[^;]*`)
	digits   = regexp.MustCompile(`[0-9]+`)
	classRow = regexp.MustCompile(`^  lat \([num]sec\) `)
)

// alike leaves out what is meant to differ: process ids, the text of an error, what fio prints wrongly, and the rows of latency
// classes, which come from the histogram.
func alike(in []string) (out []string) {
	for _, l := range in {
		if classRow.MatchString(l) || strings.HasPrefix(l, "  mixed: IOPS=") {
			continue
		}
		l = pid.ReplaceAllString(l, "pid")
		if strings.HasPrefix(l, "  steadystate") { // fio scales KiB by 1000 for the figure in brackets
			l = brackets.ReplaceAllString(l, "()")
		}
		l = reason.ReplaceAllString(l, "err")
		out = append(out, version.ReplaceAllString(l, "fio"))
	}
	return out
}

func skeleton(s string) string { return digits.ReplaceAllString(s, "0") }

func sameField(want, got string) bool {
	if want == got {
		return true
	}
	trim := func(s string) (float64, string, error) {
		n := strings.TrimRight(s, "%kKMGTiBbts/ecm")
		f, err := strconv.ParseFloat(n, 64)
		return f, s[len(n):], err
	}
	w, wu, err1 := trim(want)
	g, gu, err2 := trim(got)
	return err1 == nil && err2 == nil && wu == gu && near(w, g)
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1+1e-3*math.Max(math.Abs(a), math.Abs(b)) }

// compareJSON walks fio's document: each of its keys must be in ours, in the same order, with the same type and about the same value.
func compareJSON(t *testing.T, want, got []byte) {
	t.Helper()
	w, g := ordered(t, want), ordered(t, got)
	diff(t, "", w, g)
}

type object struct {
	keys []string
	m    map[string]any
}

func ordered(t *testing.T, raw []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := decode(dec)
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	return v
}

func decode(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		o := &object{m: map[string]any{}}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, dup := o.m[key]; dup {
				return nil, fmt.Errorf("key %q twice", key)
			}
			o.keys = append(o.keys, key)
			if o.m[key], err = decode(dec); err != nil {
				return nil, err
			}
		}
		_, err := dec.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := decode(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	return tok, nil
}

func kind(v any) string {
	if n, ok := v.(json.Number); ok {
		if strings.Contains(n.String(), ".") {
			return "float with " + strconv.Itoa(len(n)-strings.IndexByte(n.String(), '.')-1) + " decimals"
		}
		return "int"
	}
	return fmt.Sprintf("%T", v)
}

func diff(t *testing.T, path string, want, got any) {
	t.Helper()
	if kind(want) != kind(got) {
		t.Errorf("%s is %s, in fio %s", path, kind(got), kind(want))
		return
	}
	switch w := want.(type) {
	case *object:
		g := got.(*object)
		at := 0
		for _, k := range w.keys {
			v, ok := g.m[k]
			if !ok {
				t.Errorf("%s/%s is missing", path, k)
				continue
			}
			for at < len(g.keys) && g.keys[at] != k {
				at++
			}
			if at == len(g.keys) {
				t.Errorf("%s/%s is not in fio's order: %v, fio has %v", path, k, g.keys, w.keys)
				at = 0
			}
			diff(t, path+"/"+k, w.m[k], v)
		}
	case []any:
		g := got.([]any)
		if len(g) != len(w) {
			t.Errorf("%s has %d elements, in fio %d", path, len(g), len(w))
			return
		}
		for i := range w {
			diff(t, path+"/"+strconv.Itoa(i), w[i], g[i])
		}
	case json.Number:
		a, _ := w.Float64()
		b, _ := got.(json.Number).Float64()
		if strings.Contains(path, "/latency_ns/") || strings.Contains(path, "/latency_us/") || strings.Contains(path, "/latency_ms/") {
			return // their own test
		}
		if !near(a, b) && !strings.HasSuffix(path, "/eta") {
			t.Errorf("%s = %v, in fio %v", path, b, a)
		}
	case string:
		if w != got.(string) && path != "/fio version" {
			t.Errorf("%s = %q, in fio %q", path, got, w)
		}
	}
}

// TestInteropLatencyClasses compares the coarse classes, which fio counts exactly and we take from the histogram.
func TestInteropLatencyClasses(t *testing.T) {
	fiotest.Long(t)
	f := runFio(t, 3, "--name=c", "--ioengine=psync", "--size=8m", "--rw=randread", "--time_based", "--runtime=500ms")
	run, err := report.Read(bytes.NewReader(f.json))
	if err != nil {
		t.Fatal(err)
	}
	got := render(t, func(w io.Writer) error { return report.JSON(w, run, report.JSONOptions{}) })
	classes := func(raw []byte) map[string]float64 {
		var doc struct{ Jobs []map[string]any }
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, unit := range []string{"latency_ns", "latency_us", "latency_ms"} {
			for k, v := range doc.Jobs[0][unit].(map[string]any) {
				out[unit+" "+k] = v.(float64)
			}
		}
		return out
	}
	want, sum := classes(f.json), 0.0
	for k, v := range classes(got) {
		sum += v
		if math.Abs(v-want[k]) > 4 {
			t.Errorf("%s: %.2f %%, in fio %.2f %%", k, v, want[k])
		}
	}
	if len(want) != 32 || math.Abs(sum-100) > 0.5 {
		t.Errorf("%d classes add up to %.2f %%", len(want), sum)
	}
}

// TestInteropFioTools runs the reader that fio ships on our document.
func TestInteropFioTools(t *testing.T) {
	fiotest.Long(t)
	tool, err := exec.LookPath("fio_jsonplus_clat2csv")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires fio_jsonplus_clat2csv")
		}
		t.Skip("requires fio_jsonplus_clat2csv")
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "run.json")
	doc := render(t, func(w io.Writer) error {
		return report.JSON(w, sample(), report.JSONOptions{Bins: true})
	})
	if err := os.WriteFile(in, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, in, filepath.Join(dir, "run.csv")).CombinedOutput()
	if err != nil && strings.Contains(string(out), "No module named") && os.Getenv("BLKBENCH_REQUIRE_PEERS") != "1" {
		t.Skipf("requires python modules: %s", out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	csv, err := os.ReadFile(filepath.Join(dir, "run_job0.csv"))
	if err != nil {
		t.Fatal(err)
	}
	buckets := 0
	sample().Jobs[0].Dir[result.Read].Clat.Buckets(func(_, _, _ uint64) bool { buckets++; return true })
	if n := len(lines(string(csv))); n < buckets {
		t.Errorf("%d lines for %d buckets:\n%.400s", n, buckets, csv)
	}
}

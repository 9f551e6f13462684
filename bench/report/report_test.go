package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/report"
	"github.com/blkbench/blkbench/bench/result"
)

// formats are all that a run can be shown as.
var formats = map[string]func(io.Writer, *result.Run) error{
	"json":          func(w io.Writer, r *result.Run) error { return report.JSON(w, r, report.JSONOptions{}) },
	"json+":         func(w io.Writer, r *result.Run) error { return report.JSON(w, r, report.JSONOptions{Bins: true}) },
	"header":        report.Header,
	"normal":        report.Normal,
	"terse 2":       func(w io.Writer, r *result.Run) error { return report.Terse(w, r, 2) },
	"terse 5":       func(w io.Writer, r *result.Run) error { return report.Terse(w, r, 5) },
	"summary":       func(w io.Writer, r *result.Run) error { return report.Summary(w, r, 80, false) },
	"summary color": func(w io.Writer, r *result.Run) error { return report.Summary(w, r, 132, true) },
	"html":          report.HTML,
}

// odd are runs with what should not happen, and with what happens rarely.
func odd() map[string]*result.Run {
	nan := sample()
	for i := range nan.Jobs {
		j := &nan.Jobs[i]
		j.Name, j.Description, j.FirstError = "a\"b\\\n\x00\xff</script><script>alert(1)</script>", "\x1b[31m\x07;", "<img src=x onerror=alert(1)>"
		j.Percentiles = []float64{99, 50, 99, math.NaN(), -1, 200}
		for d := range j.Dir {
			r := &j.Dir[d]
			r.BWAgg, r.BWBytes, r.IOPSMean = math.NaN(), math.Inf(1), math.Inf(-1)
			r.BW, r.IOPS = result.Samples{Min: math.NaN(), Max: math.Inf(1), Mean: math.NaN(), StdDev: math.NaN(), N: 1}, result.Samples{Mean: math.Inf(1), N: 2}
		}
		j.Steady = &result.SteadyState{Expr: "iops:NaN%", Criterion: math.NaN(), Slope: math.Inf(1), BW: []float64{math.NaN(), 1}, IOPS: []float64{math.Inf(1), math.NaN()}}
	}
	nan.Host.Load, nan.Host.Steal = math.NaN(), math.Inf(1)
	interrupted := sample()
	interrupted.Interrupted = true
	idle := &result.Run{Jobs: []result.Job{{Name: "idle", Mixed: &result.Dir{}, Unified: true}, {Name: "both", Mixed: &result.Dir{}}, {}}}
	single := sample()
	single.Jobs = single.Jobs[:1]
	single.Jobs[0].Series = single.Jobs[0].Series[:1]
	long := sample()
	for range 200 {
		long.Jobs[0].Series = append(long.Jobs[0].Series, sample().Jobs[0].Series[:5]...)
	}
	for i := range long.Jobs[0].Series {
		long.Jobs[0].Series[i].Start = time.Duration(i) * time.Second
	}
	return map[string]*result.Run{"empty": {}, "not a number": nan, "interrupted": interrupted, "idle": idle, "one interval": single, "long": long}
}

func TestEveryFormatTakesEveryRun(t *testing.T) {
	fiotest.Long(t)
	for name, run := range odd() {
		for format, write := range formats {
			out := render(t, func(w io.Writer) error { return write(w, run) })
			switch {
			case strings.HasPrefix(format, "json"):
				if !json.Valid(out) {
					t.Errorf("%s: %s is not valid", name, format)
				}
			case strings.HasPrefix(format, "terse"):
			default:
				for _, bad := range []string{"NaN", "Inf"} {
					if i := bytes.Index(out, []byte(bad)); i >= 0 && !bytes.Contains(out[max(0, i-5):i], []byte("iops:")) {
						t.Errorf("%s: %s shows …%q…", name, format, out[max(0, i-40):i+10])
					}
				}
			}
		}
	}
}

func TestJSONComesBack(t *testing.T) {
	for _, bins := range []bool{true, false} {
		write := func(r *result.Run) []byte {
			return render(t, func(w io.Writer) error { return report.JSON(w, r, report.JSONOptions{Bins: bins}) })
		}
		first := write(sample())
		run, err := report.Read(bytes.NewReader(append([]byte("fio: some warning\n"), first...)))
		if err != nil {
			t.Fatal(err)
		}
		second := write(run)
		again, err := report.Read(bytes.NewReader(second))
		if err != nil {
			t.Fatal(err)
		}
		if third := write(again); !bytes.Equal(second, third) {
			t.Errorf("bins %v: reading changes the document:\n%s", bins, firstDifference(second, third))
		}
		compareJSON(t, first, second)
	}
}

func firstDifference(a, b []byte) string {
	x, y := lines(string(a)), lines(string(b))
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return "length"
}

func TestReadRefusesWhatIsNoReport(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "EOF",
		"fio: no such file":  "invalid character",
		"{}":                 report.ErrNotFio.Error(),
		`{"jobs": null}`:     report.ErrNotFio.Error(),
		`{"jobs": {"a": 1}}`: "cannot unmarshal",
		`{"jobs": [`:         "EOF",
	} {
		if _, err := report.Read(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestSecretsAreHiddenEverywhere(t *testing.T) {
	run := sample()
	run.Globals = append(run.Globals, result.KV{Key: "filename", Value: "nbd://bob:hunter2@host/x"}, result.KV{Key: "password", Value: "hunter2"})
	run.Jobs[0].Options = append(run.Jobs[0].Options, result.KV{Key: "filename", Value: "driver=ssh,password=hunter2"})
	run.Jobs[1].FirstError = "open nbd://bob:hunter2@host/x: refused"
	run.Jobs[1].Errors[0].Target = "nbd://bob:hunter2@host/x"
	run.Jobs[0].Verify = &result.Verify{Kind: "crc32c", Blocks: 2, Failures: 1, First: "nbd://bob:hunter2@host/x at 0x1000: stale"}
	run.Warnings = append(run.Warnings, "nbd://bob:hunter2@host/x is slow")
	for format, write := range formats {
		if out := render(t, func(w io.Writer) error { return write(w, run) }); bytes.Contains(out, []byte("hunter2")) {
			t.Errorf("%s shows a password", format)
		}
	}
}

func TestHeaderIsFios(t *testing.T) {
	fiotest.Long(t)
	run := sample()
	run.Jobs[1].Options = []result.KV{{Key: "ioengine", Value: "libaio"}}
	want := `randrw: (g=0): rw=randrw, bs=(R) 4096B-4096B, (W) 4096B-4096B, (T) 4096B-4096B, ioengine=io_uring, iodepth=32
...
journal: (g=1): rw=write, bs=(R) 16.0KiB-16.0KiB, (W) 16.0KiB-64.0KiB, (T) 1024KiB-1024KiB, ioengine=libaio, iodepth=1
fio-3.33-blkbench-0.1.0
Starting 5 threads
`
	if got := string(render(t, func(w io.Writer) error { return report.Header(w, run) })); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	f := runFio(t, 3, "--name=x", "--ioengine=null", "--size=1m", "--rw=randtrim", "--bs=4k,16k,1m")
	if want := "x: (g=0): rw=randtrim, bs=(R) 4096B-4096B, (W) 16.0KiB-16.0KiB, (T) 1024KiB-1024KiB, ioengine=null, iodepth=1"; f.header[0] != want {
		t.Errorf("fio's own is %q", f.header[0])
	}
}

var diskFields = regexp.MustCompile(`;(vd[a-z]|dm-\d+|sd[a-z]+|nvme\w+|loop\d+|md\d+);.*`)

// TestInteropTerseFields counts the fields of each version for a job without disks and without a description.
func TestInteropTerseFields(t *testing.T) {
	fiotest.Long(t)
	run := sample()
	run.Disks, run.Jobs = nil, run.Jobs[:1]
	run.Jobs[0].Description = ""
	for version := 2; version <= 5; version++ {
		out := render(t, func(w io.Writer) error { return report.Terse(w, run, version) })
		peer := diskFields.ReplaceAllString(runFio(t, version, "--name=x", "--ioengine=null", "--size=1m").terse[0], "")
		if got, want := bytes.Count(out, []byte(";")), strings.Count(peer, ";"); got != want {
			t.Errorf("version %d: %d separators, fio has %d", version, got, want)
		}
	}
	if err := report.Terse(io.Discard, run, 6); !errors.Is(err, report.ErrTerseVersion) {
		t.Errorf("version 6: %v", err)
	}
}

func TestTerseNamesAddNoFields(t *testing.T) {
	run := sample()
	clean := render(t, func(w io.Writer) error { return report.Terse(w, run, 3) })
	run.Jobs[0].Name, run.Jobs[0].Description = "a;b\nc", "d;\re"
	got := render(t, func(w io.Writer) error { return report.Terse(w, run, 3) })
	if bytes.Count(got, []byte(";")) != bytes.Count(clean, []byte(";")) || bytes.Count(got, []byte("\n")) != 2 {
		t.Errorf("%s", got)
	}
}

func TestSummaryFitsAScreen(t *testing.T) {
	fiotest.Long(t)
	jobs := func(n int) *result.Run {
		r := sample()
		for len(r.Jobs) < n {
			r.Jobs = append(r.Jobs, sample().Jobs...)
		}
		r.Jobs = r.Jobs[:n]
		return r
	}
	for _, n := range []int{1, 2, 3, 50} {
		for _, width := range []int{0, 40, 80, 200} {
			out := render(t, func(w io.Writer) error { return report.Summary(w, jobs(n), width, true) })
			limit := width
			if limit == 0 {
				limit = 80
			}
			all := lines(string(out))
			for _, l := range all {
				if w := ansi.StringWidth(l); w > limit {
					t.Errorf("%d jobs: %d columns at width %d: %q", n, w, width, l)
				}
			}
			if most := 45; width >= 80 && len(all) > most {
				t.Errorf("%d jobs at width %d: %d lines", n, width, len(all))
			}
		}
	}
}

func TestSummarySaysWhatMatters(t *testing.T) {
	run := sample()
	run.Interrupted = true
	run.Jobs[0].Verify.Failures = 2
	out := string(render(t, func(w io.Writer) error { return report.Summary(w, run, 100, false) }))
	for _, want := range []string{
		"INTERRUPTED", "randrw · 4 KiB · depth 32 × 4 jobs", "/mnt/nvme/blkbench.dat · 16 GiB · on xfs, nvme0n1 (ACME Turbo 970)", "156 k", "608 MiB/s",
		"at its lowest", "at 0:34", "mean rate within", "rests on", "CPU per I/O", "31.6 of 32 requests", "WRONG", "powersave", "2 errors, the first", "p99 below 1 ms met", "planned start",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colour where none was asked for")
	}
	for d := range run.Jobs[0].Series[10].Dir {
		run.Jobs[0].Series[10].Dir[d] = result.IntervalDir{}
	}
	for _, write := range []func(io.Writer) error{func(w io.Writer) error { return report.Summary(w, run, 100, false) }, func(w io.Writer) error { return report.HTML(w, run) }} {
		if out := string(render(t, write)); !strings.Contains(out, "stood still") {
			t.Errorf("a standstill is not told:\n%.3000s", out)
		}
	}
}

func TestTerminalGetsNoControlCharacters(t *testing.T) {
	fiotest.Long(t)
	out := render(t, func(w io.Writer) error { return report.Summary(w, odd()["not a number"], 80, false) })
	for _, r := range string(out) {
		if r < ' ' && r != '\n' || r == 0x7f {
			t.Fatalf("%q in %q", r, out)
		}
	}
	if !utf8.Valid(out) {
		t.Error("not UTF-8")
	}
}

func TestSparklineKeepsStalls(t *testing.T) {
	v := make([]float64, 1000)
	for i := range v {
		v[i] = 100
	}
	v[500] = 1
	s := []rune(report.Sparkline(v, 20))
	if len(s) != 20 || s[10] != '▁' || s[0] != '█' {
		t.Errorf("%q", string(s))
	}
	for _, c := range []struct {
		v     []float64
		width int
		want  string
	}{{nil, 10, ""}, {[]float64{1}, 0, ""}, {[]float64{0, 0}, 5, "  "}, {[]float64{0, 4, 8}, 9, " ▅█"}, {[]float64{math.NaN(), 1}, 9, " █"}} {
		if got := report.Sparkline(c.v, c.width); got != c.want {
			t.Errorf("%v: %q, want %q", c.v, got, c.want)
		}
	}
}

func TestHTMLStandsAlone(t *testing.T) {
	fiotest.Long(t)
	for name, run := range odd() {
		out := string(render(t, func(w io.Writer) error { return report.HTML(w, run) }))
		for _, bad := range []string{"http:", "https:", "//cdn", "url(", "@import", "<link", "<img", "alert(1)</script>", "ZgotmplZ"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: the page contains %q", name, bad)
			}
		}
		if strings.Count(out, "<svg") != strings.Count(out, "</svg>") || strings.Count(out, "<section") != strings.Count(out, "</section>") {
			t.Errorf("%s: unbalanced elements", name)
		}
		ids := map[string]bool{}
		for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(out, -1) {
			if ids[m[1]] {
				t.Errorf("%s: id %s twice", name, m[1])
			}
			ids[m[1]] = true
		}
		for _, m := range regexp.MustCompile(`aria-labelledby="([^"]+)"`).FindAllStringSubmatch(out, -1) {
			for ref := range strings.FieldsSeq(m[1]) {
				if !ids[ref] {
					t.Errorf("%s: label %s does not exist", name, ref)
				}
			}
		}
	}
}

func TestHTMLShowsCharts(t *testing.T) {
	fiotest.Long(t)
	out := string(render(t, func(w io.Writer) error { return report.HTML(w, sample()) }))
	for _, want := range []string{
		"IOPS over time", "Bandwidth over time", "Latency percentiles", "Latency distribution", "Read latency over time", "Write latency heatmap", "steady-state window",
		"0:34\nread 32 k\nwrite 14 k", "ACME Turbo 970", "governor-powersave", `&#39;job&#39;\&#39;&#39;s file.fio&#39;`, "xfs at /mnt/nvme", "prefers-color-scheme", "@media print",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	long := render(t, func(w io.Writer) error { return report.HTML(w, odd()["long"]) })
	if len(long) > 2<<20 {
		t.Errorf("the page of a long run has %d bytes", len(long))
	}
}

// TestInteropBrowser loads the page in a browser: the script must run under the page's own policy, without a message on the console.
func TestInteropBrowser(t *testing.T) {
	fiotest.Long(t)
	bin, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires chromium")
		}
		t.Skip("requires chromium")
	}
	dir := t.TempDir()
	page := filepath.Join(dir, "report.html")
	if err := os.WriteFile(page, render(t, func(w io.Writer) error { return report.HTML(w, sample()) }), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--user-data-dir="+filepath.Join(dir, "profile"), "--dump-dom", "file://"+page)
	var log bytes.Buffer
	cmd.Stderr = &log
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	if m := regexp.MustCompile(`.*(CONSOLE|Refused to).*`).FindString(log.String()); m != "" {
		t.Errorf("the console says: %s", m)
	}
	if !regexp.MustCompile(`<button type="button" id="theme"[^>]*>`).Match(dom) || regexp.MustCompile(`id="theme"[^>]* hidden`).Match(dom) {
		t.Error("the script did not run")
	}
}

func FuzzRead(f *testing.F) {
	small := sample()
	few := newDist([]uint64{100, 2000, 3000, 9000000})
	for i := range small.Jobs {
		j := &small.Jobs[i]
		j.Series = j.Series[:min(2, len(j.Series))]
		for k := range j.Series {
			j.Series[k].Dir[0].Lat, j.Series[k].Dir[1].Lat = few, few
		}
		for d := range j.Dir {
			j.Dir[d].Slat, j.Dir[d].Clat, j.Dir[d].Lat = nil, few, few
		}
	}
	var b bytes.Buffer
	if err := report.JSON(&b, small, report.JSONOptions{Bins: true}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"jobs":[{"jobname":"a","read":{"total_ios":1,"io_bytes":1e3,"runtime":5,"clat_ns":{"N":3,"min":9,"max":1,"percentile":{"50.0":4,"x":1},"bins":{"7":1,"-1":2}}}}]}`))
	f.Add([]byte(`{"jobs":[{"elapsed":-5,"job_runtime":18446744073709551615,"groupid":2147483647,"latency_target":1,"latency_window":9223372036854775807,"steadystate":{"criterion":"x"}}],"disk_util":[{"util":1e308,"aggr_read_ios":1}]}`))
	f.Add([]byte(`{"jobs":[{"blkbench":{"series":[{"t_ns":9223372036854775807,"len_ns":-1,"read":{"ios":1,"max":1,"bins":[[18446744073709551615,18446744073709551615],[0,1]]}},{"len_ns":1},{"t_ns":1,"read":{"ios":18446744073709551615,"bytes":1,"max":9}}]}}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		run, err := report.Read(bytes.NewReader(in))
		if err != nil {
			return
		}
		for format, write := range formats {
			out := render(t, func(w io.Writer) error { return write(w, run) })
			if strings.HasPrefix(format, "json") && !json.Valid(out) {
				t.Errorf("%s is not valid:\n%s", format, out)
			}
		}
	})
}

func BenchmarkHTML(b *testing.B) {
	run := sample()
	for b.Loop() {
		if err := report.HTML(io.Discard, run); err != nil {
			b.Fatal(err)
		}
	}
}

package series

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

// What fio logged of each request, through our writer, gives fio's files, byte
// by byte.
func TestInteropRequestLogsAreFios(t *testing.T) {
	for _, offset := range []bool{false, true} {
		args := []string{
			"--name=j", "--ioengine=null", "--iodepth=4", "--size=8m", "--bs=4k", "--rw=randrw", "--write_lat_log=j",
			"--write_bw_log=j", "--write_iops_log=j",
		}
		if offset {
			args = append(args, "--log_offset=1")
		}
		r := fiotest.Run(t, args...)
		prefix := filepath.Join(t.TempDir(), "j")
		clat := r.Rows(t, "j_clat.1.log")
		for k := Slat; k <= IOPS; k++ {
			// fio takes the time of each log by itself, so each is done by itself.
			rows := r.Rows(t, FileName("j", k, 1))
			if len(rows) != 2048 || len(clat) != 2048 {
				t.Fatalf("%v: %d entries", k, len(rows))
			}
			l := mustOpen(t, Options{Prefix: only(k, prefix), Job: 1, Offset: offset})
			for i, row := range rows {
				e := &Event{Done: int64(number(t, row[0])) * ms, Dir: gen.Dir(number(t, row[2])), Len: uint32(number(t, row[3]))}
				if offset {
					e.Off = int64(number(t, row[4]))
				}
				e.Slat, e.Lat, e.Clat = number(t, row[1]), number(t, row[1]), number(t, clat[i][1])
				l.Event(e)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			ours, theirs := content(t, FileName(prefix, k, 1)), content(t, filepath.Join(r.Dir, FileName("j", k, 1)))
			if ours != theirs {
				t.Errorf("offset %v: %v logs differ:\n%s", offset, k, firstDifference(ours, theirs))
			}
		}
	}
}

func only(k Kind, prefix string) (p [Kinds]string) {
	p[k] = prefix
	return p
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d: ours %q, fio's %q", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines, fio has %d", len(x), len(y))
}

// Every option that changes a line changes fio's in the same way: the same
// number of fields, empty ones alike, hexadecimal ones alike.
func TestInteropLineShapesAreFios(t *testing.T) {
	for _, c := range []struct {
		args []string
		o    Options
	}{
		{nil, Options{}},
		{[]string{"--log_offset=1"}, Options{Offset: true}},
		{[]string{"--log_prio=1"}, Options{Prio: true}},
		{[]string{"--log_offset=1", "--log_prio=1"}, Options{Offset: true, Prio: true}},
		{[]string{"--log_avg_msec=100"}, Options{Avg: 100 * ms}},
		{[]string{"--log_avg_msec=100", "--log_offset=1"}, Options{Avg: 100 * ms, Offset: true}},
		{[]string{"--log_avg_msec=100", "--log_max_value=1"}, Options{Avg: 100 * ms, Window: Maximum}},
		{[]string{"--log_avg_msec=100", "--log_unix_epoch=1"}, Options{Avg: 100 * ms, Epoch: 1_700_000_000_000_000_000}},
		{[]string{"--log_hist_msec=100", "--log_hist_coarseness=4"}, Options{Hist: 100 * ms, Coarseness: 4}},
	} {
		r := fiotest.Run(t, append([]string{
			"--name=j", "--ioengine=null", "--iodepth=4", "--size=1g", "--bs=4k", "--rw=randread", "--rate_iops=2000",
			"--time_based", "--runtime=1", "--write_lat_log=j", "--write_bw_log=j", "--write_iops_log=j", "--write_hist_log=j",
		}, c.args...)...)
		prefix := filepath.Join(t.TempDir(), "j")
		c.o.Prefix, c.o.Job = all(prefix), 1
		l := mustOpen(t, c.o)
		l.Event(&Event{Done: 5 * ms, Lat: 3, Len: 4096, Off: 8192})
		l.Interval(100*ms, &[gen.Dirs]Part{part(4096, 70, 80)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for k := range Kinds {
			name := FileName("j", k, 1)
			theirs := content(t, filepath.Join(r.Dir, name))
			ours := content(t, FileName(prefix, k, 1))
			if k == ClatHist && c.o.Hist == 0 {
				if theirs != "" || ours != "" {
					t.Errorf("%v: a histogram log without log_hist_msec", c.args)
				}
				continue
			}
			if a, b := shape(ours), shape(theirs); a != b {
				t.Errorf("%v %s: line is like %q, fio's like %q", c.args, name, a, b)
			}
		}
	}
}

// shape is the first line with numbers replaced by what kind they are.
func shape(log string) string {
	line, _, _ := strings.Cut(log, "\n")
	fields := strings.Split(line, ",")
	for i, f := range fields {
		space := f[:len(f)-len(strings.TrimLeft(f, " "))]
		switch v := strings.TrimSpace(f); {
		case strings.HasPrefix(v, "0x"):
			fields[i] = space + fmt.Sprintf("hex%d", len(v))
		case len(v) == 13 && i == 0:
			fields[i] = "epoch"
		default:
			fields[i] = space + "n"
		}
	}
	if len(fields) > 20 {
		return fmt.Sprintf("%d fields", len(fields))
	}
	return strings.Join(fields, ",")
}

// script unpacks one of the programs that fio's package brings along.
func script(t *testing.T, name string) string {
	t.Helper()
	packed, err := os.Open("/usr/share/doc/fio/" + name + ".gz")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatalf("requires fio's %s: %v", name, err)
		}
		t.Skipf("requires fio's %s: %v", name, err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// python is an interpreter that has the modules.
func python(t *testing.T, modules ...string) string {
	t.Helper()
	for _, path := range []string{"python3", "/usr/bin/python3"} {
		check := "pass"
		if len(modules) > 0 {
			check = "import " + strings.Join(modules, ", ")
		}
		if exec.Command(path, "-c", check).Run() == nil {
			return path
		}
	}
	missing := "python3 with " + strings.Join(modules, " and ")
	if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
		t.Fatalf("requires %s", missing)
	}
	t.Skipf("requires %s", missing)
	return ""
}

func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", program, args, err, out, errs.String())
	}
	return string(out)
}

// histogramLog writes ten seconds of lognormal latencies around 80 µs and
// answers the file and what is in it.
func histogramLog(t *testing.T) (name string, h *hist.Hist) {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "ours")
	l := mustOpen(t, Options{Prefix: [Kinds]string{ClatHist: prefix}, Job: 1, Hist: 1000 * ms})
	rng := gen.NewRand(1, 1)
	h = new(hist.Hist)
	for s := range int64(10) {
		p := Part{Clat: new(hist.Hist), Block: 4096}
		for range 2000 {
			u, v := rng.Float64(), rng.Float64()
			ns := uint64(80_000 * math.Exp(0.5*math.Sqrt(-2*math.Log(1-u))*math.Cos(2*math.Pi*v)))
			p.Clat.Record(ns)
			p.IOs++
		}
		h.Merge(p.Clat)
		l.Interval((s+1)*1000*ms, &[gen.Dirs]Part{p})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return FileName(prefix, ClatHist, 1), h
}

// near compares a consumer's figure with ours; they interpolate in buckets,
// which are 1/64 wide.
func near(t *testing.T, what, field string, scale, want float64) {
	t.Helper()
	got, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
	if err != nil {
		t.Fatal(err)
	}
	if got *= scale; math.Abs(got-want) > want/32 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestInteropHistoLogPctiles(t *testing.T) {
	fiotest.Long(t)
	program := script(t, "fio-histo-log-pctiles.py")
	name, h := histogramLog(t)
	out := run(t, t.TempDir(), python(t), program, "--fio-version", "3", "--time-quantum", "20", "--percentiles", "50", "90", "99", "--", name)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	if len(fields) < 5 {
		t.Fatalf("output:\n%s", out)
	}
	if n := strings.TrimSpace(fields[1]); n != strconv.FormatUint(h.Count(), 10) {
		t.Errorf("%s samples, want %d", n, h.Count())
	}
	for i, p := range []float64{50, 90, 99} {
		near(t, fmt.Sprintf("p%v", p), fields[2+i], 1000, float64(h.Percentile(p)))
	}
}

func TestInteropFiologparserHist(t *testing.T) {
	fiotest.Long(t)
	program := script(t, "fiologparser_hist.py")
	name, h := histogramLog(t)
	out := run(t, t.TempDir(), python(t, "numpy", "pandas"), program, "-i", "10000", "--percentiles", "50,90,99", name)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	head, last := strings.Split(lines[0], ", "), strings.Split(lines[len(lines)-1], ", ")
	if len(head) != len(last) || len(lines) < 2 {
		t.Fatalf("output:\n%s", out)
	}
	for i, column := range head {
		switch column {
		case "90%", "99%":
			p, _ := strconv.ParseFloat(strings.TrimSuffix(column, "%"), 64)
			near(t, column, last[i], 1, float64(h.Percentile(p)))
		case "median":
			near(t, column, last[i], 1, float64(h.Percentile(50)))
		case "avg":
			near(t, column, last[i], 1, h.Mean())
		}
	}
}

func TestInteropFio2gnuplot(t *testing.T) {
	program := fiotest.Require(t, "fio2gnuplot")
	dir := t.TempDir()
	l := mustOpen(t, Options{Prefix: all(filepath.Join(dir, "ours")), Job: 1, Avg: 100 * ms})
	var m Moments
	for i := range int64(30) {
		kib := uint64(1000 + 10*(i%7))
		m.Add(float64(kib) * 10)
		l.Interval((i+1)*100*ms, &[gen.Dirs]Part{{IOs: kib / 4, Bytes: kib << 10}})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, dir, program, "-p", "*_bw.1.log", "-k", "-d", "out")
	out := content(t, filepath.Join(dir, "out", "_bw.1.global"))
	for key, want := range map[string]float64{"min": m.Min, "max": m.Max, "avg": m.Mean()} {
		if line := fmt.Sprintf("%s=%.2f\n", key, want); !strings.Contains(out, line) {
			t.Errorf("fio2gnuplot's figures\n%slack %s", out, line)
		}
	}
}

// fio's own tool that halves histogram logs does to ours what coarseness does.
func TestInteropHalfBins(t *testing.T) {
	fiotest.Long(t)
	const program = "/usr/share/doc/fio/half-bins.py"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatalf("requires %s", program)
		}
		t.Skipf("requires %s", program)
	}
	var names [2]string
	for i, coarseness := range []int{0, 2} {
		prefix := filepath.Join(t.TempDir(), "x")
		l := mustOpen(t, Options{Prefix: [Kinds]string{ClatHist: prefix}, Hist: 100 * ms, Coarseness: coarseness})
		l.Interval(100*ms, &[gen.Dirs]Part{part(4096, 5, 6, 7, 70_000, 71_000, 1_000_000)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		names[i] = FileName(prefix, ClatHist, 0)
	}
	halved := strings.ReplaceAll(run(t, t.TempDir(), python(t), program, "-c", "2", names[0]), " ", "")
	want := strings.ReplaceAll(content(t, names[1]), " ", "")
	if strings.TrimRight(halved, "\n,") != strings.TrimRight(want, "\n") {
		t.Errorf("halved twice:\n%swant\n%s", halved, want)
	}
}

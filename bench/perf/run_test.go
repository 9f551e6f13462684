package perf

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	perfFlag  = flag.Bool("perf", false, "run the comparisons and rewrite docs/performance.md")
	pairsFlag = flag.Int("pairs", 11, "pairs of runs per comparison")
	timeFlag  = flag.Duration("time", 1500*time.Millisecond, "measured time of each run")
)

func needPerf(t *testing.T) {
	t.Helper()
	if !*perfFlag {
		t.Skip("requires -perf (make perf): timings are no matter of the ordinary tests")
	}
}

func root(t *testing.T) string {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(self), "..", "..")
}

func binary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(root(t), "bin", "blkbench")
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v: make build first", err)
	}
	return bin
}

func peer(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("requires %s", name)
	}
	return p
}

// fioJSON is what both sides' JSON has, as far as it is looked at.
type fioJSON struct {
	Jobs []struct {
		Error int `json:"error"`
		Read  struct {
			IOPS float64 `json:"iops"`
			IOs  float64 `json:"total_ios"`
		} `json:"read"`
		Write struct {
			IOPS float64 `json:"iops"`
			IOs  float64 `json:"total_ios"`
		} `json:"write"`
		Own struct {
			Mallocs float64 `json:"mallocs"`
		} `json:"blkbench"`
	} `json:"jobs"`
}

// side measures one run of one side of a comparison.
type side func(t *testing.T) Sample

// fioSide is a command that prints fio's JSON.
func fioSide(argv []string) side {
	return func(t *testing.T) Sample {
		t.Helper()
		return measure(t, argv)
	}
}

// measure runs a command that prints fio's JSON and returns its rate and CPU time per I/O. The CPU time is that of the whole process, from
// the kernel's account of a finished child: io_uring's workers are threads of the process and in it.
func measure(t *testing.T, argv []string) Sample {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	var j fioJSON
	out = out[max(0, bytes.IndexByte(out, '{')):] // fio's engines say things before
	if err := json.Unmarshal(out, &j); err != nil || len(j.Jobs) == 0 {
		t.Fatalf("%s: %v: %.200s", strings.Join(argv, " "), err, out)
	}
	var s Sample
	ios := 0.0
	for _, job := range j.Jobs {
		s.Rate += job.Read.IOPS + job.Write.IOPS
		ios += job.Read.IOs + job.Write.IOs
		s.Mallocs += job.Own.Mallocs
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if ios > 0 {
		s.Mallocs /= ios
		s.CPU = (time.Duration(ru.Utime.Nano()) + time.Duration(ru.Stime.Nano())).Seconds() / ios
	}
	return s
}

// row is one comparison as the document shows it.
type row struct {
	name, goal  string
	args        string // of both sides
	rate, cpu   Ratio
	ours, peers []Sample
	met         bool
}

// compare runs two commands that print fio's JSON in turn.
func compare(t *testing.T, name string, ours, peers []string) row {
	t.Helper()
	return compareSides(t, name, fioSide(ours), fioSide(peers))
}

// compareSides runs both sides in turn.
func compareSides(t *testing.T, name string, ours, peers side) row {
	t.Helper()
	r := row{name: name}
	ours(t) // warm-up of both
	peers(t)
	for range *pairsFlag {
		r.ours = append(r.ours, ours(t))
		r.peers = append(r.peers, peers(t))
	}
	r.rate = Ratios(field(r.ours, rateOf), field(r.peers, rateOf))
	r.cpu = Ratios(field(r.ours, cpuOf), field(r.peers, cpuOf))
	t.Logf("%-46s rate %s, CPU per I/O %.2f×", name, r.rate, r.cpu.Median)
	return r
}

func rateOf(s Sample) float64    { return s.Rate }
func cpuOf(s Sample) float64     { return s.CPU }
func mallocsOf(s Sample) float64 { return s.Mallocs }

func field(ss []Sample, f func(Sample) float64) []float64 {
	var out []float64
	for _, s := range ss {
		out = append(out, f(s))
	}
	return out
}

// titles of the sections that document makes.
var titles = map[string]string{
	"fio":       "blkbench run and fio",
	"engine":    "The engine, a bare ring, and what a run takes",
	"nvme":      "NVMe over vfio-user, and the driver alone",
	"guest":     "NVMe from userspace in a guest",
	"qcow2":     "qcow2 on the polled plane",
	"convert":   "Conversions and qemu-img",
	"nbd":       "The NBD client and fio's",
	"nbdserver": "blkbench nbd, qemu-nbd and nbdkit",
	"prealloc":  "What preallocating does to a growing image",
}

// document replaces the part of docs/performance.md between the markers of a group; a group that has none yet gets its section at the end.
func document(t *testing.T, group string, lines []string) {
	t.Helper()
	path := filepath.Join(root(t), "docs", "performance.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s -->\n", group), fmt.Sprintf("<!-- /%s -->\n", group)
	if title := titles[group]; title != "" && !strings.Contains(string(old), begin) {
		old = fmt.Appendf(old, "\n## %s\n\n`%s`\n\n%s%s", title, command(t), begin, end)
	}
	i := strings.Index(string(old), begin)
	k := strings.Index(string(old), end)
	if i < 0 || k < i {
		t.Fatalf("%s has no part %q", path, group)
	}
	text := string(old[:i]) + begin + strings.Join(lines, "\n") + "\n" + string(old[k:])
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command is how to run one group again.
func command(t *testing.T) string {
	return fmt.Sprintf("make build && go test -timeout 30m -v ./bench/perf -run %s -args -perf", t.Name())
}

// argsOf lists what each row ran with.
func argsOf(rows []row) []string {
	lines := []string{"", "What both sides were given:", ""}
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("* %s: `%s`", r.name, r.args))
	}
	return lines
}

// table renders rows; verdicts name losses as such.
func table(rows []row) []string {
	lines := []string{
		"| comparison | rate, ours/peer: median (95 % lower bound) | CPU time per I/O, ours/peer | goal | |",
		"| --- | --- | --- | --- | --- |",
	}
	for _, r := range rows {
		verdict := "met"
		if !r.met {
			verdict = "**missed**"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %.2f× | %s | %s |", r.name, r.rate, r.cpu.Median, r.goal, verdict))
	}
	return lines
}

// machine says in a line what the figures were made on.
func machine() string {
	var u syscall.Utsname
	_ = syscall.Uname(&u)
	release := make([]byte, 0, 64)
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of a virtual machine, %s, Linux %s, %d pairs of %v.", runtime.NumCPU(), model, release, *pairsFlag, *timeFlag)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// TestMain lets the test binary be the program: each test runs it as a user would.
func TestMain(m *testing.M) {
	if os.Getenv("BLKBENCH_TEST_MAIN") != "" {
		args := append([]string{os.Getenv("BLKBENCH_TEST_MAIN")}, os.Args[1:]...)
		os.Exit(realMain(args))
	}
	os.Exit(m.Run())
}

// ran is what a finished program left.
type ran struct {
	code        int
	out, errOut string
}

func program(ctx context.Context, name, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BLKBENCH_TEST_MAIN="+name, "NO_COLOR=1")
	cmd.Dir = dir
	return cmd
}

func finish(t *testing.T, cmd *exec.Cmd, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func runAs(t *testing.T, name, dir string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := program(ctx, name, dir, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	code := finish(t, cmd, cmd.Run())
	return ran{code, out.String(), errOut.String()}
}

func (r ran) want(t *testing.T, code int) ran {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.errOut)
	}
	return r
}

// nullRun is a command line that ends at once and needs nothing.
func nullRun(extra ...string) []string {
	return append([]string{"run", "--name=n", "--ioengine=null", "--size=1g", "--rw=randread", "--number_ios=5000", "--iodepth=8"}, extra...)
}

func TestEveryVerbExplainsItself(t *testing.T) {
	all := runAs(t, "blkbench", "", "--help").want(t, exitOK).out
	for _, v := range verbTable() {
		if !strings.Contains(all, "  "+v.name+" ") {
			t.Errorf("%s is not in the list of verbs", v.name)
		}
		out := runAs(t, "blkbench", "", "help", v.name).want(t, exitOK).out
		if !strings.HasPrefix(out, "blkbench "+v.name+": ") || !strings.Contains(out, "\nusage: ") {
			t.Errorf("help of %s begins %.60q", v.name, out)
		}
		for line := range strings.Lines(out) {
			if len(line) > 160 {
				t.Errorf("help of %s has a line of %d characters: %.60q", v.name, len(line), line)
			}
		}
	}
}

func TestWrongWordsNameTheNearest(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rum"}, "did you mean 'run'?"},
		{[]string{"help", "nothing"}, "unknown verb 'nothing'"},
		{[]string{"run", "--name=a", "--iodepht=4"}, "iodepth"},
		{[]string{"run", "--name=a", "--rw=randred"}, "randread"},
		{[]string{"run", "--name=a", "--profile=act"}, "not supported"},
		{[]string{"version", "--loud"}, "--loud"},
		{[]string{"completion", "tcsh"}, "bash, zsh or fish"},
		{[]string{"run", "/does/not/exist.fio"}, "/does/not/exist.fio"},
		{[]string{"report", "--format=xml", "-"}, "summary"},
	} {
		r := runAs(t, "blkbench", "", c.args...).want(t, exitUsage)
		if !strings.Contains(r.errOut, c.want) || r.out != "" {
			t.Errorf("%v: %q on stderr and %q on stdout, want %q", c.args, r.errOut, r.out, c.want)
		}
	}
}

func TestCompletionIsShell(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("requires bash")
	}
	out := runAs(t, "blkbench", "", "completion", "bash").want(t, exitOK).out
	cmd := exec.Command(bash, "-c", out+`
COMP_WORDS=(blkbench ru); COMP_CWORD=1; _blkbench; echo "${COMPREPLY[*]}"
COMP_WORDS=(blkbench run --iodepth_b); COMP_CWORD=2; _blkbench; echo "${COMPREPLY[*]}"`)
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	for _, want := range []string{"run", "--iodepth_batch="} {
		if !strings.Contains(string(got), want) {
			t.Errorf("completed %q, want %s among it", got, want)
		}
	}
	runAs(t, "blkbench", "", "completion", "fish").want(t, exitOK)
}

func TestManualPageHasEveryVerb(t *testing.T) {
	out := runAs(t, "blkbench", "", "man").want(t, exitOK).out
	for _, v := range verbTable() {
		if !strings.Contains(out, ".SS "+v.name+"\n") {
			t.Errorf("no section on %s", v.name)
		}
	}
	for i, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "'") {
			t.Errorf("line %d would be taken for a request: %q", i+1, line)
		}
	}
}

func TestJSONIsAloneOnStandardOutput(t *testing.T) {
	r := runAs(t, "blkbench", "", nullRun("--output-format=json", "--eta=always")...).want(t, exitOK)
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(r.out))
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %.200q", err, r.out)
	}
	if rest, _ := io.ReadAll(io.MultiReader(d.Buffered(), strings.NewReader(""))); strings.TrimSpace(string(rest)) != "" {
		t.Errorf("after the document: %q", rest)
	}
	if v, ok := doc["fio version"].(string); !ok || !strings.HasPrefix(v, "fio-") {
		t.Errorf("fio version: %v", doc["fio version"])
	}
}

func TestThroughALinkItIsFio(t *testing.T) {
	r := runAs(t, "fio", "", nullRun()[1:]...).want(t, exitOK)
	if !strings.Contains(r.out, "n: (groupid=0, jobs=1): err= 0") || !strings.Contains(r.out, "Run status group 0 (all jobs):") {
		t.Errorf("not fio's normal output: %.300q", r.out)
	}
	runAs(t, "fio", "").want(t, exitUsage)
}

func TestReportFilesAreWholeOrAbsent(t *testing.T) {
	dir := t.TempDir()
	runAs(t, "blkbench", dir, nullRun("--output=o.json", "--output-format=json", "--report=r.html")...).want(t, exitOK)
	b, err := os.ReadFile(filepath.Join(dir, "o.json"))
	if err != nil || !json.Valid(b) {
		t.Errorf("o.json: %v, valid: %v", err, json.Valid(b))
	}
	if b, err = os.ReadFile(filepath.Join(dir, "r.html")); err != nil || !bytes.Contains(b, []byte("</html>")) {
		t.Errorf("r.html: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v left in the folder: %v", left, err)
	}
	runAs(t, "blkbench", dir, nullRun("--output=/nowhere/o.json")...).want(t, exitFailed)
	runAs(t, "blkbench", dir, "report", "--html=again.html", "o.json").want(t, exitOK)
	if _, err := os.Stat(filepath.Join(dir, "again.html")); err != nil {
		t.Error(err)
	}
}

// interrupted runs until the program has begun to measure, and sends a signal.
func interrupted(t *testing.T, sig os.Signal, args ...string) ran {
	t.Helper()
	cmd := program(t.Context(), "blkbench", t.TempDir(), args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	errPipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// --eta=always writes a line when the first state is there: then it runs.
	var errOut bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(errOut.String(), "Jobs: 1") {
		n, err := errPipe.Read(buf)
		errOut.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, errOut.String())
		}
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(errPipe)
	if err != nil {
		t.Fatal(err)
	}
	errOut.Write(rest)
	code := finish(t, cmd, cmd.Wait())
	return ran{code, out.String(), errOut.String()}
}

func TestCtrlCGivesAMarkedReport(t *testing.T) {
	start := time.Now()
	r := interrupted(t, os.Interrupt, "run", "--name=n", "--ioengine=null", "--size=1g", "--rw=randread", "--time_based", "--runtime=60",
		"--eta=always", "--eta-interval=500ms").want(t, exitSignal)
	if !strings.Contains(r.out, "INTERRUPTED") || !strings.Contains(r.out, "read") {
		t.Errorf("report: %.400q", r.out)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v to end", d)
	}
}

func TestSIGUSR1PrintsTheState(t *testing.T) {
	enginetest.Long(t)
	r := interrupted(t, syscall.SIGUSR1, "run", "--name=n", "--ioengine=null", "--size=1g", "--rw=randread", "--time_based", "--runtime=3",
		"--eta=always", "--eta-interval=500ms").want(t, exitOK)
	if !strings.Contains(r.errOut, "so far") {
		t.Errorf("no state on stderr: %.600q", r.errOut)
	}
}

func TestStatusIntervalPrintsWholeReports(t *testing.T) {
	enginetest.Long(t)
	r := runAs(t, "blkbench", "", "run", "--name=n", "--ioengine=null", "--size=1g", "--rw=randread", "--time_based", "--runtime=3",
		"--status-interval=1", "--output-format=json").want(t, exitOK)
	d := json.NewDecoder(strings.NewReader(r.out))
	n := 0
	for d.More() {
		var doc struct {
			Jobs []struct {
				Read struct {
					IOs uint64 `json:"total_ios"`
				} `json:"read"`
			} `json:"jobs"`
		}
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Jobs) != 1 || doc.Jobs[0].Read.IOs == 0 {
			t.Errorf("document %d: %+v", n, doc)
		}
		n++
	}
	if n < 3 {
		t.Errorf("%d documents in 3 s, want at least 3", n)
	}
}

func TestFullDiskIsAnErrorWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("requires the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	r := runAs(t, "blkbench", dir, "run", "--name=w", "--filename=f", "--size=16m", "--rw=write", "--bs=64k", "--fallocate=none").want(t, exitFailed)
	if !strings.Contains(r.errOut, "no space left") || !strings.Contains(r.errOut, "f") {
		t.Errorf("stderr: %q", r.errOut)
	}
	// The disk is full: a report that does not fit must not stand there in part.
	r = runAs(t, "blkbench", dir, nullRun("--report=r.html")...).want(t, exitFailed)
	if _, err := os.Stat(filepath.Join(dir, "r.html")); err == nil {
		t.Error("half a report stands under its name")
	}
}

func TestQuickPresetCleansUp(t *testing.T) {
	if testing.Short() {
		t.Skip("requires 20 s")
	}
	dir := t.TempDir()
	r := runAs(t, "blkbench", dir, "run").want(t, exitOK)
	for _, job := range []string{"sequential-write", "sequential-read", "random-read", "random-write"} {
		if !strings.Contains(r.out, job) {
			t.Errorf("no %s in %q", job, r.out)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%v left behind: %v", left, err)
	}
}

// Package fiotest runs the installed fio for tests that compare with it.
package fiotest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Long skips the test under -short: what runs a peer or measures for a while.
// The race detector's runs are -short and leave none of it out.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() && !raceEnabled {
		t.Skip("left out by -short")
	}
}

// Require skips the test, or fails it where BLKBENCH_REQUIRE_PEERS=1, unless
// the program is installed; it answers its path.
func Require(t *testing.T, program string) string {
	t.Helper()
	Long(t)
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
		t.Fatalf("requires %s, which BLKBENCH_REQUIRE_PEERS=1 demands", program)
	}
	t.Skipf("requires %s", program)
	return ""
}

// Result is what one run left behind.
type Result struct {
	Dir  string         // its working directory, with the logs
	JSON map[string]any // its json+ output
}

// Run runs fio with args, in a directory of its own, with json+ output.
func Run(t *testing.T, args ...string) Result {
	t.Helper()
	fio := Require(t, "fio")
	dir := t.TempDir()
	args = append(args, "--output-format=json+", "--output=result.json")
	cmd := exec.Command(fio, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fio %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexByte(text, '{'); i > 0 {
		text = text[i:] // fio puts its notes in front
	}
	r := Result{Dir: dir}
	if err := json.Unmarshal(text, &r.JSON); err != nil {
		t.Fatalf("fio's json: %v", err)
	}
	return r
}

// Job is one object of the first job, such as "read" → "clat_ns".
func (r Result) Job(t *testing.T, path ...string) map[string]any {
	t.Helper()
	jobs, _ := r.JSON["jobs"].([]any)
	if len(jobs) == 0 {
		t.Fatal("fio reported no job")
	}
	v := jobs[0].(map[string]any)
	for _, key := range path {
		next, ok := v[key].(map[string]any)
		if !ok {
			t.Fatalf("fio's json has no object %s", strings.Join(path, "."))
		}
		v = next
	}
	return v
}

// Rows are the fields of a log, spaces removed.
func (r Result) Rows(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ",")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		rows = append(rows, fields)
	}
	return rows
}

// Column is one column of a log as numbers.
func (r Result) Column(t *testing.T, name string, column int) []uint64 {
	t.Helper()
	rows := r.Rows(t, name)
	values := make([]uint64, 0, len(rows))
	for _, row := range rows {
		if column >= len(row) {
			t.Fatalf("%s: row %v has no column %d", name, row, column)
		}
		v, err := strconv.ParseUint(row[column], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		values = append(values, v)
	}
	return values
}

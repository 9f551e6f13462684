package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecordReplay: what a benchmark does is recorded, and done again on another file with a timing error that is told; what changes data needs
// consent.
func TestRecordReplay(t *testing.T) {
	dir := t.TempDir()
	call := func(t *testing.T, args ...string) (code int, stdout, stderr string) {
		t.Helper()
		r := runAs(t, "blkbench", dir, args...)
		return r.code, r.out, r.errOut
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, f := range []string{"a", "b"} {
		if err := os.WriteFile(path(f), make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	job := []string{"--name=j", "--filename=" + path("a"), "--rw=randrw", "--bs=4k", "--size=1M", "--io_size=512k", "--output=" + path("out")}
	if code, _, stderr := call(t, append([]string{"record", path("t"), "run"}, job...)...); code != exitOK {
		t.Fatalf("record: %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, "replay", path("t"), path("b")); code != exitUsage || !strings.Contains(stderr, "--writes") {
		t.Fatalf("without consent: %d, %s", code, stderr)
	}
	for _, speed := range []string{"1", "max"} {
		code, stdout, stderr := call(t, "replay", path("t"), path("b"), "--writes", "--json", "--speed="+speed)
		var res struct {
			Ops map[string]struct {
				Requests int `json:"requests"`
			} `json:"ops"`
			Late *struct{ P50 float64 } `json:"timing_error_ns"`
		}
		if err := json.Unmarshal([]byte(stdout), &res); err != nil || code != exitOK {
			t.Fatalf("replay: %d, %v, %s", code, err, stderr)
		}
		if n := res.Ops["read"].Requests + res.Ops["write"].Requests; n != 128 || (res.Late == nil) != (speed == "max") {
			t.Fatalf("%d requests, timing error %v: %s", n, res.Late, stdout)
		}
	}
	if b, err := os.ReadFile(path("b")); err != nil || strings.Trim(string(b), "\x00") == "" {
		t.Fatalf("nothing was written: %v", err)
	}
	if code, _, stderr := call(t, "replay", path("t"), "--to-iolog="+path("log")); code != exitOK {
		t.Fatalf("to-iolog: %d, %s", code, stderr)
	}
	if code, stdout, stderr := call(t, "replay", path("log"), path("b"), "--reads-only", "--speed=max"); code != exitOK || !strings.Contains(stdout, "read") {
		t.Fatalf("an iolog: %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, "replay", path("t"), path("b"), "--speed=fast"); code != exitUsage || !strings.Contains(stderr, "--speed") {
		t.Fatalf("%d, %s", code, stderr)
	}
	if code, _, _ := call(t, "record", path("t")); code != exitUsage {
		t.Fatalf("record without a verb: %d", code)
	}
	if code, _, _ := call(t, "record", path("t"), "walk"); code != exitUsage {
		t.Fatalf("record with a verb that is none: %d", code)
	}
}

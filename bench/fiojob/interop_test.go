package fiojob

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Tests against fio itself. The reference is Debian 12's, fio 3.33.

func fio(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), require(t, "fio"), args...)
	cmd.Dir = t.TempDir()
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func mustFio(t *testing.T, args ...string) string {
	t.Helper()
	out, err := fio(t, args...)
	if err != nil {
		t.Fatalf("fio %q: %v: %s", args, err, out)
	}
	return out
}

func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("requires time")
	}
}

// knownDefaults are where our default is not what fio 3.33 prints, and why.
var knownDefaults = map[string]string{
	"ioengine":      "without one the target decides",
	"buffered":      "it is that of direct",
	"log_max_value": "it became a choice in 3.36, where 0 is avg",
}

var (
	helpDefault = regexp.MustCompile(`(?m)^ *default: (.*)$`)
	helpAlias   = regexp.MustCompile(`(?m)^ *alias: (.*)$`)
	helpValue   = regexp.MustCompile(`(?m)^ *(?:valid values)?: (\S+)`)
	helpRange   = regexp.MustCompile(`(?m)^ *range: min=(-?\d+), max=(-?\d+)$`)
)

// TestInteropTable: every key fio knows is in the table, with its aliases,
// default, choices and range.
func TestInteropTable(t *testing.T) {
	notShort(t)
	t.Parallel()
	for line := range strings.Lines(mustFio(t, "--cmdhelp=all")) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		key = strings.TrimSuffix(key, ":")
		compareHelp(t, key, mustFio(t, "--cmdhelp="+key))
	}
	for _, engine := range []string{"io_uring", "libaio", "pvsync2", "nbd"} {
		for line := range strings.Lines(mustFio(t, "--enghelp="+engine)) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			compareHelp(t, key, mustFio(t, "--enghelp="+engine+","+key))
			if o, ok := Lookup(key); ok && !o.forEngine(engine) {
				t.Errorf("%s is an option of %s", key, engine)
			}
		}
	}
	list := mustFio(t, "--enghelp")
	for line := range strings.Lines(list[strings.IndexByte(list, '\n')+1:]) {
		if engine := strings.TrimSpace(line); engine != "" && byName["ioengine"].value(engine) == nil {
			t.Errorf("engine %s is unknown", engine)
		}
	}
}

func compareHelp(t *testing.T, key, help string) {
	t.Helper()
	o, ok := Lookup(key)
	if !ok {
		t.Errorf("%s is unknown", key)
		return
	}
	if m := helpAlias.FindStringSubmatch(help); m != nil && !slices.Contains(o.Names(), m[1]) {
		t.Errorf("%s: alias %s is unknown", key, m[1])
	}
	if m := helpDefault.FindStringSubmatch(help); m != nil && knownDefaults[key] == "" {
		if want := strings.TrimSuffix(m[1], "no default"); o.Default != want && (want != "" || o.Default != "0" || o.Kind != KindBool) {
			t.Errorf("%s: default %q, fio's is %q", key, o.Default, want)
		}
	}
	if o.Status == Refused {
		return
	}
	if m := helpRange.FindStringSubmatch(help); m != nil && (o.Kind == KindInt || o.Kind == KindSize) {
		stricter := m[1] == "0" && o.Min == 1 // nothing sensible is 0 files or jobs
		if fmt.Sprint(o.Min) != m[1] && !stricter || m[2] != "-1" && fmt.Sprint(o.Max) != m[2] {
			t.Errorf("%s: range %d to %d, fio's is %s to %s", key, o.Min, o.Max, m[1], m[2])
		}
	}
	if i := strings.Index(help, "valid values"); i >= 0 && len(o.Values) > 0 {
		for _, m := range helpValue.FindAllStringSubmatch(help[i:], -1) {
			if o.value(m[1]) == nil {
				t.Errorf("%s: choice %s is unknown", key, m[1])
			}
		}
	}
}

// TestInteropBlockSizes compares how numbers are read.
func TestInteropBlockSizes(t *testing.T) {
	notShort(t)
	t.Parallel()
	cases := []string{
		"bs=4k", "bs=4K,8kB", "bs=8k,32k,", "bs=,8k", "bs=,8k,", "bs=0x1000", "bs=4ki", "bs=4kib", "bs=4KiB,4kb,4b", "bs=512,1m",
		"kb_base=1000 bs=4k", "kb_base=1000 bs=4kib", "kb_base=1000 bs=4ki,4kb,4KB",
		"bsrange=1k-4k", "bsrange=4k-1k,8k:16k", "bsrange=1k-4k,8k-16k,", "bssplit=4k/50:8k/50", "bssplit=4k/50:8k/,16k/", "bssplit=1k/,2k/,3k/",
	}
	var args []string
	for _, keys := range cases {
		args = append(args, "--name=a", "--ioengine=null", "--size=16m", "--number_ios=1", "--significant_figures=10")
		for key := range strings.FieldsSeq(keys) {
			args = append(args, "--"+key)
		}
	}
	plan, err := ParseArgs(args, SystemEnv())
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`bs=\(R\) (\S+)B-(\S+)B, \(W\) (\S+)B-(\S+)B, \(T\) (\S+)B-(\S+)B`).FindAllStringSubmatch(mustFio(t, args...), -1)
	if len(shown) != len(cases) {
		t.Fatalf("fio shows %d of %d", len(shown), len(cases))
	}
	for i, keys := range cases {
		var got []int64
		for _, b := range plan.Jobs[i].Block.Size {
			got = append(got, b.Min, b.Max)
		}
		for k, want := range shown[i][1:] {
			if got[k] != shownSize(t, want) {
				t.Errorf("%s: %v, fio reads %v", keys, got, shown[i][1:])
				break
			}
		}
	}
}

// shownSize reads a size as fio prints it: Ki and Mi are powers of 1024, k and M
// of 1000.
func shownSize(t *testing.T, s string) int64 {
	t.Helper()
	n, err := parseSize(s+"b", 1000)
	if err != nil {
		t.Fatalf("fio shows %q: %v", s, err)
	}
	return n
}

// jobReport is what of fio's JSON is decided when the jobs are read.
type jobReport struct {
	Name    string            `json:"jobname"`
	Group   int               `json:"groupid"`
	Options map[string]string `json:"job options"`
}

type runReport struct {
	Globals map[string]string `json:"global options"`
	Jobs    []jobReport       `json:"jobs"`
}

func options(kvs []KV) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		if !kv.Bare { // fio leaves keys without a value out
			m[kv.Key] = kv.Value
		}
	}
	return m
}

// TestInteropJobOptions compares names, groups, clones and options of the jobs
// of a run with those fio reports.
func TestInteropJobOptions(t *testing.T) {
	notShort(t)
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := write("one.fio", "[global]\nioengine=null\nsize=64k\ntime_based=0\nreadwrite=randread\n[a]\nblocksize=8k\nstonewall\n[b]\nnumjobs=3\nnew_group\n"+
		"[global]\niodepth=4\n[c]\nstonewall=1\nkb_base=1000\nbs=4k\nwrite_bw_log=x\n")
	two := write("two.fio", "[global]\nioengine=null\nsize=$pagesize\n[d]\ninclude inc.fio\n[e]\nnew_group\n")
	write("inc.fio", "bs=1k\n; none\n")
	for _, args := range [][]string{
		{one},
		{two},
		{one, two},
		{"--ioengine=null", "--size=64k", "--name=x", "--rw=read", "--name=y", "--blocksize=8k", "--stonewall", one},
		{"--section=c", one},
		{"--ioengine=null", "--size=64k", "--direct=1", "--name=global", "--bs=8k", "--name=x", "--numjobs=2"},
	} {
		out := mustFio(t, append([]string{"--output-format=json"}, args...)...)
		var want runReport
		if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &want); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		plan, err := ParseArgs(args, SystemEnv())
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		got := runReport{Globals: options(plan.Globals)}
		for _, j := range plan.Expand() {
			got.Jobs = append(got.Jobs, jobReport{j.Name, j.Group, options(j.Options)})
		}
		delete(want.Globals, "name") // of --name=global, which names nothing
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q:\n%v\nfio says\n%v", args, got, want)
		}
	}
}

// TestInteropFileNames compares the files a run makes.
func TestInteropFileNames(t *testing.T) {
	notShort(t)
	t.Parallel()
	for _, keys := range []string{
		"numjobs=2 nrfiles=2", "filename=x:y", "filename=d/x", `filename=x\:y`, "filename_format=$jobnum-$filenum.$jobname nrfiles=2",
		"directory=d:e numjobs=3", "directory=d filename=/x", "directory=d:e filename=x numjobs=2",
	} {
		run := t.TempDir()
		for _, d := range []string{"d", "e"} {
			if err := os.Mkdir(filepath.Join(run, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		args := []string{"--name=a", "--rw=write", "--size=8k", "--bs=4k"}
		for key := range strings.FieldsSeq(keys) {
			args = append(args, "--"+key)
		}
		cmd := exec.CommandContext(t.Context(), require(t, "fio"), args...)
		cmd.Dir = run
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", keys, err, out)
		}
		made := map[string]bool{}
		if err := fs.WalkDir(os.DirFS(run), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.Contains(path, "verify.state") {
				made[path] = true
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		plan, err := ParseArgs(args, SystemEnv())
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		ours := map[string]bool{}
		for _, j := range plan.Expand() {
			for _, name := range j.FileNames(nil) {
				ours[name] = true
			}
		}
		if !maps.Equal(made, ours) {
			t.Errorf("%s: %v, fio makes %v", keys, ours, made)
		}
	}
}

// TestInteropPatterns compares the bytes patterns stand for with what fio writes.
func TestInteropPatterns(t *testing.T) {
	notShort(t)
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p"), []byte("from a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{
		`"abcd"`, "-12", "0xdeadface", `0xdeadface"abcd"-12`, "66", "258", "0xFF0X1", "0xff0x14", "-100xab", "0x123", "0", "-1024", "2147483647", `'p'"x"`,
	} {
		out := filepath.Join(dir, "out")
		cmd := exec.CommandContext(t.Context(), require(t, "fio"), "--name=a", "--rw=write", "--size=4k", "--bs=4k", "--filename="+out, "--buffer_pattern="+pattern)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", pattern, err, text)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePattern(pattern, false, func(string, int) ([]byte, error) { return []byte("from a file"), nil })
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for i := range data {
			if data[i] != p.Bytes[i%len(p.Bytes)] {
				t.Errorf("%s: %x, fio writes %x", pattern, p.Bytes, data[:len(p.Bytes)+4])
				break
			}
		}
	}
}

// TestInteropBadValues: what fio refuses is refused here.
func TestInteropBadValues(t *testing.T) {
	notShort(t)
	t.Parallel()
	for _, keys := range []string{
		"bs=0", "iodepth=0", "direct=2", "direct=true", "rw=raed", "bsrange=4k", "percentile_list=101", "ss=iops", "random_distribution=zipf:1",
		"random_distribution=pareto:1", "random_distribution=normal:101", "random_distribution=zipf:1.2:2", "random_distribution=zoned:60/10",
		"ignore_error=EFOO", "sync_file_range=foo:8", "verify=foo", "mem=cudamalloc", "exit_what=foo", "file_service_type=rand:8", "io_size=101%",
		"buffer_pattern=abc", "invalidate=2", "log_entries=10", "verify_interval=79", "verify_offset=39", "replay_align=3", "nice=20", "prioclass=4",
		"rate=1m rate_iops=5", "rate=1k rate_min=2k", "zonesize=4k", "zonemode=strided", "size=1k", "wait_for=y", "numa_mem_policy=prefer",
		"numa_mem_policy=local:0", "unknown=1", "time_based=x", "replay_skip=foo", "fallocate=maybe",
	} {
		args := []string{"--name=a", "--ioengine=null", "--size=1m", "--number_ios=1"}
		for key := range strings.FieldsSeq(keys) {
			args = append(args, "--"+key)
		}
		if out, err := fio(t, args...); err == nil {
			t.Errorf("%s: fio accepts it: %s", keys, out)
		}
		if _, err := ParseArgs(args, SystemEnv()); err == nil {
			t.Errorf("%s is accepted, fio refuses it", keys)
		}
	}
}

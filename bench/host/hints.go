package host

import (
	"slices"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/bench/result"
)

const (
	warn = "warn"
	note = "note"
)

// rule is one thing that can make a result misleading. A rule of the run looks at the run; a rule of a job is asked for each, and speaks once for all it finds.
type rule struct {
	key      string
	severity string
	run      func(r *result.Run) string
	job      func(r *result.Run, j *result.Job) string
}

// Hints says what would make the run's result misleading, warnings first, each key at most once; where it is about some of several jobs, it names them.
func Hints(r *result.Run) []result.Hint {
	var out []result.Hint
	for _, u := range rules {
		if u.run != nil {
			if text := u.run(r); text != "" {
				out = append(out, result.Hint{Severity: u.severity, Key: u.key, Text: text})
			}
			continue
		}
		if text := overJobs(r, u.job); text != "" {
			out = append(out, result.Hint{Severity: u.severity, Key: u.key, Text: text})
		}
	}
	slices.SortStableFunc(out, func(a, b result.Hint) int {
		if a.Severity == b.Severity {
			return 0
		}
		if a.Severity == warn {
			return -1
		}
		return 1
	})
	return out
}

// overJobs is the first text that a job gives, with the names of the jobs it holds for where it does not hold for all.
func overJobs(r *result.Run, f func(*result.Run, *result.Job) string) string {
	first, n := "", 0
	var names []string
	for i := range r.Jobs {
		text := f(r, &r.Jobs[i])
		if text == "" {
			continue
		}
		n++
		if first == "" {
			first = text
		}
		if !slices.Contains(names, r.Jobs[i].Name) {
			names = append(names, r.Jobs[i].Name)
		}
	}
	if n == 0 || n == len(r.Jobs) {
		return first
	}
	if len(names) > 3 {
		names = append(names[:3], "and others")
	}
	return strings.Join(names, ", ") + ": " + first
}

// Keys lists the keys of all hints, for documentation and tests.
func Keys() []string {
	var out []string
	for _, u := range rules {
		out = append(out, u.key)
	}
	return out
}

// option is a job's option, else the global one.
func option(r *result.Run, j *result.Job, keys ...string) (string, bool) {
	for _, list := range [][]result.KV{j.Options, r.Globals} {
		for _, o := range slices.Backward(list) {
			if slices.Contains(keys, o.Key) {
				return o.Value, true
			}
		}
	}
	return "", false
}

// isOn: the option is there and not 0; a bare one is on.
func isOn(r *result.Run, j *result.Job, keys ...string) bool {
	v, ok := option(r, j, keys...)
	return ok && v != "0"
}

func direct(r *result.Run, j *result.Job) bool {
	if v, ok := option(r, j, "buffered"); ok {
		return v == "0"
	}
	return isOn(r, j, "direct")
}

func reads(j *result.Job) bool { return moved(j, result.Read) > 0 }

func writes(j *result.Job) bool { return moved(j, result.Write) > 0 }

func moved(j *result.Job, d result.Direction) uint64 {
	n := j.Dir[d].IOs
	if j.Unified && j.Mixed != nil && n == 0 { // the sum alone is known: tell by the workload
		trims, word := strings.Contains(j.RW, "trim"), map[result.Direction]string{result.Read: "read", result.Write: "write"}[d]
		if strings.Contains(j.RW, word) || strings.Contains(j.RW, "rw") && !trims {
			return j.Mixed.IOs
		}
	}
	return n
}

func issued(j *result.Job) uint64 {
	if j.Unified && j.Mixed != nil {
		return j.Mixed.IOs
	}
	return j.Dir[result.Read].IOs + j.Dir[result.Write].IOs + j.Dir[result.Trim].IOs
}

// synced: what was written was made durable within the run.
func synced(r *result.Run, j *result.Job) bool {
	if j.Dir[result.Sync].IOs > 0 {
		return true
	}
	for _, k := range []string{"fsync", "fdatasync", "end_fsync", "fsync_on_close", "sync", "sync_file_range"} {
		if v, ok := option(r, j, k); ok && v != "0" && v != "none" {
			return true
		}
	}
	return false
}

// targets are what a job measured, each once: its threads share them.
func targets(j *result.Job) (out []*result.Target) {
	seen := map[string]bool{}
	for i := range j.Targets {
		if t := &j.Targets[i]; !seen[t.Name] {
			seen[t.Name] = true
			out = append(out, t)
		}
	}
	return out
}

// onFile are the targets that are files on a disk: neither devices nor memory.
func onFile(j *result.Job) (out []*result.Target) {
	for _, t := range targets(j) {
		if t.FS != "" && !t.InMemory {
			out = append(out, t)
		}
	}
	return out
}

// onDisk are the targets with a device beneath.
func onDisk(j *result.Job) (out []*result.Target) {
	for _, t := range targets(j) {
		if t.Block != nil && !t.InMemory {
			out = append(out, t)
		}
	}
	return out
}

func kernelCached(j *result.Job) bool { return len(onFile(j)) > 0 || len(onDisk(j)) > 0 }

// latency is the distribution with the most samples.
func latency(j *result.Job) (l result.Latency) {
	list := []*result.Dir{&j.Dir[result.Read], &j.Dir[result.Write], &j.Dir[result.Trim], j.Mixed}
	for _, d := range list {
		if d == nil {
			continue
		}
		for _, x := range []result.Latency{d.Clat, d.Lat} {
			if x != nil && (l == nil || x.Count() > l.Count()) {
				l = x
			}
		}
	}
	return l
}

func percent(f float64) string { return strconv.FormatFloat(f, 'f', 0, 64) + " %" }

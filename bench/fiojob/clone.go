package fiojob

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Expand returns the clones of a job, numbered from 0. Only the first keeps the
// stonewall and the new group. Thread is 0: only a plan can number threads.
func (j *Job) Expand() []Job {
	clones := make([]Job, j.NumJobs)
	for i := range clones {
		clones[i] = *j
		clones[i].NumJobs = 1
		clones[i].Clone = i
		if i > 0 {
			clones[i].Order.Stonewall, clones[i].Order.NewGroup = false, false
		}
	}
	return clones
}

// Expand returns all clones of all jobs in order, with their thread numbers, and
// deals out the CPUs of jobs that split them.
func (p *Plan) Expand() []Job {
	var all []Job
	for i := range p.Jobs {
		for _, clone := range p.Jobs[i].Expand() {
			clone.Thread = len(all) + 1
			if cpus := clone.CPU.Allowed; clone.CPU.Split && len(cpus) > 0 {
				n := (clone.Thread - 1) % len(cpus)
				clone.CPU.Allowed = cpus[n : n+1]
			}
			all = append(all, clone)
		}
	}
	return all
}

// FileNames returns the files of one clone: those it names, or made-up ones, in
// their folder. A job that is called like something that is there and no
// regular file ([/dev/sdb]) and has one file uses that; special may be nil.
// Files below Files.OpenDir are not among them.
func (j *Job) FileNames(special func(path string) bool) []string {
	if j.Engine.Kind == EngineNBD && j.Engine.URI != "" {
		return []string{j.Engine.URI}
	}
	if len(j.Files.Names) > 0 {
		names := make([]string, len(j.Files.Names))
		for i, name := range j.Files.Names {
			names[i] = j.inDirectory(0, name)
		}
		return names
	}
	if len(j.Replay.Logs) > 0 || j.Files.OpenDir != "" {
		return nil
	}
	if j.Files.Count == 1 && special != nil && special(j.Name) {
		return []string{j.inDirectory(j.Clone, j.Name)}
	}
	names := make([]string, j.Files.Count)
	for i := range names {
		names[i] = j.inDirectory(j.Clone, j.madeUpName(i))
	}
	return names
}

// inDirectory puts a name into the n-th folder, round and round. As in fio that
// goes for absolute paths, too.
func (j *Job) inDirectory(n int, name string) string {
	dirs := j.Files.Directories
	if len(dirs) == 0 || IsTarget(name) {
		return name
	}
	return filepath.Join(dirs[n%len(dirs)], name)
}

// madeUpName fills in filename_format. Keywords may be in any case.
func (j *Job) madeUpName(file int) string {
	format := j.Files.Format
	keywords := []struct{ word, text string }{
		{"$jobname", j.Name},
		{"$jobnum", strconv.Itoa(j.Clone)},
		{"$filenum", strconv.Itoa(file)},
		{"$clientuid", ""},
	}
	var b strings.Builder
next:
	for i := 0; i < len(format); {
		for _, k := range keywords {
			if end := i + len(k.word); end <= len(format) && strings.EqualFold(format[i:end], k.word) {
				b.WriteString(k.text)
				i = end
				continue next
			}
		}
		b.WriteByte(format[i])
		i++
	}
	return b.String()
}

// LogName is the name of a log of one clone: prefix_type.n.log, or without the
// number where per_job_logs is off. kind is bw, iops, lat, slat, clat or clat_hist.
func (j *Job) LogName(f LogFile, kind string) string {
	prefix := f.Name
	if prefix == "" {
		prefix = j.Name
	}
	if j.Log.PerJob {
		return prefix + "_" + kind + "." + strconv.Itoa(j.Thread) + ".log"
	}
	return prefix + "_" + kind + ".log"
}

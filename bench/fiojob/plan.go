package fiojob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Plan is what one command line or job file asks for.
type Plan struct {
	Run  RunOptions
	Jobs []Job
	// Warnings are about things that are probably not what was meant; with
	// --warnings-fatal they are errors. Notes say what is done in another way
	// than fio does it.
	Warnings, Notes []string
	// Globals are the global options in force at the end, as fio reports them.
	Globals []KV

	sections []planSection
}

// planSection is a section as ShowCmd prints it.
type planSection struct {
	name     string // empty: global
	options  []KV
	file     int // from 1; 0: the command line
	fromArgs bool
}

// DefaultMaxJobs is how many jobs, clones included, a plan may have unless
// --max-jobs says otherwise; the same as fio's bound.
const DefaultMaxJobs = 4096

// ParseArgs reads a command line, without the program and its verb, and the job
// files it names. On error the plan holds what could be read.
func ParseArgs(args []string, env Env) (*Plan, error) {
	plan := &Plan{}
	r := newResolver(env, plan)
	p := parseArgs(args, &plan.Run, &r.errs)
	sections, files := p.sections, p.files
	for _, e := range p.refused {
		if !plan.Run.Lenient {
			r.errs.add(e)
			continue
		}
		r.warn("%v: ignored: --lenient", e)
	}
	for _, n := range p.notes {
		r.note("%s", n)
	}
	if len(r.errs) > 0 {
		return plan, r.errs
	}
	if !plan.Run.runs() {
		return plan, nil
	}
	if onlyGlobal(sections) && len(files) == 0 {
		// Keys without a --name are a job, where fio would find no job at all.
		sections[0].global, sections[0].name = false, "job1"
	}
	r.sections(sections)
	for i, file := range files {
		if i > 0 {
			r.resetGlobals()
			r.wall = true
		}
		data, err := r.jobFile(file)
		if err != nil {
			if path := (*fs.PathError)(nil); errors.As(err, &path) {
				err = path.Err // its name is the position
			}
			r.errs.add(&Error{Pos: Pos{File: file}, Kind: ErrRead, Msg: err.Error()})
			continue
		}
		r.file(file, data)
	}
	return plan, r.finish(len(sections) > 0 || len(files) > 0)
}

// onlyGlobal reports whether there are keys but no --name.
func onlyGlobal(sections []section) bool { return len(sections) == 1 && sections[0].global }

// ParseFile reads one job file. Its name is for errors, and says which folder
// includes are looked for in.
func ParseFile(name string, f io.Reader, env Env) (*Plan, error) {
	return ParseFileWith(RunOptions{}, name, f, env)
}

// ParseFileWith is ParseFile with options of the run.
func ParseFileWith(run RunOptions, name string, f io.Reader, env Env) (*Plan, error) {
	plan := &Plan{Run: run}
	r := newResolver(env, plan)
	data, err := readLimited(io.NopCloser(f))
	if err != nil {
		return plan, &Error{Pos: Pos{File: name, Line: 1, Col: 1}, Kind: ErrRead, Msg: err.Error()}
	}
	r.file(name, data)
	return plan, r.finish(true)
}

func (r *resolver) file(name string, data []byte) {
	r.files = append(r.files, name)
	r.continuations(name, data)
	r.sections(parseINI(name, data, r.includeFile, &r.errs))
}

// continuations warns of lines that look as if they went on: they do not.
func (r *resolver) continuations(name string, data []byte) {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != ';' && line[len(line)-1] == '\\' {
			r.warn("%s:%d: a backslash at the end does not continue a line", name, n)
		}
	}
}

// finish settles what is between jobs: groups, names, limits.
func (r *resolver) finish(wantJobs bool) error {
	p := r.plan
	p.Globals = r.globalKVs
	r.groups()
	r.between()
	if wantJobs && len(p.Jobs) == 0 && len(r.errs) == 0 {
		r.errs.add(&Error{Kind: ErrSyntax, Msg: r.noJobs()})
	}
	if p.Run.WarningsFatal && len(p.Warnings) > 0 && len(r.errs) == 0 {
		for _, w := range p.Warnings {
			r.errs.add(&Error{Kind: ErrWarnings, Msg: w})
		}
	}
	return r.errs.err()
}

func (r *resolver) noJobs() string {
	if len(r.plan.Run.Sections) > 0 {
		return fmt.Sprintf("no job is called %s", strings.Join(r.plan.Run.Sections, " or "))
	}
	return "no jobs: there is no section but [global]"
}

// groups numbers the reporting groups.
func (r *resolver) groups() {
	group, members := 0, 0
	for i := range r.plan.Jobs {
		j := &r.plan.Jobs[i]
		if (j.Order.Stonewall || j.Order.NewGroup) && members > 0 {
			group++
			members = 0
		}
		j.Group = group
		members += j.NumJobs
	}
}

// between checks each job against the others.
func (r *resolver) between() {
	threads := 0
	for i := range r.plan.Jobs {
		j := &r.plan.Jobs[i]
		threads += j.NumJobs
		r.waitFor(i)
		r.sameInGroup(i)
	}
	most := r.plan.Run.MaxJobs
	if most == 0 {
		most = DefaultMaxJobs
	}
	if threads > most {
		r.errs.add(&Error{Kind: ErrLimit, Msg: fmt.Sprintf("%d jobs with their clones: at most %d, unless --max-jobs says more", threads, most)})
	}
}

func (r *resolver) conflict(j *Job, key, format string, args ...any) {
	r.errs.add(&Error{Job: j.Name, Key: key, Kind: ErrConflict, Msg: fmt.Sprintf(format, args...)})
}

func (r *resolver) waitFor(i int) {
	jobs := r.plan.Jobs
	j := &jobs[i]
	if j.Order.WaitFor == "" {
		return
	}
	if j.Order.WaitFor == j.Name {
		r.conflict(j, "wait_for", "the job waits for itself")
		return
	}
	n := 0
	for k := range i {
		if jobs[k].Name == j.Order.WaitFor {
			n++
		}
	}
	switch {
	case n > 1:
		r.conflict(j, "wait_for", "%d jobs are called %s", n, j.Order.WaitFor)
	case n == 0 && slices.ContainsFunc(jobs[i+1:], func(o Job) bool { return o.Name == j.Order.WaitFor }):
		r.conflict(j, "wait_for", "%s comes later: a job waits for an earlier one", j.Order.WaitFor)
	case n == 0:
		r.conflict(j, "wait_for", "no job is called %s", j.Order.WaitFor)
	}
}

// sameInGroup checks what jobs that are reported together must agree on.
func (r *resolver) sameInGroup(i int) {
	jobs := r.plan.Jobs
	j := &jobs[i]
	for k := range i {
		if jobs[k].Group != j.Group {
			continue
		}
		if a, b := jobs[k].Steady, j.Steady; a != b && (a.Duration > 0 || b.Duration > 0) {
			r.conflict(j, "steadystate", "differs from job %s of the same group", jobs[k].Name)
		}
		if j.Report.Group && j.Report.Stats && jobs[k].Report.Lat != j.Report.Lat {
			r.conflict(j, "lat_percentiles", "differs from job %s of the same group", jobs[k].Name)
		}
		return
	}
}

// IsUsage reports whether an error is about what the user wrote, rather than
// about a file that could not be read.
func IsUsage(err error) bool { return err != nil && !errors.Is(err, ErrRead) }

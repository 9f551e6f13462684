package fiojob

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// resolver turns sections into jobs.
type resolver struct {
	env  Env
	plan *Plan
	errs ErrorList

	global    draft
	globalKVs []KV
	notes     map[string]bool // already said
	files     []string        // job files, the one being read last
	broken    bool            // a global section has errors: rules would only repeat them
	// wall: the next job waits for all before it, for it is the first of its file.
	wall bool
	// stdin is in use by a job file.
	stdin bool
}

// engineKey is an engine's option in a global section, kept until a job says
// which engine it has.
type engineKey struct {
	opt *Option
	val value
	raw rawOption
}

func newResolver(env Env, plan *Plan) *resolver {
	r := &resolver{env: env, plan: plan, notes: map[string]bool{}}
	r.resetGlobals()
	return r
}

// defaults are the table's, applied once by the setters that read job files.
var defaults = buildDefaults()

func buildDefaults() Job {
	d := draft{given: map[string]Pos{}}
	d.Report.KBBase = 1024
	d.Engine.SQPollCPU = -1
	d.Engine.NonVectored = -1
	for _, o := range table {
		if o.Default == "" || o.set == nil {
			continue
		}
		v, err := parseValue(o, o.Default, false, 1024)
		if err == nil {
			err = o.set(&d, v)
		}
		if err != nil {
			panic(fmt.Sprintf("fiojob: default of %s: %v", o.Name, err)) // a row of the table is wrong
		}
	}
	return d.Job
}

// resetGlobals begins a job file: nothing is global yet but the defaults.
func (r *resolver) resetGlobals() {
	r.global = draft{Job: defaults, given: map[string]Pos{}, res: r}
	r.globalKVs = nil
	r.broken = false
}

func (d *draft) clone() draft {
	c := *d
	c.given = maps.Clone(d.given)
	c.engineKeys = slices.Clone(d.engineKeys)
	return c
}

func (r *resolver) sections(sections []section) {
	for i := range sections {
		s := &sections[i]
		if !s.global && !r.wanted(s.name) {
			continue
		}
		if s.global {
			if s.name != "global" && s.name != "" {
				r.warn("section [%s] is global, as every name that starts with global is", s.name)
			}
			before := len(r.errs)
			kvs := r.apply(&r.global, s)
			r.broken = r.broken || len(r.errs) > before
			r.globalKVs = append(slices.Clip(r.globalKVs), kvs...)
			r.plan.sections = append(r.plan.sections, planSection{options: kvs, file: len(r.files), fromArgs: s.fromArgs})
			continue
		}
		r.job(s)
	}
}

// wanted reports whether --section lets a section through.
func (r *resolver) wanted(name string) bool {
	return len(r.plan.Run.Sections) == 0 || slices.Contains(r.plan.Run.Sections, name)
}

// job resolves one section and adds its job to the plan.
func (r *resolver) job(s *section) {
	d := r.global.clone()
	d.Name = s.name
	d.Section = len(r.plan.Jobs)
	d.Globals = r.globalKVs
	before := len(r.errs)
	d.Options = r.apply(&d, s)
	if r.wall {
		d.Order.Stonewall = true
		r.wall = false
	}
	r.plan.sections = append(r.plan.sections, planSection{name: s.name, options: d.Options, file: len(r.files), fromArgs: s.fromArgs})
	if len(r.errs) == before && !r.broken {
		r.check(&d, s)
	}
	r.plan.Jobs = append(r.plan.Jobs, d.Job)
}

// apply sets the keys of a section and returns those that were set. In a job
// file that goes by rank; on a command line in order, but kb_base holds for all.
func (r *resolver) apply(d *draft, s *section) []KV {
	d.noEngine = d.noEngine || slices.ContainsFunc(s.options, refusesEngine)
	options := s.options
	if s.fromArgs {
		for _, raw := range options {
			if o := byName[raw.key]; o != nil && o.Rank == early {
				r.option(d, s, raw)
			}
		}
	} else {
		options = slices.Clone(options)
		slices.SortStableFunc(options, func(a, b rawOption) int { return int(rankOf(a) - rankOf(b)) })
	}
	var kvs []KV
	for _, raw := range options {
		if kv, ok := r.option(d, s, raw); ok {
			kvs = append(kvs, kv)
		}
	}
	if !s.global {
		r.globalEngineKeys(d, s)
	}
	return kvs
}

func rankOf(raw rawOption) rank {
	if o := byName[raw.key]; o != nil {
		return o.rank()
	}
	return inOrder
}

// refusesEngine reports whether a key asks for an engine that is not supported.
func refusesEngine(raw rawOption) bool {
	if raw.key != "ioengine" {
		return false
	}
	name, _, _ := strings.Cut(raw.value, ":")
	v := byName["ioengine"].value(name)
	return v != nil && v.Status == Refused
}

// option sets one key. ok says that it counts as an option of the job.
func (r *resolver) option(d *draft, s *section, raw rawOption) (kv KV, ok bool) {
	o := byName[raw.key]
	if o == nil {
		r.unknown(s, raw)
		return KV{}, false
	}
	text, unset, err := r.expand(o, s, raw)
	if err != nil {
		r.fail(s, raw, ErrValue, err.Error())
		return KV{}, false
	}
	kv = KV{Key: o.Name, Value: text, Bare: raw.bare}
	v, err := parseValue(o, text, raw.bare, d.Report.KBBase)
	if o.Status == Refused {
		if o.Category == CatOther && d.noEngine && !r.plan.Run.Lenient {
			return kv, false // it goes with the engine, which was refused already
		}
		return kv, r.refused(o, s, raw, v, err)
	}
	if err == nil && v.choice != nil && v.choice.Status == Refused {
		r.refuse(s, raw, fmt.Sprintf("%s is known to fio, not supported: %s", v.choice.Name, v.choice.Note))
		return kv, false
	}
	if err == nil {
		err = r.set(d, s, o, v, raw)
	}
	if err != nil {
		r.badValue(s, o, raw, text, unset, err)
		return kv, false
	}
	if v.note != "" {
		r.note("%s", v.note)
	}
	if o.Status == Equivalent {
		r.note("%s: %s", o.Name, o.Note)
	}
	if v.choice != nil && v.choice.Status == Equivalent {
		r.note("%s=%s: %s", o.Name, v.choice.Name, v.choice.Note)
	}
	return kv, true
}

// set stores a value, or keeps it for the jobs that have its engine.
func (r *resolver) set(d *draft, s *section, o *Option, v value, raw rawOption) error {
	if o.Engine() && s.global {
		d.engineKeys = append(d.engineKeys, engineKey{o, v, raw})
		return nil
	}
	if o.Engine() && !o.forEngine(d.Engine.engineName()) {
		engine := d.Engine.Given
		if engine == "" {
			engine = "chosen for the target, as none is named"
		}
		return fmt.Errorf("belongs to ioengine=%s; that of the job is %s", strings.Join(o.Engines, " or "), engine)
	}
	d.given[o.Name] = raw.pos
	if o.set == nil {
		return nil
	}
	return o.set(d, v)
}

// engineName is the engine whose options a job may have: where none is named,
// that is io_uring, which is what most targets get.
func (e Engine) engineName() string {
	if e.Given == "" {
		return "io_uring"
	}
	return e.Given
}

func (o *Option) forEngine(name string) bool { return slices.Contains(o.Engines, name) }

// globalEngineKeys sets the engine options of global sections that the job's
// engine has, unless the job has its own.
func (r *resolver) globalEngineKeys(d *draft, s *section) {
	for _, k := range d.engineKeys {
		if _, own := d.given[k.opt.Name]; own && d.given[k.opt.Name] != k.raw.pos {
			continue
		}
		if !k.opt.forEngine(d.Engine.engineName()) {
			r.warn("job %s: %s from the global section is not used: it belongs to ioengine=%s, not %s",
				s.name, k.opt.Name, strings.Join(k.opt.Engines, " or "), d.Engine.engineName())
			continue
		}
		d.given[k.opt.Name] = k.raw.pos
		if k.opt.set == nil {
			continue
		}
		if err := k.opt.set(d, k.val); err != nil {
			r.badValue(s, k.opt, k.raw, k.val.raw, nil, err)
		}
	}
}

// expand puts variables and keywords into a value. A command line's variables
// are the shell's.
func (r *resolver) expand(o *Option, s *section, raw rawOption) (text string, unset []string, err error) {
	text = raw.value
	if !s.fromArgs {
		if text, unset, err = r.env.expandVars(text); err != nil {
			return "", nil, err
		}
	}
	text, replaced := r.env.expandKeywords(text)
	if replaced {
		text, err = calculate(o, text)
	}
	return text, unset, err
}

// refused deals with a key that is not supported. One that is set to its
// default asks for nothing.
func (r *resolver) refused(o *Option, s *section, raw rawOption, v value, err error) bool {
	if err == nil && o.Default != "" && !raw.bare {
		def, derr := parseValue(o, o.Default, false, 1024)
		if derr == nil && v.sameAs(def) {
			return true
		}
	}
	r.refuse(s, raw, "known to fio, not supported: "+o.Note)
	return false
}

// sameAs compares values of kinds that have defaults.
func (v value) sameAs(w value) bool {
	if v.choice != nil || w.choice != nil {
		return v.choice != nil && w.choice != nil && v.choice.Code == w.choice.Code && v.tail == w.tail
	}
	return v.ints == w.ints && v.durs == w.durs && v.amount == w.amount && v.ranges == w.ranges && slices.Equal(v.floats, w.floats)
}

func (r *resolver) unknown(s *section, raw rawOption) {
	msg := "unknown key"
	if near := nearest(raw.key, knownNames()); near != "" {
		msg += "; did you mean " + near + "?"
	}
	if r.plan.Run.Lenient {
		r.warn("%v: ignored: --lenient", &Error{Pos: raw.pos, Job: s.name, Key: raw.key, Msg: msg})
		return
	}
	r.fail(s, raw, ErrUnknownKey, msg)
}

func (r *resolver) refuse(s *section, raw rawOption, why string) {
	if r.plan.Run.Lenient {
		r.warn("%v: ignored: --lenient", &Error{Pos: raw.pos, Job: s.name, Key: raw.key, Msg: why})
		return
	}
	r.fail(s, raw, ErrRefused, why)
}

func (r *resolver) badValue(s *section, o *Option, raw rawOption, text string, unset []string, err error) {
	kind := ErrValue
	for _, k := range []error{ErrPermission, ErrRead} {
		if errors.Is(err, k) {
			kind = k
		}
	}
	msg := err.Error()
	if !raw.bare {
		msg = fmt.Sprintf("%q: %s", shorten(text), msg)
	}
	if len(unset) > 0 {
		msg += fmt.Sprintf(" (not set in the environment: %s)", strings.Join(unset, ", "))
	}
	raw.pos = raw.valuePos
	raw.key = o.Name
	r.fail(s, raw, kind, msg)
}

func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func (r *resolver) fail(s *section, raw rawOption, kind error, msg string) {
	r.errs.add(&Error{Pos: raw.pos, Job: s.name, Key: raw.key, Kind: kind, Msg: msg})
}

func (r *resolver) warn(format string, args ...any) {
	r.say(&r.plan.Warnings, format, args...)
}

func (r *resolver) note(format string, args ...any) {
	r.say(&r.plan.Notes, format, args...)
}

// say adds a message once.
func (r *resolver) say(to *[]string, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if r.notes[msg] || len(*to) >= maxErrors {
		return
	}
	r.notes[msg] = true
	*to = append(*to, msg)
}

// execTo stores a command, which must have been allowed.
func execTo(field func(*Job) *string) setter {
	return func(d *draft, v value) error {
		if d.res != nil && !d.res.plan.Run.AllowExec {
			return fmt.Errorf("%w: runs a command: --allow-exec lets it", ErrPermission)
		}
		*field(&d.Job) = v.raw
		return nil
	}
}

package fiojob

import (
	"fmt"
	"strings"
)

// maxArgs bounds a command line.
const maxArgs = 1 << 16

// argParser reads a command line as getopt_long_only(3) does: options and job
// files in any order, one dash or two, unambiguous beginnings of names.
type argParser struct {
	args []string
	pos  int
	run  *RunOptions
	errs *ErrorList

	sections []section
	files    []string
	refused  []*Error // what --lenient, which may come later, makes warnings of
	notes    []string
}

// word is an option as found on the command line.
type word struct {
	name     string // as written, without dashes
	value    string
	hasValue bool // written with '=', or attached to a short option
	arg      int  // its number, from 1
	short    bool
}

// parseArgs sorts a command line into options of the run, jobs and job files.
func parseArgs(args []string, run *RunOptions, errs *ErrorList) *argParser {
	p := &argParser{args: args, run: run, errs: errs}
	if len(args) > maxArgs {
		errs.add(&Error{Kind: ErrLimit, Msg: fmt.Sprintf("more than %d arguments", maxArgs)})
		return p
	}
	for p.pos < len(args) {
		arg := args[p.pos]
		p.pos++
		switch {
		case arg == "--":
			p.files = append(p.files, args[p.pos:]...)
			p.pos = len(args)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			p.files = append(p.files, arg)
		default:
			p.option(arg)
		}
	}
	return p
}

func (p *argParser) fail(w word, kind error, format string, args ...any) {
	p.errs.add(p.problem(w, kind, format, args...))
}

func (p *argParser) problem(w word, kind error, format string, args ...any) *Error {
	return &Error{Pos: Pos{Arg: w.arg}, Key: "--" + w.name, Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

func (p *argParser) option(arg string) {
	w := word{arg: p.pos}
	double := strings.HasPrefix(arg, "--")
	w.name, w.value, w.hasValue = strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if !double && len(arg) == 2 {
		if o := runByShort[arg[1]]; o != nil {
			w.short = true
			p.runOption(o, w)
			return
		}
	}
	runOpt, jobOpt, candidates := lookupWord(w.name)
	switch {
	case runOpt != nil:
		p.runOption(runOpt, w)
	case jobOpt != nil:
		p.jobOption(jobOpt, w)
	case len(candidates) > 1:
		p.fail(w, ErrUnknownKey, "could be --%s", strings.Join(candidates, ", --"))
	case !double && runByShort[arg[1]] != nil && runByShort[arg[1]].mode == argRequired:
		w.value, w.hasValue, w.short = arg[2:], true, true
		p.runOption(runByShort[arg[1]], w)
	default:
		p.unknown(w)
	}
}

// lookupWord finds an option by its name or by an unambiguous beginning of it.
// Options of engines must be written in full.
func lookupWord(name string) (runOpt *RunOption, jobOpt *Option, candidates []string) {
	if o := runByName[name]; o != nil {
		return o, nil, nil
	}
	if o := byName[name]; o != nil {
		return nil, o, nil
	}
	if name == "" {
		return nil, nil, nil
	}
	for i := range runOptions {
		if o := &runOptions[i]; strings.HasPrefix(o.Name, name) {
			runOpt, candidates = o, append(candidates, o.Name)
		}
	}
	for _, o := range table {
		if o.Engine() || o.Category == CatOther {
			continue
		}
		for _, n := range o.Names() {
			if strings.HasPrefix(n, name) {
				jobOpt, candidates = o, append(candidates, n)
			}
		}
	}
	if len(candidates) != 1 {
		return nil, nil, candidates
	}
	return runOpt, jobOpt, candidates
}

func (p *argParser) unknown(w word) {
	names := knownNames()
	for i := range runOptions {
		names = append(names, runOptions[i].Name)
	}
	msg := "unknown option"
	if near := nearest(w.name, names); near != "" {
		msg += "; did you mean --" + near + "?"
	}
	p.refused = append(p.refused, p.problem(w, ErrUnknownKey, "%s", msg))
}

// next takes the following argument as a value.
func (p *argParser) next(w *word) bool {
	if p.pos == len(p.args) {
		return false
	}
	w.value, w.hasValue = p.args[p.pos], true
	p.pos++
	return true
}

func (p *argParser) peek() string {
	if p.pos < len(p.args) {
		return p.args[p.pos]
	}
	return ""
}

func (p *argParser) runOption(o *RunOption, w word) {
	w.name = o.Name
	switch {
	case o.mode == argNone && w.hasValue:
		p.fail(w, ErrValue, "takes no value")
		return
	case o.mode == argRequired && !w.hasValue && !p.next(&w):
		p.fail(w, ErrValue, "needs a value")
		return
	}
	if o.Status == Refused {
		p.refused = append(p.refused, p.problem(w, ErrRefused, "known to fio, not supported: %s", o.Note))
		return
	}
	if o.Status == Equivalent {
		p.notes = append(p.notes, "--"+o.Name+": "+o.Note)
	}
	if o.set == nil {
		return
	}
	if err := o.set(p.run, w.value); err != nil {
		p.fail(w, ErrValue, "%v", err)
	}
}

func (p *argParser) jobOption(o *Option, w word) {
	if w.name != o.Name && byName[w.name] == nil {
		w.name = o.Name // it was a beginning
	}
	if !w.hasValue {
		switch next := p.peek(); {
		case o.Kind == KindFlag:
		case o.Kind == KindBool:
			if next == "0" || next == "1" {
				p.next(&w)
			}
		case o.BareOK:
			if next != "" && !strings.HasPrefix(next, "-") {
				p.next(&w)
			}
		case strings.HasPrefix(next, "--") || !p.next(&w):
			p.fail(w, ErrValue, "needs a value")
			return
		}
	}
	pos := Pos{Arg: w.arg}
	raw := rawOption{key: w.name, value: w.value, bare: !w.hasValue, pos: pos, valuePos: pos}
	if o.Name == "name" {
		p.newSection(raw)
		return
	}
	if len(p.sections) == 0 {
		p.sections = append(p.sections, section{global: true, pos: pos, fromArgs: true})
	}
	s := &p.sections[len(p.sections)-1]
	s.options = append(s.options, raw)
}

// newSection starts a job. As in fio its name is one of its options.
func (p *argParser) newSection(raw rawOption) {
	s := section{name: raw.value, global: isGlobal(raw.value), pos: raw.pos, fromArgs: true}
	if !s.global {
		s.options = []rawOption{raw}
	}
	p.sections = append(p.sections, s)
}

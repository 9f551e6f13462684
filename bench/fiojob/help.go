package fiojob

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// kindHelp says what a value looks like.
var kindHelp = [...]string{
	KindString:    "text",
	KindFlag:      "nothing, 0 or 1",
	KindBool:      "0 or 1; nothing means 1",
	KindInt:       "whole number, k m g t p allowed behind it",
	KindSize:      "bytes: 4k, 1m, 2g",
	KindAmount:    "bytes (1g), percent (20%) or zones (4z)",
	KindSizeRange: "bytes, or least-most",
	KindRange:     "least-most in bytes: 4k-64k",
	KindTime:      "time: us, ms, s, m, h, d",
	KindTimeRange: "time: us, ms, s, m, h, d; or least-most",
	KindEnum:      "one of the choices",
	KindSet:       "choices joined by ',', \":n\" after them",
	KindFloats:    "numbers joined by ':'",
	KindList:      "names joined by ':'",
	KindCPUs:      "numbers and ranges: 0,4-7",
	KindPattern:   "bytes: 0xdeadbeef, \"text\", 'file', 12",
	KindSplit:     "see the description",
}

// HelpKeys writes one line for each key that is not refused.
func HelpKeys(w io.Writer) error {
	p := printer{w: w}
	for _, c := range categories {
		if c.cat == CatOther {
			continue
		}
		p.printf("%s:\n", c.cat)
		for i := range c.rows {
			if o := &c.rows[i]; o.Status != Refused {
				p.printf("  %-28s %s\n", o.Name, o.Help)
			}
		}
	}
	return p.err
}

// HelpKey writes all there is to say about one key; "all" lists them.
func HelpKey(w io.Writer, name string) error {
	if name == "all" {
		return HelpKeys(w)
	}
	o, ok := Lookup(name)
	if !ok {
		msg := "unknown key"
		if near := nearest(name, knownNames()); near != "" {
			msg += "; did you mean " + near + "?"
		}
		return &Error{Key: name, Kind: ErrUnknownKey, Msg: msg}
	}
	p := printer{w: w}
	p.printf("%s: %s\n", o.Name, o.Help)
	for _, f := range o.facts() {
		p.printf("%12s: %s\n", f[0], f[1])
	}
	for i := range o.Values {
		v := &o.Values[i]
		p.printf("%12s  %-12s %s\n", "", v.Name, v.describe())
	}
	return p.err
}

// describe is the help of a choice and what becomes of it.
func (v *Value) describe() string {
	switch v.Status {
	case Equivalent:
		return joinNonEmpty("; ", v.Help, v.Note)
	case Refused:
		return joinNonEmpty("; ", v.Help, "not supported: "+v.Note)
	default:
		return v.Help
	}
}

func joinNonEmpty(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}

// facts are pairs of a label and a text.
func (o *Option) facts() [][2]string {
	var facts [][2]string
	add := func(label, text string) {
		if text != "" {
			facts = append(facts, [2]string{label, text})
		}
	}
	add("also", strings.Join(o.Aliases, ", "))
	kind := kindHelp[o.Kind]
	if o.Dirs > 1 {
		kind += "; by direction, joined by ','"
	}
	if o.Kind == KindTime || o.Kind == KindTimeRange {
		kind += "; a bare number is " + [...]string{unitMicros: "microseconds", unitSeconds: "seconds"}[o.Unit]
	}
	add("value", kind)
	add("range", o.rangeText())
	add("default", o.Default)
	add("engines", strings.Join(o.Engines, ", "))
	if o.Since != "" {
		add("since", "fio "+o.Since)
	}
	switch o.Status {
	case Equivalent:
		add("here", o.Note)
	case Refused:
		add("here", "not supported: "+o.Note)
	case Honoured:
	}
	return facts
}

func (o *Option) rangeText() string {
	switch {
	case o.Kind == KindFloats:
		return fmt.Sprintf("0 to %g, at most %d", o.FMax, o.MaxLen)
	case o.Kind != KindInt && o.Kind != KindSize:
		return ""
	case o.Max != 0:
		return fmt.Sprintf("%d to %d", o.Min, o.Max)
	case o.Min != 0:
		return "from " + strconv.FormatInt(o.Min, 10)
	}
	return ""
}

// HelpEngines writes what "list" asks for, the keys of an engine, or what
// "engine,key" asks for.
func HelpEngines(w io.Writer, what string) error {
	p := printer{w: w}
	if what == "list" {
		for i := range engineValues {
			if v := &engineValues[i]; v.Status != Refused {
				p.printf("  %-14s %s\n", v.Name, v.describe())
			}
		}
		return p.err
	}
	engine, key, hasKey := strings.Cut(what, ",")
	v := byName["ioengine"].value(engine)
	if v == nil {
		return &Error{Key: "ioengine", Kind: ErrValue, Msg: unknownChoice(byName["ioengine"], engine).Error()}
	}
	if hasKey {
		return HelpKey(w, key)
	}
	p.printf("%s: %s\n", v.Name, v.describe())
	for i := range engineOptions {
		if o := &engineOptions[i]; o.forEngine(engine) && o.Status != Refused {
			p.printf("  %-28s %s\n", o.Name, o.Help)
		}
	}
	return p.err
}

// HelpRun writes the options of the command line.
func HelpRun(w io.Writer) error {
	p := printer{w: w}
	for i := range runOptions {
		o := &runOptions[i]
		if o.Status == Refused {
			continue
		}
		name := "--" + o.Name
		switch o.mode {
		case argRequired:
			name += "=" + o.Arg
		case argOptional:
			if o.Arg != "" {
				name += "[=" + o.Arg + "]"
			}
		case argNone:
		}
		p.printf("  %-28s %s\n", name, o.Help)
	}
	return p.err
}

// printer keeps the first error of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

package fiojob

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds on job files.
const (
	maxFile     = 4 << 20
	maxLine     = 64 << 10
	maxInclude  = 16  // nested
	maxIncludes = 256 // in all
	maxSections = 1 << 14
	maxOptions  = 1 << 18 // of all sections together
)

// section is the keys of one [name] or one --name, as written.
type section struct {
	name    string
	global  bool
	pos     Pos
	options []rawOption
	// fromArgs: written on a command line, where ${VAR} is the shell's business.
	fromArgs bool
}

// rawOption is one key as written.
type rawOption struct {
	key, value string
	bare       bool
	pos        Pos // of the key
	valuePos   Pos
}

// includer reads the file an include names; from is the including file.
type includer func(name, from string) (path string, data []byte, err error)

// iniParser reads job files into sections.
type iniParser struct {
	include  includer
	sections []section
	current  *section
	options  int
	includes int
	errs     *ErrorList
}

// parseINI reads one job file. Errors go to errs; what could be read is returned.
func parseINI(file string, data []byte, include includer, errs *ErrorList) []section {
	p := &iniParser{include: include, errs: errs}
	p.file(file, data, 0)
	return p.sections
}

func (p *iniParser) fail(pos Pos, kind error, format string, args ...any) {
	e := &Error{Pos: pos, Kind: kind, Msg: fmt.Sprintf(format, args...)}
	if p.current != nil {
		e.Job = p.current.name
	}
	p.errs.add(e)
}

func (p *iniParser) file(name string, data []byte, depth int) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for n := 1; len(data) > 0; n++ {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		pos := Pos{File: name, Line: n, Col: 1}
		if len(line) > maxLine {
			p.fail(pos, ErrLimit, "line longer than %d bytes", maxLine)
			continue
		}
		if i := bytes.IndexByte(line, 0); i >= 0 {
			pos.Col = i + 1
			p.fail(pos, ErrSyntax, "zero byte: this is no text file")
			return
		}
		if !p.line(string(line), pos, depth) {
			return
		}
	}
}

// line reads one line; false ends the file.
func (p *iniParser) line(s string, pos Pos, depth int) bool {
	if i := strings.IndexAny(s, ";#"); i >= 0 {
		s = s[:i]
	}
	trimmed := strings.TrimLeft(s, blanks)
	pos.Col += utf8.RuneCountInString(s[:len(s)-len(trimmed)])
	s = strings.TrimRight(trimmed, blanks)
	switch {
	case s == "":
		return true
	case s[0] == '[':
		return p.header(s, pos, depth)
	case isInclude(s):
		return p.includeLine(strings.Trim(s[len("include"):], "= \t"), pos, depth)
	case p.current == nil:
		p.fail(pos, ErrSyntax, "%q stands before the first [section]", s)
		return true
	}
	if p.options++; p.options > maxOptions {
		p.fail(pos, ErrLimit, "more than %d keys", maxOptions)
		return false
	}
	p.current.options = append(p.current.options, splitOption(s, pos))
	return true
}

// blanks surround keys, values and lines; vertical tab and form feed as in fio.
const blanks = " \t\r\v\f"

func isInclude(s string) bool {
	rest, ok := strings.CutPrefix(s, "include")
	return ok && (rest == "" || strings.ContainsRune("= \t", rune(rest[0])))
}

func splitOption(s string, pos Pos) rawOption {
	key, val, ok := strings.Cut(s, "=")
	o := rawOption{key: strings.TrimRight(key, blanks), bare: !ok, pos: pos, valuePos: pos}
	if ok {
		o.value = strings.TrimLeft(val, blanks)
		o.valuePos.Col += utf8.RuneCountInString(s[:len(s)-len(o.value)])
	}
	return o
}

// header reads [name]. A name may have brackets in it; the last one ends it.
func (p *iniParser) header(s string, pos Pos, depth int) bool {
	if depth > 0 {
		p.fail(pos, ErrSyntax, "an included file has no sections")
		return false
	}
	end := strings.LastIndexByte(s, ']')
	switch {
	case end < 0:
		p.fail(pos, ErrSyntax, "the ] of the section is missing")
		return true
	case end == 1:
		p.fail(pos, ErrSyntax, "the section has no name")
		return true
	case end != len(s)-1:
		pos.Col += utf8.RuneCountInString(s[:end+1])
		p.fail(pos, ErrSyntax, "%q stands behind the section's name", s[end+1:])
		return true
	case len(p.sections) == maxSections:
		p.fail(pos, ErrLimit, "more than %d sections", maxSections)
		return false
	}
	name := s[1:end]
	p.sections = append(p.sections, section{name: name, global: isGlobal(name), pos: pos})
	p.current = &p.sections[len(p.sections)-1]
	return true
}

// isGlobal: as in fio, any name that starts with global is that.
func isGlobal(name string) bool { return strings.HasPrefix(name, "global") }

func (p *iniParser) includeLine(name string, pos Pos, depth int) bool {
	switch {
	case p.current == nil:
		p.fail(pos, ErrSyntax, "include stands before the first [section]")
		return true
	case name == "":
		p.fail(pos, ErrSyntax, "include names no file")
		return true
	case depth == maxInclude:
		p.fail(pos, ErrLimit, "includes nested more than %d deep", maxInclude)
		return false
	case p.includes == maxIncludes:
		p.fail(pos, ErrLimit, "more than %d includes", maxIncludes)
		return false
	}
	p.includes++
	path, data, err := p.include(name, pos.File)
	if err != nil {
		kind := ErrRead
		if errors.Is(err, ErrPermission) {
			kind = ErrPermission
		}
		p.fail(pos, kind, "include %s: %v", name, err)
		return true
	}
	before := len(*p.errs)
	p.file(path, data, depth+1)
	return depth == 0 || len(*p.errs) == before
}

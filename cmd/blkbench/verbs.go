package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/blkbench/blkbench/engine/opts"
)

// verb is one word after blkbench. Help, the manual page and shell completion are made from this table.
type verb struct {
	name    string
	link    string // the peer's name that a link may have
	summary string // one line
	usage   string // what follows the name
	long    string // paragraphs
	flags   func() []flagDoc
	run     func(ctx context.Context, a *app, args []string) int
}

// flagDoc is an option as help shows it.
type flagDoc struct {
	name  string // with dashes; a letter with its dash where there is no long name
	short string // the letter with its dash, or empty
	arg   string // what it takes, or empty
	help  string
	group string // a heading, or empty
}

var verbs []verb

// linkVerb returns the verb that a program name stands for, or nil.
func linkVerb(name string) *verb {
	for i := range verbs {
		if verbs[i].link != "" && verbs[i].link == name {
			return &verbs[i]
		}
	}
	return nil
}

func nearestVerb(name string) string {
	var names []string
	for i := range verbs {
		names = append(names, verbs[i].name)
	}
	return opts.Nearest(name, names)
}

const tagline = "blkbench measures storage from userspace, converts disk images and serves them."

func (a *app) writeHelp(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nusage: blkbench VERB [options]\n\n", tagline)
	for i := range verbs {
		v := &verbs[i]
		link := ""
		if v.link != "" {
			link = fmt.Sprintf(" (also through a link named %s)", v.link)
		}
		fmt.Fprintf(w, "  %-11s %s%s\n", v.name, v.summary, link)
	}
	fmt.Fprint(w, "\nStart with `blkbench run`: without an argument it measures the current folder's file system in about 20 s.\n"+
		"`blkbench help VERB` explains a verb.\n")
}

// help explains a verb, or lists them.
func (a *app) help(args []string) int {
	if len(args) == 0 {
		a.writeHelp(a.stdout)
		return exitOK
	}
	for i := range verbs {
		if verbs[i].name == args[0] || (verbs[i].link != "" && verbs[i].link == args[0]) {
			verbs[i].writeHelp(a.stdout)
			return exitOK
		}
	}
	a.errorf("unknown verb '%s' (blkbench --help lists the verbs)", args[0])
	return exitUsage
}

func (v *verb) writeHelp(w io.Writer) {
	fmt.Fprintf(w, "blkbench %s: %s\n\nusage: blkbench %s %s\n", v.name, v.summary, v.name, v.usage)
	if v.long != "" {
		fmt.Fprintf(w, "\n%s\n", fold(strings.TrimSpace(v.long), 100))
	}
	if v.flags == nil {
		return
	}
	group := "\x00"
	for _, f := range v.flags() {
		if f.group != group {
			group = f.group
			title := group
			if title == "" {
				title = "options"
			}
			fmt.Fprintf(w, "\n%s:\n", title)
		}
		left := f.spelled()
		if len(left) <= 26 {
			fmt.Fprintf(w, "  %-26s %s\n", left, wrap(f.help, 29, 100))
		} else {
			fmt.Fprintf(w, "  %s\n%s%s\n", left, strings.Repeat(" ", 29), wrap(f.help, 29, 100))
		}
	}
}

// spelled is the option with its letter and its value.
func (f *flagDoc) spelled() string {
	s := f.name
	if f.arg != "" {
		if strings.HasPrefix(s, "--") {
			s += "=" + f.arg
		} else {
			s += " " + f.arg
		}
	}
	if f.short != "" && f.short != f.name {
		s = f.short + ", " + s
	}
	return s
}

// fold wraps those paragraphs that have a line of more than width and none that is indented.
func fold(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		long, indented := false, false
		for line := range strings.Lines(p) {
			long = long || len(line) > width+1
			indented = indented || line[0] == ' ' || line[0] == '\t'
		}
		if long && !indented {
			paragraphs[i] = wrap(p, 0, width)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// wrap folds text at width; further lines are indented.
func wrap(text string, indent, width int) string {
	var b strings.Builder
	col := indent
	for i, word := range strings.Fields(text) {
		if i > 0 {
			if col+1+len(word) > width {
				b.WriteString("\n" + strings.Repeat(" ", indent))
				col = indent
			} else {
				b.WriteByte(' ')
				col++
			}
		}
		b.WriteString(word)
		col += len(word)
	}
	return b.String()
}

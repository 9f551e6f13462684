package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/blkbench/blkbench/bench/report"
)

// reportArgs is the grammar of `blkbench report`.
type reportArgs struct {
	File   string `arg:"" help:"JSON that blkbench or fio wrote; - is the standard input"`
	HTML   string `placeholder:"FILE" help:"write the self-contained page to FILE instead of a summary"`
	Format string `enum:"summary,normal,terse,json,json+" default:"summary" help:"what to print: ${enum}"`
}

// runReport shows results that were written before.
func runReport(_ context.Context, a *app, args []string) int {
	var o reportArgs
	if code, done := a.parse("report", &o, args); done {
		return code
	}
	in := io.Reader(a.stdin)
	if o.File != "-" {
		f, err := os.Open(o.File)
		if err != nil {
			a.errorf("%v", err)
			return exitFailed
		}
		defer f.Close()
		in = f
	}
	res, err := report.Read(in)
	if err == nil {
		if o.HTML != "" {
			err = writeFile(o.HTML, func(w io.Writer) error { return report.HTML(w, res) })
		} else {
			err = a.writeFormat(a.stdout, o.Format, 0, res)
		}
	}
	if err != nil {
		a.errorf("%s: %v", o.File, err)
		return exitFailed
	}
	return exitOK
}

// parse reads a command line of our own grammar; done says that the program ends with code.
func (a *app) parse(name string, grammar any, args []string) (code int, done bool) {
	ended := -1
	k, err := kong.New(grammar, kong.Name("blkbench "+name), kong.Writers(a.stdout, a.stderr), kong.Exit(func(c int) { ended = c }))
	if err != nil {
		a.errorf("%v", err)
		return exitFailed, true
	}
	_, err = k.Parse(args)
	switch {
	case ended >= 0:
		return ended, true
	case err != nil:
		a.errorf("%v", err)
		return exitUsage, true
	}
	return 0, false
}

// flagsOf documents a grammar of our own.
func flagsOf(grammar any) func() []flagDoc {
	return func() []flagDoc {
		k, err := kong.New(grammar)
		if err != nil {
			panic(fmt.Sprintf("grammar: %v", err)) // a fault of the program, found by the help test
		}
		var docs []flagDoc
		for _, f := range k.Model.Flags {
			if f.Name == "help" {
				continue
			}
			arg := f.PlaceHolder
			if arg == "" && !f.IsBool() {
				arg = "VALUE"
			}
			docs = append(docs, flagDoc{name: "--" + f.Name, arg: arg, help: f.Help})
		}
		return docs
	}
}

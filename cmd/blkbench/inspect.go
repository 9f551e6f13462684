package main

import (
	"context"

	"github.com/blkbench/blkbench/cmd/blkbench/inspectcmd"
)

const inspectLong = `A verdict for scripts on an image that a stranger made: its format by signature, what it claims, which other files it refers to, and what
contradicts itself. Nothing but the named file is opened. Exit code 0: safe; 1: could not be read; 2: wrong command line; 3: suspicious, or of a
format that is not examined.`

func runInspect(ctx context.Context, a *app, args []string) int {
	return inspectcmd.Run(ctx, &inspectcmd.Env{Stdout: a.stdout, Stderr: a.stderr, Prog: a.prog}, args)
}

func inspectFlags() []flagDoc {
	var docs []flagDoc
	for _, o := range inspectcmd.Flags() {
		docs = append(docs, flagDoc{name: "--" + o.Long, arg: o.Arg, help: o.Help})
	}
	return docs
}

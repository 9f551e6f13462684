package main

import (
	"context"

	"github.com/blkbench/blkbench/cmd/blkbench/iocmd"
)

const ioLong = `The options, the command language, the output and the exit codes of qemu-io 7.2. Commands come from -c or from the standard input;
blkbench io -c help lists them. Under our own name no name that stands inside an image is followed without --references, and an image whose
format was not stated by -f is opened for reading only.`

// runIO is qemu-io: its commands are in package iocmd.
func runIO(ctx context.Context, a *app, args []string) int {
	return iocmd.Run(ctx, &iocmd.Env{
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Prog: a.prog, Link: a.link, Terminal: iocmd.Terminal(a.stdin), Version: version(),
		Registry: newRegistry(),
	}, args)
}

func ioFlags() []flagDoc {
	var docs []flagDoc
	for _, f := range iocmd.Flags() {
		docs = append(docs, flagDoc{name: f.Name, arg: f.Arg, help: f.Help})
	}
	return docs
}

package main

import (
	"context"
	"os"

	"github.com/blkbench/blkbench/cmd/blkbench/nbdcmd"
)

const nbdLong = `Serves images, files, devices and graphs to NBD clients, with qemu-nbd's options. blkbench nbd a.qcow2 b.raw exports both by their base
names on a Unix socket of its own, prints their URIs, and ends with SIGTERM or Ctrl-C after what is in flight is done and flushed.`

// runNBD is qemu-nbd: package nbdcmd.
func runNBD(ctx context.Context, a *app, args []string) int {
	prog := a.prog
	if !a.link {
		prog += " nbd"
	}
	return nbdcmd.Run(ctx, &nbdcmd.Env{
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Prog: prog, Link: a.link, Version: version(), Registry: newRegistry(), Args: os.Args,
	}, args)
}

// nbdFlags documents the options.
func nbdFlags() []flagDoc {
	var docs []flagDoc
	for _, f := range nbdcmd.Docs() {
		docs = append(docs, flagDoc{name: f.Name, short: f.Short, arg: f.Arg, help: f.Help})
	}
	return docs
}

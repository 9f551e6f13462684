package main

import (
	"context"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
)

const imgLong = `The sub-commands, options, output and exit codes of qemu-img 7.2. Each sub-command is a verb of its own too: blkbench info is blkbench
img info. Under our own name no name that stands inside an image is followed without --references, and a format is probed only for reading.`

// runImg is qemu-img: its sub-commands are in package imgcmd.
func runImg(ctx context.Context, a *app, args []string) int { return imgcmd.Run(ctx, a.imgEnv(), args) }

func (a *app) imgEnv() *imgcmd.Env {
	return &imgcmd.Env{
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Prog: a.prog, Link: a.link, Version: version(), Registry: newRegistry(),
	}
}

// imgVerbs makes a verb of every sub-command.
func imgVerbs() []verb {
	var list []verb
	for _, d := range imgcmd.Docs() {
		list = append(list, verb{
			name: d.Name, summary: d.Summary, usage: d.Usage, long: d.Long,
			flags: func() []flagDoc {
				var docs []flagDoc
				for _, f := range d.Flags {
					docs = append(docs, flagDoc{name: f.Name, short: f.Short, arg: f.Arg, help: f.Help})
				}
				return docs
			},
			run: func(ctx context.Context, a *app, args []string) int {
				return imgcmd.RunVerb(ctx, a.imgEnv(), d.Name, args)
			},
		})
	}
	return list
}

// imgFlags documents the sub-commands.
func imgFlags() []flagDoc {
	var docs []flagDoc
	for _, d := range imgcmd.Docs() {
		docs = append(docs, flagDoc{name: d.Name, help: d.Summary, group: "sub-commands (blkbench help SUB-COMMAND)"})
	}
	return docs
}

package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd"
)

const nvmeLong = `The sub-commands, options and output of nvme-cli 2.3, on controllers that the kernel drives (/dev/nvme0, /dev/nvme0n1, /dev/ng0n1), that are
bound to vfio-pci (0000:06:0d.0, nvme://0000:06:0d.0/1), and on vfio-user servers (nvme+vfio-user:///path/to/socket/1).

bind gives a controller to vfio-pci, unbind gives it back. What destroys data asks for the controller's serial number: --allow-destroy=SERIAL.`

// runNVMe is nvme-cli: its sub-commands are in package nvmecmd.
func runNVMe(ctx context.Context, a *app, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT)
	defer stop()
	prog := a.prog
	if !a.link {
		prog += " nvme"
	}
	return nvmecmd.Run(ctx, &nvmecmd.Env{
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Prog: prog, Link: a.link, Version: version(),
	}, args)
}

// nvmeFlags documents the sub-commands.
func nvmeFlags() []flagDoc {
	var docs []flagDoc
	nvmecmd.Docs(func(name, summary string) {
		docs = append(docs, flagDoc{name: name, help: summary, group: fmt.Sprintf("sub-commands (blkbench nvme help %s)", "SUB-COMMAND")})
	})
	return docs
}

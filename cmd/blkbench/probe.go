package main

import (
	"context"

	"github.com/blkbench/blkbench/uring"
)

// runProbe prints what io_uring can do here; exit code 1 when there is none.
func runProbe(_ context.Context, a *app, args []string) int {
	if len(args) > 0 {
		a.errorf("probe takes no argument, got '%s'", args[0])
		return exitUsage
	}
	p := uring.ProbeKernel()
	if p.Err != nil {
		a.printf("%s\n", p)
		return exitFailed
	}
	if err := p.WriteTable(a.stdout); err != nil {
		a.errorf("%v", err)
		return exitFailed
	}
	return exitOK
}

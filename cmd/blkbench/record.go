package main

import (
	"context"
	"os"
	"slices"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/log"
)

const recordLong = `Runs another verb and records every request that it makes to the nodes it opens, at the top of each graph, to TRACE: what a benchmark does, what
a conversion reads and writes, what the clients of a served export ask for. blkbench replay does it again elsewhere. The trace holds operations,
places, times and results, never data.

Without the verb, any graph can have the log filter where it is wanted: driver=log,trace=TRACE,file.driver=…`

// recorder is where the graphs of this process are recorded to; nil: nowhere.
var recorder *log.Recorder

// recorded lets a registry record, where that is asked for.
func recorded(g *engine.Registry) *engine.Registry {
	if rec := recorder; rec != nil {
		g.Outermost = func(root *engine.Ref) (engine.Node, error) { return log.New(root, rec) }
	}
	return g
}

// runRecord runs a verb and records what it does.
func runRecord(ctx context.Context, a *app, args []string) int {
	if len(args) < 2 || args[0] == "-h" || args[0] == "--help" {
		if len(args) == 1 && args[0] != "-h" && args[0] != "--help" || len(args) == 0 {
			a.errorf("record takes the name of the trace, and a verb with its arguments")
			return exitUsage
		}
		return a.help([]string{"record"})
	}
	if args[1] == "record" || !slices.ContainsFunc(verbs, func(v verb) bool { return v.name == args[1] }) {
		a.errorf("record runs a verb, and '%s' is none that it can", args[1])
		return exitUsage
	}
	if st, err := os.Stat(args[0]); err == nil && !st.Mode().IsRegular() {
		a.errorf("%s: a trace is a regular file", args[0])
		return exitUsage
	}
	recorder = log.NewRecorder(args[0])
	defer func() { recorder = nil }()
	if err := recorder.Hold(); err != nil {
		a.errorf("%v", err)
		return exitFailed
	}
	code := a.dispatch(ctx, args[1:])
	if err := recorder.Release(); err != nil {
		a.errorf("%s: %v", args[0], err)
		code = max(code, exitFailed)
	}
	return code
}

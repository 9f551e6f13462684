// Command blkbench measures storage, converts disk images and serves them. See the README, or `blkbench --help`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() { os.Exit(realMain(os.Args)) }

// realMain runs the verb that the command line names, or the one that the program's own name stands for, and returns the exit code.
func realMain(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	verbs = verbTable()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, prog: filepath.Base(args[0])}
	if v := linkVerb(a.prog); v != nil {
		a.link = true
		return v.run(ctx, a, args[1:])
	}
	return a.dispatch(ctx, args[1:])
}

// app is what a verb works with.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File
	prog           string // as messages begin
	link           bool   // called through a link that is named like a peer
}

func (a *app) errorf(format string, args ...any) {
	fmt.Fprintf(a.stderr, "%s: %s\n", a.prog, fmt.Sprintf(format, args...))
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// Exit codes of verbs under our own name; links have their peer's.
const (
	exitOK     = 0
	exitFailed = 1   // the work failed: an I/O error, a verification failure, an image that is damaged
	exitUsage  = 2   // the command line is wrong
	exitSignal = 130 // ended by Ctrl-C; a report was written
)

// dispatch finds the verb.
func (a *app) dispatch(ctx context.Context, args []string) int {
	if len(args) == 0 {
		a.writeHelp(a.stdout)
		return exitOK
	}
	switch args[0] {
	case "-h", "--help", "help":
		return a.help(args[1:])
	case "-V", "--version":
		args = []string{"version"}
	}
	for i := range verbs {
		if verbs[i].name == args[0] {
			return verbs[i].run(ctx, a, args[1:])
		}
	}
	msg := fmt.Sprintf("unknown verb '%s'", args[0])
	if near := nearestVerb(args[0]); near != "" {
		msg += fmt.Sprintf(", did you mean '%s'?", near)
	}
	a.errorf("%s (blkbench --help lists the verbs)", msg)
	return exitUsage
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/blkbench/blkbench/bench"
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/report"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// runRun measures: fio's job files and command line, or the quick preset without any argument.
func runRun(ctx context.Context, a *app, args []string) int {
	plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
	if err != nil {
		for _, line := range errorLines(err) {
			a.errorf("%s", line)
		}
		return exitUsage
	}
	if code, done := a.runInfo(plan); done {
		return code
	}
	if len(plan.Jobs) == 0 {
		if a.link {
			a.errorf("no job was given (fio --help)")
			return exitUsage
		}
		return a.quick(ctx, plan.Run)
	}
	return a.measure(ctx, plan, args)
}

// errorLines gives each of several errors a line of its own.
func errorLines(err error) []string {
	var list fiojob.ErrorList
	if !errors.As(err, &list) {
		return []string{err.Error()}
	}
	var lines []string
	for _, e := range list {
		lines = append(lines, e.Error())
	}
	return lines
}

// runInfo handles what only prints: --help, --version, --cmdhelp, --enghelp, --parse-only, --showcmd.
func (a *app) runInfo(plan *fiojob.Plan) (code int, done bool) {
	o := &plan.Run
	switch {
	case o.Version:
		a.printf("%s\n", report.FioVersion(version()))
	case o.Help:
		linkVerb("fio").writeHelp(a.stdout)
	case o.CmdHelp != "":
		return a.cmdHelp(o.CmdHelp), true
	case o.EngHelp != "":
		return a.engHelp(o.EngHelp), true
	case o.ShowCmd:
		a.printf("%s", plan.ShowCmd(a.prog))
	case o.ParseOnly:
	default:
		return 0, false
	}
	return exitOK, true
}

// measure runs a plan and writes the reports that it asks for.
func (a *app) measure(ctx context.Context, plan *fiojob.Plan, args []string) int {
	for _, w := range plan.Warnings {
		a.errorf("warning: %s", w)
	}
	for _, n := range plan.Notes {
		a.errorf("note: %s", n)
	}
	page, err := createPage(plan.Run.Report)
	if err != nil {
		a.errorf("%v", err)
		return exitFailed
	}
	defer func() {
		if page != nil {
			page.discard()
		}
	}()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	cfg := bench.Config{
		Env:     &engine.Env{Registry: newRegistry(), References: engine.ReferencesAllow, AllowDestroy: plan.Run.AllowDestroy},
		Plan:    plan,
		Version: version(),
	}
	w, err := a.watch(&plan.Run, &cfg)
	if err != nil {
		a.errorf("%v", err)
		return exitUsage
	}
	out, closeOut, err := a.output(plan.Run.Output)
	if err != nil {
		w.close()
		a.errorf("%v", err)
		return exitFailed
	}
	cfg.Warn = func(msg string) { w.above(func() { a.errorf("%s", msg) }) }
	if every := plan.Run.StatusInterval; every > 0 {
		cfg.StatusEvery = every
		cfg.Status = func(res *result.Run) {
			w.above(func() {
				if err := a.writeReports(out, plan, res); err != nil {
					a.errorf("%v", err)
				}
			})
		}
	}
	res, err := bench.Run(ctx, cfg)
	w.close()
	code := exitOK
	if err != nil {
		a.errorf("%v", err)
		code = exitFailed
	}
	if res != nil {
		res.Command = append([]string{"blkbench", "run"}, args...)
		if werr := a.writeReports(out, plan, res); werr != nil {
			a.errorf("%v", werr)
			code = exitFailed
		}
		if page != nil {
			if werr := page.write(func(w io.Writer) error { return report.HTML(w, res) }); werr != nil {
				a.errorf("%v", werr)
				code = exitFailed
			}
			page = nil
		}
		if res.Interrupted {
			code = exitSignal
		}
	}
	if err := closeOut(); err != nil {
		a.errorf("%v", err)
		code = exitFailed
	}
	return code
}

// createPage opens where the HTML report goes, before anything is measured: a place that cannot be written to is no news to have after it.
func createPage(name string) (*completeFile, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no page was asked for
	}
	return createComplete(name)
}

// output opens where the report goes.
func (a *app) output(name string) (io.Writer, func() error, error) {
	if name == "" {
		return a.stdout, func() error { return nil }, nil
	}
	f, err := createComplete(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.commit, nil
}

func (a *app) writeReports(w io.Writer, plan *fiojob.Plan, res *result.Run) error {
	formats := plan.Run.Formats
	if len(formats) == 0 {
		formats = []string{"summary"}
		if a.link || plan.Run.Output != "" {
			formats = []string{"normal"}
		}
	}
	for _, f := range formats {
		if err := a.writeFormat(w, f, plan.Run.TerseVersion, res); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeFormat(w io.Writer, format string, terse int, res *result.Run) error {
	switch format {
	case "summary":
		return report.Summary(w, res, terminalWidth(a.stdout), isTerminal(a.stdout) && os.Getenv("NO_COLOR") == "")
	case "normal":
		return errors.Join(report.Header(w, res), report.Normal(w, res))
	case "terse":
		return report.Terse(w, res, cmp.Or(terse, 3))
	case "json":
		return report.JSON(w, res, report.JSONOptions{})
	case "json+":
		return report.JSON(w, res, report.JSONOptions{Bins: true})
	}
	return fmt.Errorf("unknown output format '%s'", format)
}

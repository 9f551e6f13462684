package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/player"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/engine/trace"
)

const replayLong = `Does the requests of a trace again on TARGET: a trace of blkbench record or of the log filter, or a fio iolog of version 2 or 3. With its original
timing unless --speed says otherwise, and with its own timing error in the report: how much later than due requests were handed to the
target.

A trace that writes, discards or zeroes destroys data: --writes allows it, --reads-only leaves those requests out. Block devices must be named
by --allow-destroy besides.`

// replayArgs is the grammar of `blkbench replay`.
type replayArgs struct {
	Trace        string   `arg:"" help:"the trace, or a fio iolog"`
	Target       string   `arg:"" optional:"" help:"a path, a URI, json:{…} or driver=…"`
	Speed        string   `default:"1" help:"1 as recorded, 2 twice as fast, 0.5 half as fast, max as fast as possible"`
	Depth        int      `default:"256" help:"requests in flight at most"`
	Node         int      `default:"-1" help:"only the requests to this node of the trace, counted from 0"`
	Writes       bool     `help:"do what changes data, too"`
	ReadsOnly    bool     `name:"reads-only" help:"leave out what changes data"`
	Wrap         bool     `help:"take places past the target's end modulo its size"`
	Direct       bool     `help:"bypass the page cache"`
	Format       string   `short:"f" placeholder:"FORMAT" help:"format of the target; a path is taken as it is without"`
	ToIolog      string   `placeholder:"FILE" help:"write the trace as a fio iolog of version 3 to FILE instead"`
	JSON         bool     `name:"json" help:"print the report as JSON"`
	AllowDestroy []string `placeholder:"DEVICE" help:"overwrite DEVICE although it holds data"`
}

// runReplay plays a trace.
func runReplay(ctx context.Context, a *app, args []string) int {
	var o replayArgs
	if code, done := a.parse("replay", &o, args); done {
		return code
	}
	if err := o.run(ctx, a); err != nil {
		a.errorf("%v", err)
		if errors.Is(err, errUsage) {
			return exitUsage
		}
		if errors.Is(err, context.Canceled) {
			return exitSignal
		}
		return exitFailed
	}
	return exitOK
}

var errUsage = errors.New("usage")

func (o *replayArgs) run(ctx context.Context, a *app) error {
	list, names, err := o.load()
	if err != nil {
		return fmt.Errorf("%s: %w", o.Trace, err)
	}
	if o.ToIolog != "" {
		return writeFile(o.ToIolog, func(w io.Writer) error { return player.WriteIolog(w, list, names) })
	}
	speed, err := o.speed()
	if err != nil {
		return err
	}
	if o.Target == "" {
		return fmt.Errorf("%w: a target is missing", errUsage)
	}
	if list, err = o.choose(list, names); err != nil {
		return err
	}
	sum := player.Summarize(list)
	ref, err := o.open(ctx, a, sum.Changes())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	res, err := player.Play(ctx, ref, list, player.Config{Speed: speed, Depth: o.Depth, Wrap: o.Wrap})
	err = errors.Join(err, ref.Close())
	if res == nil {
		return err
	}
	if o.JSON {
		err = errors.Join(err, printReplayJSON(a.stdout, res, speed))
	} else {
		printReplay(a.stdout, res, speed)
	}
	if res.Errors > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed that the recording has no error for; the first: %w", res.Errors, res.First))
	}
	return err
}

func (o *replayArgs) load() ([]trace.Entry, []string, error) {
	f, err := os.Open(o.Trace)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return player.Load(f)
}

func (o *replayArgs) speed() (float64, error) {
	if o.Speed == "max" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(o.Speed, 64)
	if err != nil || !(v > 0 && v <= 1e6) {
		return 0, fmt.Errorf("%w: --speed=%s: want a number above 0, or max", errUsage, o.Speed)
	}
	return v, nil
}

// choose leaves out what is not to be played.
func (o *replayArgs) choose(list []trace.Entry, names []string) ([]trace.Entry, error) {
	if o.Node < 0 && len(names) > 1 {
		return nil, fmt.Errorf("%w: the trace has %d nodes (%q): choose one by --node", errUsage, len(names), names)
	}
	if o.Node >= len(names) {
		return nil, fmt.Errorf("%w: the trace has %d nodes", errUsage, len(names))
	}
	var out []trace.Entry
	for i := range list {
		e := &list[i]
		changes := e.Op == trace.Write || e.Op == trace.Discard || e.Op == trace.Zero
		switch {
		case o.Node >= 0 && int(e.Node) != o.Node:
		case changes && o.ReadsOnly:
		case changes && !o.Writes:
			return nil, fmt.Errorf("%w: the trace changes data: allow it by --writes, or leave that out by --reads-only", errUsage)
		default:
			out = append(out, *e)
		}
	}
	return out, nil
}

func (o *replayArgs) open(ctx context.Context, a *app, writes bool) (*engine.Ref, error) {
	env := &engine.Env{
		Registry: newRegistry(), References: engine.ReferencesAllow, AllowDestroy: o.AllowDestroy,
		Warn: func(msg string) { a.errorf("%s", msg) },
	}
	t, err := opts.ParseTarget(o.Target)
	if err != nil {
		return nil, err
	}
	flags := engine.OpenFlags{Write: writes, Discard: true, Cache: engine.Cache{Direct: o.Direct}}
	if o.Format != "" {
		return env.OpenTree(ctx, t, o.Target, o.Format, flags)
	}
	return env.Open(ctx, t, flags)
}

// lateness is the timing error of a replay, in nanoseconds.
type lateness struct {
	P50, P99, P999, Max uint64
	Mean                float64
}

func latenessOf(h *hist.Hist) lateness {
	return lateness{h.Percentile(50), h.Percentile(99), h.Percentile(99.9), h.Max(), h.Mean()}
}

func printReplay(w io.Writer, res *player.Result, speed float64) {
	seconds := res.Elapsed.Seconds()
	fmt.Fprintf(w, "%-8s %12s %12s %14s %10s %10s %10s\n", "", "requests", "IOPS", "bandwidth", "p50", "p99", "max")
	for op := range res.Ops {
		s := &res.Ops[op]
		if s.Count == 0 {
			continue
		}
		ns := func(v uint64) string { return time.Duration(v).Round(100 * time.Nanosecond).String() }
		fmt.Fprintf(w, "%-8s %12d %12.0f %10.1f MiB/s %10s %10s %10s\n", trace.Op(op), s.Count, float64(s.Count)/seconds, float64(s.Bytes)/seconds/(1<<20),
			ns(s.Latency.Percentile(50)), ns(s.Latency.Percentile(99)), ns(s.Latency.Max()))
	}
	fmt.Fprintf(w, "took     %v", res.Elapsed.Round(time.Microsecond))
	if speed == 0 {
		fmt.Fprint(w, ", as fast as possible\n")
		return
	}
	l := latenessOf(&res.Late)
	fmt.Fprintf(w, "; the trace has %v at speed %g\n", res.Traced.Round(time.Microsecond), speed)
	fmt.Fprintf(w, "timing   requests were issued late by %v on average, p50 %v, p99 %v, p99.9 %v, at most %v\n", time.Duration(l.Mean).Round(10*time.Nanosecond),
		time.Duration(l.P50), time.Duration(l.P99), time.Duration(l.P999), time.Duration(l.Max))
	if res.Held > 0 {
		fmt.Fprintf(w, "         %d of them because all of the depth was in flight: the target is slower than the recorded one, or --depth too small\n", res.Held)
	}
}

func printReplayJSON(w io.Writer, res *player.Result, speed float64) error {
	type op struct {
		Requests uint64   `json:"requests"`
		Bytes    uint64   `json:"bytes"`
		IOPS     float64  `json:"iops"`
		Latency  lateness `json:"latency_ns"`
	}
	out := struct {
		Speed   float64       `json:"speed"`
		Elapsed int64         `json:"elapsed_ns"`
		Traced  int64         `json:"traced_ns"`
		Ops     map[string]op `json:"ops"`
		Late    *lateness     `json:"timing_error_ns,omitempty"`
		Held    uint64        `json:"held"`
		Errors  uint64        `json:"errors"`
	}{Speed: speed, Elapsed: int64(res.Elapsed), Traced: int64(res.Traced), Ops: map[string]op{}, Held: res.Held, Errors: res.Errors}
	for i := range res.Ops {
		if s := &res.Ops[i]; s.Count > 0 {
			out.Ops[trace.Op(i).String()] = op{s.Count, s.Bytes, float64(s.Count) / max(res.Elapsed.Seconds(), 1e-9), latenessOf(&s.Latency)}
		}
	}
	if speed > 0 {
		l := latenessOf(&res.Late)
		out.Late = &l
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

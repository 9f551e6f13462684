package null

import (
	"context"
	"time"

	"github.com/blkbench/blkbench/engine"
)

// Options of the driver.
type Options struct {
	Size       int64  `opt:"size" kind:"size" default:"1G" min:"0" help:"size of the target"`
	Latency    int64  `opt:"latency-ns" default:"0" min:"0" help:"how long each request takes, in nanoseconds"`
	Jitter     int64  `opt:"latency-jitter-ns" default:"0" min:"0" help:"what is added to the latency at random, in nanoseconds: at most this (uniform), its deviation (normal) or its mean (exp)"`
	Shape      string `opt:"latency-distribution" default:"uniform" enum:"uniform,normal,exp" help:"the distribution of the jitter"`
	Seed       int64  `opt:"seed" default:"1" help:"of the jitter"`
	ReadZeroes bool   `opt:"read-zeroes" default:"on" help:"reads give zeroes; off: buffers stay as they are"`
}

// Driver is the entry for a registry.
func Driver() engine.Driver {
	d := engine.Driver{Name: "null-co", Aliases: []string{"null-aio"}, Kind: engine.KindProtocol, Help: "completes every request without doing it"}
	return engine.Define(d, func(_ context.Context, r *engine.OpenRequest, o *Options) (engine.Node, error) {
		return New(*o, r.Flags.Write), nil
	}, func(context.Context, *engine.CreateRequest, *engine.NoOptions) error { return nil })
}

// Node is a null target.
type Node struct {
	o     Options
	write bool
}

// New makes a target.
func New(o Options, write bool) *Node { return &Node{o, write} }

// Info says what the target can do: everything.
func (n *Node) Info() engine.Info {
	caps := engine.CapVolatile | engine.CapDiscard | engine.CapZero | engine.CapUnmapZero | engine.CapFUA
	if n.write {
		caps |= engine.CapWritable
	}
	return engine.Info{Driver: "null-co", Filename: "null-co://", Caps: caps}
}

// Size is the size in bytes.
func (n *Node) Size() int64 { return n.o.Size }

func (n *Node) pause(ctx context.Context) error {
	if n.o.Latency == 0 && n.o.Jitter == 0 {
		return nil
	}
	t := time.NewTimer(time.Duration(newDelays(&n.o).next()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReadAt gives zeroes, or nothing.
func (n *Node) ReadAt(ctx context.Context, p []byte, _ int64) error {
	if n.o.ReadZeroes {
		clear(p)
	}
	return n.pause(ctx)
}

// WriteAt forgets p.
func (n *Node) WriteAt(ctx context.Context, _ []byte, _ int64, _ engine.WriteFlags) error {
	return n.pause(ctx)
}

// Discard does nothing, for as long as a request takes.
func (n *Node) Discard(ctx context.Context, _, _ int64) error { return n.pause(ctx) }

// WriteZeroes does nothing, for as long as a request takes.
func (n *Node) WriteZeroes(ctx context.Context, _, _ int64, _ engine.WriteFlags) error {
	return n.pause(ctx)
}

// Flush does nothing, for as long as a request takes.
func (n *Node) Flush(ctx context.Context) error { return n.pause(ctx) }

// Extents is one run.
func (n *Node) Extents(_ context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	flags := engine.ExtentAllocated | engine.ExtentData
	if n.o.ReadZeroes {
		flags = engine.ExtentAllocated | engine.ExtentZero
	}
	return append(dst, engine.Extent{Off: off, Len: length, Flags: flags}), nil
}

// Close has nothing to give back.
func (n *Node) Close() error { return nil }

package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

type benchOptions struct {
	helpOption
	Count   *string `short:"c" arg:"COUNT" help:"number of requests (75000)"`
	Depth   *string `short:"d" arg:"DEPTH" help:"requests in flight (64)"`
	Format  *string `short:"f" arg:"FORMAT" help:"format of the image"`
	Flush   *string `long:"flush-interval" arg:"N" help:"a flush every so many writes"`
	AIO     *string `short:"i" arg:"AIO" help:"how requests reach the kernel: threads, native or io_uring"`
	Native  bool    `short:"n" help:"-i native"`
	NoDrain bool    `long:"no-drain" help:"do not wait for the writes before a flush"`
	Offset  *string `short:"o" arg:"OFFSET" help:"where to start"`
	Pattern *string `long:"pattern" arg:"BYTE" help:"what is written (0)"`
	Size    *string `short:"s" arg:"SIZE" help:"bytes per request (4096)"`
	Step    *string `short:"S" arg:"STEP" help:"distance between requests (the size)"`
	Cache   *string `short:"t" arg:"CACHE" help:"cache mode (writeback)"`
	Write   bool    `short:"w" help:"write"`
	quietOption
	objectOption
	imageOption
	shareOption
}

func benchVerb() command {
	return define("bench", "FILENAME", "times requests of one size in a row",
		"For anything more there is blkbench run.", bench)
}

// benchRun is what a run of bench does.
type benchRun struct {
	count, depth, size, step, offset int64
	flush                            int64
	pattern                          byte
	write, noDrain                   bool
}

func (c *call) benchRun(o *benchOptions) (b benchRun, flags engine.OpenFlags, ok bool) {
	b = benchRun{count: 75000, depth: 64, size: 4096, write: o.Write, noDrain: o.NoDrain}
	integer := func(what string, s *string, dst *int64, high int64) bool {
		if s == nil {
			return true
		}
		n, err := strconv.ParseInt(*s, 0, 64)
		if err != nil || n < 0 || n > high {
			c.errorf("Invalid %s specified", what)
			return false
		}
		*dst = n
		return true
	}
	size := func(what string, s *string, dst *int64, high int64) bool {
		if s == nil {
			return true
		}
		n, ok := c.numberIn(what, *s, 0, high)
		*dst = n
		return ok
	}
	var pattern int64
	flags = engine.OpenFlags{Write: o.Write, ForceShare: o.ForceShare}
	if o.Native {
		flags.AIO = "native"
	}
	if o.AIO != nil {
		if !slices.Contains([]string{"threads", "native", "io_uring"}, *o.AIO) {
			c.errorf("Invalid aio option: %s", *o.AIO)
			return b, flags, false
		}
		flags.AIO = *o.AIO
	}
	if !integer("request count", o.Count, &b.count, math.MaxInt32) || !integer("queue depth", o.Depth, &b.depth, math.MaxInt32) ||
		!size("offset", o.Offset, &b.offset, math.MaxInt64) || !size("buffer size", o.Size, &b.size, math.MaxInt32) ||
		!size("step_size", o.Step, &b.step, math.MaxInt32) || !integer("pattern byte", o.Pattern, &pattern, 255) ||
		!integer("flush interval", o.Flush, &b.flush, math.MaxInt32) {
		return b, flags, false
	}
	b.pattern = byte(pattern)
	if o.Cache != nil {
		m, known := engine.CacheModes[*o.Cache]
		if !known {
			c.errorf("Invalid cache mode")
			return b, flags, false
		}
		flags.Cache = m
	}
	return b, flags, true
}

func bench(ctx context.Context, c *call, o *benchOptions) int {
	b, flags, ok := c.benchRun(o)
	if !ok {
		return exitFailed
	}
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	switch {
	case !b.write && b.flush > 0:
		return c.fail("--flush-interval is only available in write tests")
	case b.flush > 0 && b.flush < b.depth:
		return c.fail("Flush interval can't be smaller than depth")
	case b.depth == 0 || b.depth > engine.MaxDepth:
		return c.fail("Invalid queue depth specified")
	}
	if flags.AIO == "native" && !flags.Cache.Direct {
		return c.fail("Could not open '%s': aio=native was specified, but it requires cache.direct=on, which was not specified.", c.args[0])
	}
	ref, ok := c.openImage(ctx, &Image{Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: flags})
	if !ok {
		return exitFailed
	}
	if b.step == 0 {
		b.step = b.size
	}
	what := "read"
	if b.write {
		what = "write"
	}
	c.printf("Sending %d %s requests, %d bytes each, %d in parallel (starting at offset %d, step size %d)\n",
		b.count, what, b.size, b.depth, b.offset, b.step)
	if b.flush > 0 {
		drained := ""
		if !b.noDrain {
			drained = "drained "
		}
		c.printf("Sending %sflush every %d requests\n", drained, b.flush)
	}
	took, err := b.run(ctx, ref)
	if err != nil {
		_ = ref.Close()
		return c.fail("Failed request: %s", Reason(err))
	}
	c.printf("Run completed in %3.3f seconds.\n", took.Seconds())
	return c.close(ref)
}

// benchMemory bounds the buffers: requests beyond it share them, which is no matter where nobody looks at the data.
const benchMemory = 128 << 20

// run sends the requests over a Path of its own.
func (b *benchRun) run(ctx context.Context, ref *engine.Ref) (took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bufs := int64(1)
	if b.size > 0 {
		bufs = max(1, min(b.depth, benchMemory/b.size))
	}
	unit := (max(b.size, 1) + dma.PageSize - 1) &^ (dma.PageSize - 1)
	arena, err := dma.New(dma.Config{Size: int(bufs * unit)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, arena.Close()) }()
	h, err := arena.Alloc(int(bufs * unit))
	if err != nil {
		return 0, err
	}
	if mem := arena.Bytes(h, int(bufs*unit)); b.write {
		for i := range mem {
			mem[i] = b.pattern
		}
	}
	path, err := engine.OpenPath(ctx, ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: int(b.depth) + 1, Arenas: []*dma.Arena{arena}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, path.Close()) }()
	reqs := make([]engine.Request, b.depth)
	free := make([]*engine.Request, 0, b.depth)
	for i := range reqs {
		reqs[i].Buf = h.Add(uint32(int64(i) % bufs * unit))
		free = append(free, &reqs[i])
	}
	start := time.Now()
	err = b.loop(ctx, path, ref.Size(), free)
	return time.Since(start), err
}

// loop keeps requests in flight. The offset starts anew when it reaches the end of the image.
func (b *benchRun) loop(ctx context.Context, path *engine.Path, size int64, free []*engine.Request) error {
	op := engine.OpRead
	if b.write {
		op = engine.OpWrite
	}
	flush := &engine.Request{Op: engine.OpFlush}
	flushing, sinceFlush := false, int64(0)
	off, sent, batch := b.offset, int64(0), make([]*engine.Request, 0, b.depth)
	done := make([]*engine.Request, b.depth)
	for {
		held := flushing && !b.noDrain
		due := b.flush > 0 && sinceFlush >= b.flush
		for !held && !due && sent < b.count && len(free) > 0 {
			r := free[len(free)-1]
			free = free[:len(free)-1]
			r.Op, r.Off, r.Len = op, off, uint32(b.size)
			if off += b.step; size > 0 {
				off %= size
			}
			batch = append(batch, r)
			sent++
			sinceFlush++
			due = b.flush > 0 && sinceFlush >= b.flush
		}
		if n := path.Submit(batch); n > 0 {
			batch = batch[:copy(batch, batch[n:])]
		}
		if due && !flushing && len(batch) == 0 && (b.noDrain || path.InFlight() == 0) {
			if path.Submit([]*engine.Request{flush}) == 1 {
				flushing, sinceFlush = true, 0
			}
		}
		if path.InFlight() == 0 && sent == b.count && len(batch) == 0 {
			return nil
		}
		n := path.Poll(done)
		for _, r := range done[:n] {
			if err := r.Err(); err != nil {
				return err
			}
			if r == flush {
				flushing = false
				continue
			}
			free = append(free, r)
		}
		if n == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%w", unix.ECANCELED)
			}
			if err := path.Wait(100 * time.Millisecond); err != nil {
				return err
			}
		}
	}
}

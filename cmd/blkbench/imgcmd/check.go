package imgcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/blkbench/blkbench/engine"
)

type checkFlags struct {
	helpOption
	Format *string `long:"format" short:"f" arg:"FORMAT" help:"format of the image; probed where absent"`
	Repair *string `long:"repair" short:"r" arg:"leaks|all" help:"repair leaked clusters, or everything; the format must be given by -f under our own name"`
	Output *string `long:"output" arg:"human|json" help:"what to print"`
	Cache  *string `short:"T" arg:"CACHE" help:"cache mode of the image: writeback, none, writethrough, directsync, unsafe"`
	quietOption
	objectOption
	imageOption
	shareOption
}

// Exit codes of check.
const (
	exitCorrupt     = 2
	exitLeaks       = 3
	exitCannotCheck = 63
)

func checkVerb() command {
	return define("check", "FILENAME", "verifies an image, and repairs it",
		"Exit code: 0 clean, 1 the check could not be completed, 2 corruption, 3 leaked clusters only, 63 the format has no check.", check)
}

func check(ctx context.Context, c *call, o *checkFlags) int {
	opt := engine.CheckOptions{Report: func(line string) { fmt.Fprintln(c.env.Stderr, line) }}
	switch deref(o.Repair) {
	case "leaks":
		opt.FixLeaks = true
	case "all":
		opt.FixLeaks, opt.FixErrors = true, true
	default:
		if o.Repair != nil {
			return c.tryHelp("Unknown option value for -r (expecting 'leaks' or 'all'): %s", *o.Repair)
		}
	}
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	asJSON, ok := c.outputJSON(o.Output)
	if !ok {
		return exitFailed
	}
	img := &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts,
		Flags: engine.OpenFlags{Check: true, NoBacking: c.eng.References != engine.ReferencesAllow, Write: opt.FixLeaks, ForceShare: o.ForceShare},
	}
	if o.Cache != nil {
		var err error
		if img.Flags.Cache, err = ParseCache("source cache", *o.Cache); err != nil {
			return c.fail("%v", err)
		}
	}
	ref, ok := c.openImage(ctx, img)
	if !ok {
		return exitFailed
	}
	code := c.check(ctx, ref, img.Name, opt, asJSON)
	if err := ref.Close(); err != nil && code == exitOK {
		return c.fail("%v", err)
	}
	return code
}

func (c *call) check(ctx context.Context, ref *engine.Ref, name string, opt engine.CheckOptions, asJSON bool) int {
	checker, ok := ref.Node().(engine.Checker)
	if !ok {
		c.errorf("This image format does not support checks")
		return exitCannotCheck
	}
	r, err := checker.Check(ctx, opt)
	if err == nil && (r.CorruptionsFixed > 0 || r.LeaksFixed > 0) {
		if !asJSON {
			c.printf("The following inconsistencies were found and repaired:\n\n    %d leaked clusters\n    %d corruptions\n\n"+
				"Double checking the fixed image now...\n", r.LeaksFixed, r.CorruptionsFixed)
		}
		leaks, corruptions := r.LeaksFixed, r.CorruptionsFixed
		opt.FixLeaks, opt.FixErrors = false, false
		r, err = checker.Check(ctx, opt)
		r.LeaksFixed, r.CorruptionsFixed = leaks, corruptions
	}
	if err != nil {
		return c.fail("Check failed: %s", strerror(engine.Errno(err)))
	}
	switch {
	case c.quiet:
	case asJSON:
		if err := writeJSON(c.env.Stdout, checkJSON(&r, name, ref.Info().Driver)); err != nil {
			return c.fail("%v", err)
		}
	default:
		writeCheck(c.env.Stdout, &r)
	}
	switch {
	case r.CheckErrors > 0:
		return c.fail("Check failed")
	case r.Corruptions > 0:
		return exitCorrupt
	case r.Leaks > 0:
		return exitLeaks
	}
	return exitOK
}

func checkJSON(r *engine.CheckResult, name, format string) object {
	o := object{"filename": name, "format": format, "check-errors": r.CheckErrors}
	for key, n := range map[string]int64{
		"image-end-offset": r.ImageEndOffset, "corruptions": r.Corruptions, "leaks": r.Leaks, "corruptions-fixed": r.CorruptionsFixed,
		"leaks-fixed": r.LeaksFixed, "total-clusters": r.TotalClusters, "allocated-clusters": r.Allocated,
		"fragmented-clusters": r.Fragmented, "compressed-clusters": r.CompressedCount,
	} {
		if n != 0 {
			o[key] = n
		}
	}
	return o
}

func writeCheck(w io.Writer, r *engine.CheckResult) {
	if r.Corruptions == 0 && r.Leaks == 0 && r.CheckErrors == 0 {
		fmt.Fprintln(w, "No errors were found on the image.")
	}
	if r.Corruptions > 0 {
		fmt.Fprintf(w, "\n%d errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n", r.Corruptions)
	}
	if r.Leaks > 0 {
		fmt.Fprintf(w, "\n%d leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n", r.Leaks)
	}
	if r.CheckErrors > 0 {
		fmt.Fprintf(w, "\n%d internal errors have occurred during the check.\n", r.CheckErrors)
	}
	if r.TotalClusters != 0 && r.Allocated != 0 {
		of := func(n, total int64) float64 { return float64(n) * 100 / float64(total) }
		fmt.Fprintf(w, "%d/%d = %.2f%% allocated, %.2f%% fragmented, %.2f%% compressed clusters\n", r.Allocated, r.TotalClusters,
			of(r.Allocated, r.TotalClusters), of(r.Fragmented, r.Allocated), of(r.CompressedCount, r.Allocated))
	}
	if r.ImageEndOffset != 0 {
		fmt.Fprintf(w, "Image end offset: %d\n", r.ImageEndOffset)
	}
}

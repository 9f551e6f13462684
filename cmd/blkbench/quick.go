package main

import (
	"context"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// quick is the preset: sequential and random writing and reading of a temporary file in the current folder, about 20 s in all.
func (a *app) quick(ctx context.Context, run fiojob.RunOptions) int {
	size, err := quickSize(".")
	if err != nil {
		a.errorf("%v", err)
		return exitFailed
	}
	f, err := os.CreateTemp(".", ".blkbench-quick-*")
	if err != nil {
		a.errorf("the quick preset needs to write in the current folder: %v", err)
		return exitFailed
	}
	name := f.Name()
	defer os.Remove(name)
	direct := supportsDirect(name)
	f.Close()
	if !direct {
		a.errorf("note: this file system has no O_DIRECT: the page cache is measured too")
	}
	a.errorf("quick preset: %s temporary file in the current folder, 4 workloads, about 20 s (blkbench help run: everything else)",
		humanize.IBytes(uint64(size)))
	args := []string{
		"--filename=" + name, fmt.Sprintf("--size=%d", size), fmt.Sprintf("--direct=%d", b2i(direct)), "--ioengine=io_uring",
		"--time_based", "--runtime=4500ms", "--ramp_time=250ms", "--randrepeat=0", "--refill_buffers",
		"--name=sequential-write", "--rw=write", "--bs=1m", "--iodepth=8",
		"--name=sequential-read", "--stonewall", "--rw=read", "--bs=1m", "--iodepth=8",
		"--name=random-read", "--stonewall", "--rw=randread", "--bs=4k", "--iodepth=32",
		"--name=random-write", "--stonewall", "--rw=randwrite", "--bs=4k", "--iodepth=32",
	}
	plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
	if err != nil {
		a.errorf("%v", err)
		return exitFailed
	}
	plan.Run = run
	return a.measure(ctx, plan, nil)
}

// quickSize is 1 GiB, or a quarter of what is free where that is less.
func quickSize(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	size := min(int64(1<<30), free/4) &^ (1<<20 - 1)
	if size < 16<<20 {
		return 0, fmt.Errorf("the current folder has %s free: the quick preset needs 64 MiB", humanize.IBytes(uint64(free)))
	}
	return size, nil
}

func supportsDirect(name string) bool {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

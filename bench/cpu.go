package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// pin restricts the calling thread to the CPUs given; none means all.
func pin(cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("cpus_allowed %v: %w", cpus, err)
	}
	return nil
}

// priority sets nice value, I/O priority and NUMA policy of the calling thread. The thread ends with the worker, so nothing is undone.
func priority(c *fiojob.CPU) error {
	if c.Nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), c.Nice); err != nil {
			return fmt.Errorf("nice %d: %w", c.Nice, err)
		}
	}
	if prio := ioPriority(c); prio != 0 {
		const whoProcess = 1
		if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, uintptr(prio)); e != 0 {
			return fmt.Errorf("prioclass %d prio %d: %w", c.PrioClass, c.Prio, e)
		}
	}
	return nil
}

// ioPriority is the kernel's number for prio and prioclass; 0 for none.
func ioPriority(c *fiojob.CPU) int {
	if !c.PrioGiven && c.PrioClass == 0 {
		return 0
	}
	const classShift = 13
	class := c.PrioClass
	if class == 0 {
		class = 2 // best effort, as the kernel takes a priority without a class
	}
	return class<<classShift | c.Prio
}

// usage is what a thread has cost.
type usage struct {
	user, sys  time.Duration
	kernel     time.Duration // io_uring's threads that work for it
	ctx        uint64
	majf, minf uint64
}

func threadUsage() usage {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		return usage{}
	}
	return usage{
		user: time.Duration(ru.Utime.Nano()), sys: time.Duration(ru.Stime.Nano()),
		ctx: uint64(ru.Nvcsw + ru.Nivcsw), majf: uint64(ru.Majflt), minf: uint64(ru.Minflt),
	}
}

func (u usage) minus(o usage) usage {
	return usage{
		user: u.user - o.user, sys: u.sys - o.sys, kernel: u.kernel - o.kernel,
		ctx: u.ctx - o.ctx, majf: u.majf - o.majf, minf: u.minf - o.minf,
	}
}

// heapObjects is how many objects the process has allocated so far, exactly: it stops the world for some microseconds, which is why it is
// read before and after a measured window only.
func heapObjects() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// kernelThreads sums the CPU time of io_uring's kernel threads that work for a thread: the kernel names them iou-sqp-TID and iou-wrk-TID.
func kernelThreads(tid int) time.Duration {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0
	}
	var sum time.Duration
	suffix := fmt.Sprintf("-%d", tid)
	for _, t := range tasks {
		comm, err := os.ReadFile("/proc/self/task/" + t.Name() + "/comm")
		if err != nil || !bytes.HasPrefix(comm, []byte("iou-")) || !bytes.HasSuffix(bytes.TrimSpace(comm), []byte(suffix)) {
			continue
		}
		stat, err := os.ReadFile("/proc/self/task/" + t.Name() + "/schedstat")
		if err != nil {
			continue
		}
		var ns int64
		if _, err := fmt.Sscan(string(stat), &ns); err == nil {
			sum += time.Duration(ns)
		}
	}
	return sum
}

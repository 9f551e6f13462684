package nvmepci_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest/guest"
	"github.com/blkbench/blkbench/vfio/pci"
)

// figure is one measurement: I/O per second, and CPU time of the whole guest per I/O.
type figure struct{ iops, cpuMicros float64 }

func (f figure) String() string {
	return fmt.Sprintf("%7.0f IOPS, %5.1f us CPU per I/O", f.iops, f.cpuMicros)
}

// busyTime is the time that the guest's processors were not idle. proc(5)
func busyTime(t *testing.T) time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum int64
	for i, f := range strings.Fields(line)[1:8] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if i != 3 && i != 4 { // idle, iowait
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// measured runs count I/Os and divides.
func measured(t *testing.T, count int, f func()) figure {
	cpu, start := busyTime(t), time.Now()
	f()
	wall := time.Since(start)
	return figure{float64(count) / wall.Seconds(), float64((busyTime(t) - cpu).Microseconds()) / float64(count)}
}

// ours reads count blocks of 4 KiB in sequence through a Path.
func ours(t *testing.T, ref *engine.Ref, depth, count int, sleep bool) figure {
	var out figure
	pollerWith(t, ref, depth, true, func(p *engine.Path, a *dma.Arena) {
		h, err := a.Alloc(depth * 4096)
		if err != nil {
			t.Error(err)
			return
		}
		reqs, ptrs, done := make([]engine.Request, depth), make([]*engine.Request, depth), make([]*engine.Request, depth)
		for i := range reqs {
			reqs[i].Op, reqs[i].Len, reqs[i].Buf = engine.OpRead, 4096, h.Add(uint32(4096*i))
			ptrs[i] = &reqs[i]
		}
		blocks := int(ref.Size() / 4096)
		out = measured(t, count, func() {
			free, next, over := ptrs, 0, 0
			for over < count {
				n := min(len(free), count-next)
				for _, r := range free[:n] {
					r.Off = int64(next%blocks) * 4096
					next++
				}
				p.Submit(free[:n])
				if err := p.Kick(); err != nil {
					t.Error(err)
					return
				}
				if sleep {
					_ = p.Wait(time.Second)
				}
				free = done[:p.Poll(done)]
				over += len(free)
				for _, r := range free {
					if r.Err() != nil {
						t.Error(r.Err())
						return
					}
				}
			}
		})
	})
	return out
}

var fioIOPS = regexp.MustCompile(`"iops" : ([0-9.]+)`)

// TestGuestPerf compares three drivers on one device in one boot, in alternation. The figures are good for ratios only.
func TestGuestPerf(t *testing.T) {
	guest.Require(t)
	if os.Getenv("GUEST_PERF") != "1" {
		t.Skip("measures: set GUEST_PERF=1")
	}
	address, _ := guest.FindController(t, "PLAIN")
	bus := pci.Bus{}
	const count = 3000
	for round := range 2 {
		for _, depth := range []int{1, 32} {
			if err := bus.Bind(address); err != nil {
				t.Fatal(err)
			}
			for _, mode := range []string{"", ",interrupts=on"} {
				name := fmt.Sprintf(`json:{"driver":"nvme","device":"%s","namespace":1%s}`, address, jsonOptions(mode))
				ref, err := env().OpenName(t.Context(), name, "nvme", engine.OpenFlags{})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("round %d depth %2d blkbench%-15s %v", round, depth, mode, ours(t, ref, depth, count, true))
				if err := ref.Close(); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("round %d depth %2d qemu-img bench         %v", round, depth, measured(t, count, func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				out, err := exec.CommandContext(ctx, "qemu-img", "bench", "-c", fmt.Sprint(count), "-d", fmt.Sprint(depth), "-s", "4096", "-t", "none",
					"-f", "raw", "nvme://"+address+"/1").CombinedOutput()
				if ctx.Err() != nil {
					t.Log("qemu-img bench did not end within 20 s, as it sometimes does not at depth 32; its figure is void")
				} else if err != nil {
					t.Logf("its figure is void: %v: %s", err, out)
				}
			}))
			if err := bus.Unbind(address); err != nil {
				t.Fatal(err)
			}
			runtime.GC()
			var disk string
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				_, name := guest.FindController(t, "PLAIN")
				disk = "/dev/" + name + "n1"
				if _, err := os.Stat(disk); err == nil && name != "" {
					break
				}
			}
			var out []byte
			f := measured(t, count, func() {
				var err error
				out, err = exec.Command("fio", "--name=x", "--filename="+disk, "--direct=1", "--rw=read", "--bs=4k", "--ioengine=io_uring",
					"--fixedbufs", "--registerfiles", fmt.Sprintf("--iodepth=%d", depth), fmt.Sprintf("--io_size=%d", count*4096), "--size=64m", "--thread", "--output-format=json").CombinedOutput()
				if err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
			if m := fioIOPS.FindSubmatch(out); m != nil {
				f.iops, _ = strconv.ParseFloat(string(m[1]), 64)
			}
			t.Logf("round %d depth %2d fio io_uring           %v (CPU with start-up)", round, depth, f)
		}
	}
}

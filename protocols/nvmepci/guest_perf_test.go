package nvmepci_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
	"github.com/blkbench/blkbench/vfio/pci"
)

// figure is one measurement: I/O per second, and CPU time of the whole guest per I/O.
type figure struct{ iops, cpuMicros float64 }

// busyTime is the time that the guest's processors were not idle. proc(5)
func busyTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		panic(err) // a guest without /proc
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum int64
	for i, f := range strings.Fields(line)[1:8] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			panic(err)
		}
		if i != 3 && i != 4 { // idle, iowait
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

var iopsOf = regexp.MustCompile(`"iops" : ?([0-9.]+)`)

// TestGuestPerf compares three drivers on one device in one boot, in alternation: the same reads through whole programs, start-up
// included. The figures are good for ratios only. A line a measurement: round, depth, program, I/O per second, CPU microseconds per I/O.
func TestGuestPerf(t *testing.T) {
	guest.Require(t)
	rounds, err := strconv.Atoi(os.Getenv("GUEST_PERF"))
	if err != nil {
		t.Skip("measures: set GUEST_PERF to a number of rounds")
	}
	address, _ := guest.FindController(t, "PLAIN")
	bus := pci.Bus{}
	for round := range rounds {
		for _, c := range [][2]int{{1, 6000}, {32, 30000}} {
			depth, count := c[0], c[1]
			tell := func(name string, f figure) {
				fmt.Printf("guestperf %d %d %s %.1f %.2f\n", round, depth, name, f.iops, f.cpuMicros)
			}
			// What both fio and we understand.
			job := []string{"--name=x", "--rw=read", "--bs=4k", fmt.Sprintf("--iodepth=%d", depth), fmt.Sprintf("--io_size=%d", count*4096), "--size=64m", "--output-format=json"}
			if err := bus.Bind(address); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"blkbench", "blkbench-interrupts"} {
				target := "driver=nvme,device=" + address + ",namespace=1"
				if name != "blkbench" {
					target += ",interrupts=on"
				}
				if f, err := program(count, "blkbench", append([]string{"run", "--filename=" + target}, job...)...); err != nil {
					t.Error(err)
				} else {
					tell(name, f)
				}
			}
			if f, err := program(count, "qemu-img", "bench", "-c", fmt.Sprint(count), "-d", fmt.Sprint(depth), "-s", "4096", "-t", "none", "-f", "raw", "nvme://"+address+"/1"); err != nil {
				t.Logf("round %d, depth %d: void: %v", round, depth, err) // it does not always end at depth 32
			} else {
				tell("qemu-img", f)
			}
			if err := bus.Unbind(address); err != nil {
				t.Fatal(err)
			}
			var disk string
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				_, name := guest.FindController(t, "PLAIN")
				disk = "/dev/" + name + "n1"
				if _, err := os.Stat(disk); err == nil && name != "" {
					break
				}
			}
			f, err := program(count, "fio", append([]string{"--filename=" + disk, "--direct=1", "--ioengine=io_uring", "--fixedbufs", "--registerfiles", "--thread"}, job...)...)
			if err != nil {
				t.Error(err)
				continue
			}
			tell("fio", f)
		}
	}
}

// program measures a whole program that makes count I/Os. The rate is the one that it reports of its window, where it does.
func program(count int, name string, args ...string) (figure, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cpu, start := busyTime(), time.Now()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	wall := time.Since(start)
	if err != nil {
		return figure{}, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	f := figure{float64(count) / wall.Seconds(), float64((busyTime() - cpu).Microseconds()) / float64(count)}
	if m := iopsOf.FindSubmatch(out); m != nil {
		f.iops, err = strconv.ParseFloat(string(m[1]), 64)
	} else if m := ranFor.FindSubmatch(out); m != nil {
		var s float64
		s, err = strconv.ParseFloat(string(m[1]), 64)
		f.iops = float64(count) / s
	}
	return f, err
}

var ranFor = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

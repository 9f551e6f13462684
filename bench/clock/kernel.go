package clock

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// counterClocksources are the kernel clock sources that read the TSC
// themselves: with one of them in use the kernel has found it good.
var counterClocksources = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen"}

// kernelDistrust asks which clock source the kernel uses. Linux marks a TSC
// that its watchdog found unstable by going back to hpet or acpi_pm.
func kernelDistrust() string {
	b, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if err != nil {
		return "" // not mounted: CPUID and the comparison of cores decide
	}
	current := strings.TrimSpace(string(b))
	if slices.Contains(counterClocksources, current) {
		return ""
	}
	return "kernel keeps time with " + current
}

// monotonic is CLOCK_MONOTONIC in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// maxCores bounds how many cores compareCores visits.
const maxCores = 64

// compareCores anchors the counter on each core this process may run on and
// answers the largest distance between the lines' offsets, in nanoseconds, for
// the given rate. The distance includes the width of the brackets.
func compareCores(rate uint64) int64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if unix.SchedGetaffinity(0, &before) != nil || before.Count() < 2 {
		return 0
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	var lowest, highest int64
	first := anchor{}
	stride := max(1, before.Count()/maxCores)
	seen := 0
	for cpu := range len(before) * 64 {
		if !before.IsSet(cpu) {
			continue
		}
		if seen++; (seen-1)%stride != 0 {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if unix.SchedSetaffinity(0, &one) != nil {
			continue
		}
		a := takeAnchor()
		if first.nanos == 0 {
			first = a
			continue
		}
		off := a.nanos - first.nanos - scale(int64(a.ticks-first.ticks), rate)
		lowest, highest = min(lowest, off), max(highest, off)
	}
	return highest - lowest
}

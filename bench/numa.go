package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// memoryPolicy sets the NUMA placement of the calling thread: CPUs of the nodes, and where its memory comes from (set_mempolicy(2)).
func memoryPolicy(c *fiojob.CPU) error {
	if len(c.NUMANodes) > 0 {
		var cpus []int
		for _, n := range c.NUMANodes {
			list, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/node/node%d/cpulist", n))
			if err != nil {
				return fmt.Errorf("numa_cpu_nodes: node %d: %w", n, err)
			}
			more, err := parseCPUList(strings.TrimSpace(string(list)))
			if err != nil {
				return fmt.Errorf("numa_cpu_nodes: node %d: %w", n, err)
			}
			cpus = append(cpus, more...)
		}
		if err := pin(cpus); err != nil {
			return err
		}
	}
	if c.MemPolicy.Mode == fiojob.MemDefault {
		return nil
	}
	var mask [16]uint64
	for _, n := range c.MemPolicy.Nodes {
		if n < 0 || n >= 64*len(mask) {
			return fmt.Errorf("numa_mem_policy: node %d: want 0 to %d", n, 64*len(mask)-1)
		}
		mask[n/64] |= 1 << (n % 64)
	}
	ptr, bits := uintptr(0), uintptr(0)
	if len(c.MemPolicy.Nodes) > 0 {
		ptr, bits = uintptr(unsafe.Pointer(&mask)), uintptr(64*len(mask))
	}
	if _, _, e := unix.Syscall(unix.SYS_SET_MEMPOLICY, uintptr(c.MemPolicy.Mode), ptr, bits); e != 0 {
		return fmt.Errorf("numa_mem_policy: %w", e)
	}
	return nil
}

// parseCPUList reads the kernel's list format: 0-3,8,10-11.
func parseCPUList(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		lo, hi, ranged := strings.Cut(part, "-")
		a, err := strconv.Atoi(lo)
		if err != nil {
			return nil, fmt.Errorf("cpu list %q: %w", s, err)
		}
		b := a
		if ranged {
			if b, err = strconv.Atoi(hi); err != nil {
				return nil, fmt.Errorf("cpu list %q: %w", s, err)
			}
		}
		if b < a || b > 1<<16 {
			return nil, fmt.Errorf("cpu list %q: range %d-%d", s, a, b)
		}
		for c := a; c <= b; c++ {
			out = append(out, c)
		}
	}
	return out, nil
}

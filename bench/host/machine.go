package host

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/bench/result"
)

// Host reads the facts of the machine, as they are now.
func (s *System) Host() result.Host {
	h := result.Host{
		Hostname: s.text("proc/sys/kernel/hostname"), OS: s.osName(), Kernel: s.text("proc/sys/kernel/osrelease"), Arch: runtime.GOARCH,
		CPU: s.cpuModel(), Cores: countList(s.text("sys/devices/system/cpu/online")), Governor: s.governor(), Turbo: s.turbo(),
		Virtual: s.virtual(), NUMANodes: countList(s.text("sys/devices/system/node/online")),
	}
	if h.Cores == 0 {
		h.Cores = runtime.NumCPU()
	}
	const dir = "sys/devices/system/cpu/vulnerabilities"
	for _, n := range s.names(dir) {
		if v := s.text(dir, n); v != "" {
			h.Mitigations = append(h.Mitigations, result.KV{Key: n, Value: v})
		}
	}
	mem := s.meminfo()
	h.Memory, h.MemAvailable = mem["MemTotal"], mem["MemAvailable"]
	if f := strings.Fields(s.text("proc/loadavg")); len(f) > 0 {
		h.Load, _ = strconv.ParseFloat(f[0], 64) // zero where it is no number
	}
	h.Facts = s.facts(mem)
	return h
}

func (s *System) facts(mem map[string]uint64) (out []result.KV) {
	add := func(k, v string) {
		if v != "" {
			out = append(out, result.KV{Key: k, Value: v})
		}
	}
	if n := mem["HugePages_Total"]; n > 0 {
		add("huge pages", fmt.Sprintf("%d of %d KiB, %d free", n, mem["Hugepagesize"]/1024, mem["HugePages_Free"]))
	}
	add("transparent huge pages", chosen(s.text("sys/kernel/mm/transparent_hugepage/enabled")))
	switch s.text("sys/devices/system/cpu/smt/active") {
	case "1":
		add("hyper-threading", "on")
	case "0":
		add("hyper-threading", "off")
	}
	add("clock source", s.text("sys/devices/system/clocksource/clocksource0/current_clocksource"))
	add("isolated CPUs", s.text("sys/devices/system/cpu/isolated"))
	if l := s.cpuLimit(); l > 0 {
		add("cgroup CPU limit", strconv.FormatFloat(l, 'g', 3, 64)+" CPUs")
	}
	if l := s.memoryLimit(); l > 0 && l < mem["MemTotal"] {
		add("cgroup memory limit", fmt.Sprintf("%d MiB", l>>20))
	}
	switch s.text("proc/sys/kernel/io_uring_disabled") {
	case "1":
		add("kernel.io_uring_disabled", "1: for processes without CAP_SYS_ADMIN")
	case "2":
		add("kernel.io_uring_disabled", "2: for everybody")
	}
	if n := s.number("proc/sys/vm/swappiness"); n > 0 && mem["SwapTotal"] > 0 {
		add("swap", fmt.Sprintf("%d MiB", mem["SwapTotal"]>>20))
	}
	if strings.Contains(s.text("proc/cmdline"), "mitigations=off") {
		add("mitigations", "switched off on the kernel's command line")
	}
	return out
}

func (s *System) osName() string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		for _, l := range s.lines(name) {
			if v, ok := strings.CutPrefix(l, "PRETTY_NAME="); ok {
				return strings.Trim(v, `"'`)
			}
		}
	}
	return ""
}

// cpuModel is the name of the first processor; ARM kernels give no name, but numbers, or the name of the board.
func (s *System) cpuModel() string {
	info := map[string]string{}
	for _, l := range s.lines("proc/cpuinfo") {
		k, v, ok := strings.Cut(l, ":")
		k = strings.TrimSpace(k)
		if _, seen := info[k]; ok && !seen {
			info[k] = strings.TrimSpace(v)
		}
	}
	switch {
	case info["model name"] != "":
		return info["model name"]
	case s.text("sys/firmware/devicetree/base/model") != "":
		return strings.TrimRight(s.text("sys/firmware/devicetree/base/model"), "\x00")
	case info["CPU implementer"] != "":
		return fmt.Sprintf("ARM implementer %s part %s", info["CPU implementer"], info["CPU part"])
	}
	return ""
}

// governor is that of the CPUs, or all there are where they differ.
func (s *System) governor() string {
	var seen []string
	for _, n := range s.names("sys/devices/system/cpu/cpufreq") {
		if g := s.text("sys/devices/system/cpu/cpufreq", n, "scaling_governor"); g != "" && !slices.Contains(seen, g) {
			seen = append(seen, g)
		}
	}
	slices.Sort(seen)
	return strings.Join(seen, ", ")
}

func (s *System) turbo() string {
	for name, on := range map[string]string{"sys/devices/system/cpu/intel_pstate/no_turbo": "0", "sys/devices/system/cpu/cpufreq/boost": "1"} {
		switch s.text(name) {
		case "":
		case on:
			return "on"
		default:
			return "off"
		}
	}
	return ""
}

// virtual names the container around this process, and the hypervisor beneath.
func (s *System) virtual() string {
	var parts []string
	switch {
	case s.text("run/systemd/container") != "":
		parts = append(parts, s.text("run/systemd/container")+" container")
	case s.exists(".dockerenv"):
		parts = append(parts, "docker container")
	case s.exists("run/.containerenv"):
		parts = append(parts, "podman container")
	}
	vendor := strings.TrimSpace(s.text("sys/class/dmi/id/sys_vendor") + " " + s.text("sys/class/dmi/id/product_name"))
	switch {
	case s.text("sys/hypervisor/type") != "":
		parts = append(parts, s.text("sys/hypervisor/type")+" guest")
	case s.flag("hypervisor") && vendor != "":
		parts = append(parts, "virtual machine ("+vendor+")")
	case s.flag("hypervisor"):
		parts = append(parts, "virtual machine")
	}
	return strings.Join(parts, " in a ")
}

func (s *System) exists(name string) bool {
	f, err := s.Root.Open(name)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

func (s *System) flag(name string) bool {
	for _, l := range s.lines("proc/cpuinfo") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "flags" {
			return slices.Contains(strings.Fields(v), name)
		}
	}
	return false
}

// meminfo is in bytes, apart from the counts of huge pages.
func (s *System) meminfo() map[string]uint64 {
	out := map[string]uint64{}
	for _, l := range s.lines("proc/meminfo") {
		k, v, ok := strings.Cut(l, ":")
		f := strings.Fields(v)
		if !ok || len(f) == 0 {
			continue
		}
		n, err := strconv.ParseUint(f[0], 10, 54)
		if err != nil {
			continue
		}
		if len(f) > 1 && f[1] == "kB" {
			n *= 1024
		}
		out[k] = n
	}
	return out
}

// cgroup is the directory of this process's control group (version 2).
func (s *System) cgroup() string {
	for _, l := range s.lines("proc/self/cgroup") {
		if p, ok := strings.CutPrefix(l, "0::/"); ok {
			return strings.TrimSuffix("sys/fs/cgroup/"+p, "/")
		}
	}
	return ""
}

// cpuLimit is how many CPUs the control group may use, 0 where there is no limit.
func (s *System) cpuLimit() float64 {
	quota, period, ok := strings.Cut(s.text(s.cgroup(), "cpu.max"), " ")
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if !ok || err1 != nil || err2 != nil || p <= 0 {
		return 0
	}
	return q / p
}

func (s *System) memoryLimit() uint64 {
	n, err := strconv.ParseUint(s.text(s.cgroup(), "memory.max"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// countList counts the members of a list such as 0-3,8.
func countList(list string) (n int) {
	for part := range strings.SplitSeq(list, ",") {
		lo, hi, span := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.Atoi(lo)
		if err != nil {
			continue
		}
		if !span {
			n++
			continue
		}
		if b, err := strconv.Atoi(hi); err == nil && b >= a && b-a < 1<<20 {
			n += b - a + 1
		}
	}
	return n
}

// chosen is the word in brackets: [none] mq-deadline.
func chosen(s string) string {
	_, rest, ok := strings.Cut(s, "[")
	if !ok {
		return s
	}
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// CPUTimes are the CPU times of the machine since it started, in ticks.
type CPUTimes struct{ total, idle, steal uint64 }

// CPUTimes reads /proc/stat.
func (s *System) CPUTimes() (t CPUTimes) {
	for _, l := range s.lines("proc/stat") {
		f := strings.Fields(l)
		if len(f) < 5 || f[0] != "cpu" {
			continue
		}
		// proc(5): user nice system idle iowait irq softirq steal; guest times are within user and nice
		for i, v := range f[1:min(len(f), 9)] {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				continue
			}
			t.total += n
			switch i {
			case 3, 4:
				t.idle += n
			case 7:
				t.steal += n
			}
		}
		return t
	}
	return t
}

// Since is the share of CPU time that was used, and that the hypervisor took, since an earlier reading, in percent.
func (t CPUTimes) Since(old CPUTimes) (busy, steal float64) {
	if t.total <= old.total {
		return 0, 0
	}
	total := float64(t.total - old.total)
	idle := float64(t.idle) - float64(old.idle)
	taken := float64(t.steal) - float64(old.steal)
	return min(max((total-idle-taken)/total*100, 0), 100), min(max(taken/total*100, 0), 100)
}

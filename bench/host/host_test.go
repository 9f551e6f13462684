package host_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/host"
	"github.com/blkbench/blkbench/bench/result"
)

// files are the content of a machine's file system; a content that begins with an arrow is a symbolic link.
type files map[string]string

func (f files) with(more files) files {
	all := files{}
	maps.Copy(all, f)
	maps.Copy(all, more)
	return all
}

// machine is a made-up machine. Device numbers and sizes come from nodes.
func machine(t *testing.T, f files, nodes map[string]host.Stat) (*host.System, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, f)
	return &host.System{
		Root: os.DirFS(dir),
		Stat: func(name string) (host.Stat, error) {
			if s, ok := nodes[name]; ok {
				return s, nil
			}
			return host.Stat{}, fs.ErrNotExist
		},
		Resolve:   func(name string) (string, error) { return name, nil },
		Unwritten: func(string) (int64, error) { return 0, nil },
		Now:       time.Now,
	}, dir
}

func write(t *testing.T, dir string, f files) {
	t.Helper()
	for name, text := range f {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			_ = os.Remove(full)
			if err := os.Symlink(target, full); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const block = fs.ModeDevice

const mountinfo = "1 0 259:9 / / rw - ext4 /dev/sda1 rw\n" +
	"2 1 259:1 / /mnt/big\\040disk rw,relatime shared:2 master:1 - xfs /dev/nvme0n1p1 rw,attr2\n" +
	"3 1 0:50 / /dev/shm rw - tmpfs tmpfs rw\n" +
	"4 1 0:60 / /mnt/btrfs rw - btrfs /dev/nvme0n1p1 rw,compress=zstd:3\n" +
	"5 1 0:70 / /mnt/nfs rw - nfs4 server:/x rw\n" +
	"6 1 7:0 / /mnt/loop rw - ext4 /dev/loop0 rw\n" +
	"malformed\n"

const diskstats = "259 0 nvme0n1 100 1 1000 50 200 2 2000 60 0 70 110 0 0 0 0\n" +
	"253 0 dm-0 10 0 100 5 20 0 200 6 0 7 11 0 0 0 0\n"

var server = files{
	"etc/os-release":                       "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
	"proc/sys/kernel/hostname":             "bench1\n",
	"proc/sys/kernel/osrelease":            "6.1.0-32-amd64\n",
	"proc/cpuinfo":                         "processor\t: 0\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nmodel name\t: other\n",
	"proc/loadavg":                         "0.10 0.20 0.30 1/100 4711\n",
	"proc/meminfo":                         "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\nHugePages_Total:     512\nHugePages_Free:      500\nHugepagesize:       2048 kB\nSwapTotal: 1024 kB\n",
	"proc/stat":                            "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n",
	"proc/self/cgroup":                     "0::/user.slice\n",
	"sys/fs/cgroup/user.slice/cpu.max":     "max 100000\n",
	"sys/devices/system/cpu/online":        "0-31\n",
	"sys/devices/system/node/online":       "0-1\n",
	"sys/devices/system/cpu/smt/active":    "1\n",
	"sys/devices/system/cpu/cpufreq/boost": "1\n",

	"sys/devices/system/cpu/cpufreq/policy0/scaling_governor":         "performance\n",
	"sys/devices/system/cpu/cpufreq/policy1/scaling_governor":         "performance\n",
	"sys/devices/system/cpu/vulnerabilities/mds":                      "Not affected\n",
	"sys/devices/system/cpu/vulnerabilities/spectre_v2":               "Mitigation: Retpolines\n",
	"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
	"sys/kernel/mm/transparent_hugepage/enabled":                      "always [madvise] never\n",

	"sys/dev/block/259:0":       "-> ../../devices/pci0/nvme/nvme0/nvme0n1",
	"sys/dev/block/259:1":       "-> ../../devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p1",
	"sys/block/nvme0n1":         "-> ../devices/pci0/nvme/nvme0/nvme0n1",
	"sys/class/block/nvme0n1p1": "-> ../../devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p1",

	"sys/devices/pci0/nvme/nvme0/model":                       "ACME   Turbo 970   \n",
	"sys/devices/pci0/nvme/nvme0/serial":                      "S4EWNX0R\n",
	"sys/devices/pci0/nvme/nvme0/numa_node":                   "1\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/device":              "-> ../../nvme0",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/size":                "2147483648\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p1/partition": "1\n",

	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/rotational":          "0\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/scheduler":           "[none] mq-deadline\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/nr_requests":         "1023\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/write_cache":         "write through\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/logical_block_size":  "512\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/physical_block_size": "4096\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/max_sectors_kb":      "128\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/zoned":               "none\n",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/io_poll":             "0\n",

	"proc/self/mountinfo": mountinfo,
	"sys/dev/block/7:0":   "-> ../../devices/virtual/block/loop0",
	"sys/block/loop0":     "-> ../devices/virtual/block/loop0",

	"sys/devices/virtual/block/loop0/size":              "8\n",
	"sys/devices/virtual/block/loop0/loop/backing_file": "/images/a.img\n",

	"sys/dev/block/253:0": "-> ../../devices/virtual/block/dm-0",
	"sys/block/dm-0":      "-> ../devices/virtual/block/dm-0",

	"sys/devices/virtual/block/dm-0/size":             "16\n",
	"sys/devices/virtual/block/dm-0/dm/name":          "vg-lv\n",
	"sys/devices/virtual/block/dm-0/slaves/nvme0n1p1": "",

	"run/udev/data/b259:1": "S:disk/by-id/x\nE:ID_FS_TYPE=xfs\nE:ID_FS_LABEL=data\n",
	"run/udev/data/b259:0": "E:ID_PART_TABLE_TYPE=gpt\n",
	"proc/diskstats":       diskstats,
}

func nodes() map[string]host.Stat {
	const gib = 1 << 30
	return map[string]host.Stat{
		"/dev/nvme0n1":          {Mode: block, Major: 259, Minor: 0},
		"/dev/nvme0n1p1":        {Mode: block, Major: 259, Minor: 1},
		"/dev/dm-0":             {Mode: block, Major: 253, Minor: 0},
		"/dev/ng0n1":            {Mode: fs.ModeDevice | fs.ModeCharDevice, Major: 236},
		"/mnt/big disk/f":       {Major: 259, Minor: 1, Size: 4 * gib, Allocated: 4 * gib},
		"/mnt/big disk/holes":   {Major: 259, Minor: 1, Size: 4 * gib, Allocated: gib},
		"/mnt/big disk/small":   {Major: 259, Minor: 1, Size: gib / 2, Allocated: gib / 2},
		"/mnt/big disk/huge":    {Major: 259, Minor: 1, Size: 4000 * gib, Allocated: 4000 * gib},
		"/dev/shm/f":            {Minor: 50, Size: gib, Allocated: gib},
		"/mnt/btrfs/f":          {Minor: 60, Size: 2 * gib, Allocated: 2 * gib},
		"/mnt/nfs/f":            {Minor: 70, Size: 2 * gib, Allocated: 2 * gib},
		"/mnt/loop/f":           {Major: 7, Minor: 0, Size: 2 * gib, Allocated: 2 * gib},
		"/mnt/big diskette/odd": {Major: 1, Minor: 99, Size: gib, Allocated: gib},
	}
}

func TestHostFacts(t *testing.T) {
	s, _ := machine(t, server, nodes())
	h := s.Host()
	want := result.Host{
		Hostname: "bench1", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0-32-amd64", Arch: h.Arch, CPU: "AMD EPYC 9354", Cores: 32, Governor: "performance",
		Mitigations: []result.KV{{Key: "mds", Value: "Not affected"}, {Key: "spectre_v2", Value: "Mitigation: Retpolines"}},
		Memory:      65536000 << 10, MemAvailable: 60000000 << 10, NUMANodes: 2, Turbo: "on", Load: 0.1,
		Facts: []result.KV{{Key: "huge pages", Value: "512 of 2048 KiB, 500 free"}, {Key: "transparent huge pages", Value: "madvise"}, {Key: "hyper-threading", Value: "on"}, {Key: "clock source", Value: "tsc"}},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("\n got %+v\nwant %+v", h, want)
	}
}

func TestHostFactsOfOddMachines(t *testing.T) {
	for name, c := range map[string]struct {
		files files
		check func(h result.Host) bool
	}{
		"nothing at all":  {files{}, func(h result.Host) bool { return h.Cores > 0 && h.CPU == "" && h.Virtual == "" && len(h.Facts) == 0 }},
		"garbage":         {files{"proc/meminfo": "MemTotal: x kB\nfoo\nMemAvailable:", "proc/loadavg": "x", "proc/stat": "cpu a b c d e", "sys/devices/system/cpu/online": "3-1,x,5-", "proc/self/mountinfo": "- - -"}, func(h result.Host) bool { return h.Memory == 0 && h.Load == 0 }},
		"arm":             {files{"proc/cpuinfo": "processor : 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"}, func(h result.Host) bool { return h.CPU == "ARM implementer 0x41 part 0xd0c" }},
		"arm board":       {files{"sys/firmware/devicetree/base/model": "Some Board\x00"}, func(h result.Host) bool { return h.CPU == "Some Board" }},
		"kvm":             {server.with(files{"proc/cpuinfo": "flags : fpu hypervisor\n", "sys/class/dmi/id/sys_vendor": "QEMU\n", "sys/class/dmi/id/product_name": "Q35\n"}), func(h result.Host) bool { return h.Virtual == "virtual machine (QEMU Q35)" }},
		"xen":             {server.with(files{"sys/hypervisor/type": "xen\n"}), func(h result.Host) bool { return h.Virtual == "xen guest" }},
		"docker in kvm":   {files{".dockerenv": "", "proc/cpuinfo": "flags : hypervisor"}, func(h result.Host) bool { return h.Virtual == "docker container in a virtual machine" }},
		"docker":          {server.with(files{".dockerenv": ""}), func(h result.Host) bool { return h.Virtual == "docker container" }},
		"podman":          {server.with(files{"run/.containerenv": ""}), func(h result.Host) bool { return h.Virtual == "podman container" }},
		"nspawn":          {server.with(files{"run/systemd/container": "systemd-nspawn"}), func(h result.Host) bool { return h.Virtual == "systemd-nspawn container" }},
		"mixed governors": {server.with(files{"sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "powersave"}), func(h result.Host) bool { return h.Governor == "performance, powersave" }},
		"no turbo":        {files{"sys/devices/system/cpu/intel_pstate/no_turbo": "1"}, func(h result.Host) bool { return h.Turbo == "off" }},
		"limits": {server.with(files{"sys/fs/cgroup/user.slice/cpu.max": "150000 100000", "sys/fs/cgroup/user.slice/memory.max": "1073741824", "proc/cmdline": "quiet mitigations=off", "proc/sys/kernel/io_uring_disabled": "2", "sys/devices/system/cpu/isolated": "4-7", "sys/devices/system/cpu/smt/active": "0"}), func(h result.Host) bool {
			s := fmt.Sprint(h.Facts)
			return strings.Contains(s, "1.5 CPUs") && strings.Contains(s, "1024 MiB") && strings.Contains(s, "switched off") && strings.Contains(s, "for everybody") && strings.Contains(s, "4-7") && strings.Contains(s, "hyper-threading off")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := machine(t, c.files, nil)
			if h := s.Host(); !c.check(h) {
				t.Errorf("%+v", h)
			}
		})
	}
}

func target(t *testing.T, s *host.System, path string) result.Target {
	t.Helper()
	x := result.Target{Name: path, Path: path, Size: nodes()[path].Size}
	s.Target(&x)
	return x
}

func TestTargetFacts(t *testing.T) {
	s, _ := machine(t, server, nodes())
	nvme := &result.BlockDevice{
		Name: "nvme0n1", Model: "ACME Turbo 970", Serial: "S4EWNX0R", Size: 1 << 40, Scheduler: "none", NRRequests: 1023, WriteCache: "write through",
		Logical: 512, Physical: 4096, MaxKB: 128, NUMANode: 1,
	}
	for path, want := range map[string]result.Target{
		"/mnt/big disk/f": {FS: "xfs", Mount: "/mnt/big disk", MountOpts: "rw,relatime,attr2", Allocated: 4 << 30, Block: nvme},
		"/dev/nvme0n1":    {Block: nvme, Signature: "gpt partition table", Allocated: -1, Unwritten: -1},
		"/dev/nvme0n1p1":  {Block: nvme, Signature: `xfs "data"`, Allocated: -1, Unwritten: -1},
		"/dev/dm-0":       {Block: &result.BlockDevice{Name: "dm-0", Model: "vg-lv", Size: 8192, NUMANode: -1, Layers: []string{"nvme0n1p1"}}, Allocated: -1, Unwritten: -1},
		"/dev/shm/f":      {FS: "tmpfs", Mount: "/dev/shm", MountOpts: "rw", Allocated: 1 << 30, InMemory: true},
		"/mnt/btrfs/f":    {FS: "btrfs", Mount: "/mnt/btrfs", MountOpts: "rw,compress=zstd:3", Allocated: 2 << 30, Block: nvme},
		"/mnt/nfs/f":      {FS: "nfs4", Mount: "/mnt/nfs", MountOpts: "rw", Allocated: 2 << 30},
		"/mnt/loop/f":     {FS: "ext4", Mount: "/mnt/loop", MountOpts: "rw", Allocated: 2 << 30, Block: &result.BlockDevice{Name: "loop0", Model: "/images/a.img", Size: 4096, NUMANode: -1}},
		"/dev/ng0n1":      {Allocated: -1, Unwritten: -1},
		"/no/such/file":   {Allocated: -1, Unwritten: -1},
		// A neighbour whose name begins like a mount point is not on it.
		"/mnt/big diskette/odd": {FS: "ext4", Mount: "/", MountOpts: "rw", Allocated: 1 << 30},
	} {
		want.Name, want.Path, want.Size = path, path, nodes()[path].Size
		if got := target(t, s, path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v %+v\nwant %+v %+v", path, got, got.Block, want, want.Block)
		}
	}
}

func TestWatchCountsFromItsStart(t *testing.T) {
	s, dir := machine(t, server, nodes())
	now := time.Unix(1000, 0)
	s.Now = func() time.Time { return now }
	w := s.Watch([]result.Target{target(t, s, "/dev/nvme0n1p1"), target(t, s, "/mnt/big disk/f"), target(t, s, "/dev/dm-0"), target(t, s, "/dev/shm/f")})
	now = now.Add(2 * time.Second)
	write(t, dir, files{"proc/diskstats": "259 0 nvme0n1 150 3 1400 55 300 5 2600 75 0 1070 1110 0 0 0 0\n253 0 dm-0 14 0 132 7 25 0 240 8 0 5007 18 0 0 0 0\nshort\n"})
	nvme := result.DiskUtil{Name: "nvme0n1", ReadIOs: 50, WriteIOs: 100, ReadMerges: 2, WriteMerges: 3, ReadSectors: 400, WriteSectors: 600, ReadTicks: 5, WriteTicks: 15, InQueue: 1000, Util: 50}
	beneath := nvme
	beneath.Name = ""
	want := []result.DiskUtil{nvme, {Name: "dm-0", ReadIOs: 4, WriteIOs: 5, ReadSectors: 32, WriteSectors: 40, ReadTicks: 2, WriteTicks: 2, InQueue: 7, Util: 100, Aggregate: &beneath}}
	for range 2 {
		if got := w.Util(); !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
}

func TestCPUTimes(t *testing.T) {
	s, dir := machine(t, server, nil)
	before := s.CPUTimes()
	write(t, dir, files{"proc/stat": "cpu  200 0 150 750 110 0 0 40 0 0\n"})
	// 100 + 50 used, 50 + 10 idle, 40 taken: 250 in all
	if busy, steal := s.CPUTimes().Since(before); busy != 60 || steal != 16 {
		t.Errorf("busy %v, steal %v", busy, steal)
	}
	if busy, steal := before.Since(before); busy != 0 || steal != 0 {
		t.Errorf("no time: %v, %v", busy, steal)
	}
}

// TestThisMachine asks the real kernel; what every Linux has must be there.
func TestThisMachine(t *testing.T) {
	s := host.New()
	h := s.Host()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if want := unix.ByteSliceToString(u.Release[:]); h.Kernel != want {
		t.Errorf("kernel %q, want %q", h.Kernel, want)
	}
	if h.Memory == 0 || h.MemAvailable == 0 || h.Cores == 0 || h.Hostname == "" {
		t.Errorf("%+v", h)
	}
	name := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	x := result.Target{Path: name, Size: 8 << 20}
	s.Target(&x)
	if x.FS == "" || x.Mount == "" || x.Allocated < 1<<20 || x.Allocated > 4<<20 {
		t.Errorf("%+v", x)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 8<<20); err != nil {
		t.Skipf("requires a file system that preallocates: %v", err)
	}
	s.Target(&x)
	if !x.InMemory && x.Unwritten >= 0 && (x.Unwritten < 6<<20 || x.Unwritten > 7<<20) {
		t.Errorf("7 MiB of 8 were preallocated and not written; found %d", x.Unwritten)
	}
}

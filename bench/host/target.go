package host

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/bench/result"
)

// memoryFS are file systems whose files are in memory.
var memoryFS = map[string]bool{"tmpfs": true, "ramfs": true, "hugetlbfs": true, "devtmpfs": true}

// Target fills in what the kernel knows of the file or device t.Path: nothing, where it is empty or does not exist.
func (s *System) Target(t *result.Target) {
	if t.Path == "" {
		return
	}
	t.Allocated, t.Unwritten = -1, -1
	st, err := s.Stat(t.Path)
	if err != nil {
		return
	}
	if st.Mode&fs.ModeDevice != 0 && st.Mode&fs.ModeCharDevice == 0 {
		t.Block = s.block(st.Major, st.Minor)
		if t.Signature == "" {
			t.Signature = s.signature(st.Major, st.Minor)
		}
		if t.Block != nil && (strings.HasPrefix(t.Block.Name, "ram") || strings.HasPrefix(t.Block.Name, "zram") || strings.HasPrefix(t.Block.Name, "pmem")) {
			t.InMemory = true
		}
		return
	}
	if !st.Mode.IsRegular() {
		return
	}
	t.Allocated = st.Allocated
	if n, err := s.Unwritten(t.Path); err == nil {
		t.Unwritten = n
	}
	m := s.mountOf(t.Path)
	if m == nil {
		return
	}
	t.FS, t.Mount, t.MountOpts = m.fs, m.point, m.options
	t.InMemory = t.InMemory || memoryFS[m.fs]
	major, minor := st.Major, st.Minor
	if major == 0 && strings.HasPrefix(m.source, "/dev/") { // btrfs and others have device numbers of their own
		if d, err := s.Stat(m.source); err == nil && d.Mode&fs.ModeDevice != 0 {
			major, minor = d.Major, d.Minor
		}
	}
	if major != 0 {
		t.Block = s.block(major, minor)
	}
}

// mount is a line of mountinfo.
type mount struct{ point, fs, source, options string }

// mountOf is the mount that a path is on: the last of those with the longest matching mount point, which covers those before it.
func (s *System) mountOf(name string) *mount {
	full, err := s.Resolve(name)
	if err != nil {
		return nil
	}
	var best *mount
	for _, l := range s.lines("proc/self/mountinfo") {
		// proc(5): id parent major:minor root mount-point options [tags…] - type source super-options
		f := strings.Fields(l)
		sep := -1
		for i := 6; i < len(f); i++ {
			if f[i] == "-" {
				sep = i
				break
			}
		}
		if sep < 0 || len(f) < sep+4 {
			continue
		}
		m := &mount{point: unescape(f[4]), fs: f[sep+1], source: unescape(f[sep+2]), options: joinOptions(f[5], f[sep+3])}
		if within(full, m.point) && (best == nil || len(m.point) >= len(best.point)) {
			best = m
		}
	}
	return best
}

func within(name, dir string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}

// joinOptions is each option of both lists once.
func joinOptions(a, b string) string {
	seen := map[string]bool{}
	var out []string
	for _, list := range []string{a, b} {
		for o := range strings.SplitSeq(list, ",") {
			if o != "" && !seen[o] {
				seen[o] = true
				out = append(out, o)
			}
		}
	}
	return strings.Join(out, ",")
}

// unescape undoes the octal escapes of mountinfo: \040 is a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// disk is the name under sys/block of the device with these numbers; of a partition, the disk it is on.
func (s *System) disk(major, minor uint32) string {
	node := "sys/dev/block/" + numbers(major, minor)
	target := s.link(node)
	if target == "" {
		return ""
	}
	if s.exists(path.Join(node, "partition")) {
		target = path.Dir(target)
	}
	return path.Base(target)
}

func numbers(major, minor uint32) string {
	return strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
}

func (s *System) block(major, minor uint32) *result.BlockDevice {
	name := s.disk(major, minor)
	if name == "" {
		return nil
	}
	dir := "sys/block/" + name
	q := dir + "/queue"
	b := &result.BlockDevice{
		Name: name, Size: s.number(dir, "size") * 512, Rotational: s.text(q, "rotational") == "1", Scheduler: chosen(s.text(q, "scheduler")),
		NRRequests: int(s.number(q, "nr_requests")), WriteCache: s.text(q, "write_cache"), Logical: int(s.number(q, "logical_block_size")),
		Physical: int(s.number(q, "physical_block_size")), MaxKB: int(s.number(q, "max_sectors_kb")), NUMANode: -1,
		Polling: s.text(q, "io_poll") == "1", Layers: s.names(dir + "/slaves"),
	}
	if z := s.text(q, "zoned"); z != "none" {
		b.Zoned = z
	}
	for _, f := range []string{"device/model", "dm/name", "loop/backing_file", "md/level"} {
		if v := s.text(dir, f); v != "" {
			b.Model = strings.Join(strings.Fields(v), " ")
			break
		}
	}
	for _, f := range []string{"device/serial", "serial"} {
		if v := s.text(dir, f); v != "" {
			b.Serial = v
			break
		}
	}
	for _, f := range []string{"device/numa_node", "device/device/numa_node"} {
		if n, err := strconv.Atoi(s.text(dir, f)); err == nil {
			b.NUMANode = n
			break
		}
	}
	return b
}

// signature is what udev found on a device: a file system, a member of a RAID or LVM, a partition table.
func (s *System) signature(major, minor uint32) string {
	var kind, label string
	for _, l := range s.lines("run/udev/data/b" + numbers(major, minor)) {
		k, v, _ := strings.Cut(l, "=")
		switch k {
		case "E:ID_FS_TYPE":
			kind = v
		case "E:ID_FS_LABEL":
			label = v
		case "E:ID_PART_TABLE_TYPE":
			if kind == "" {
				kind = v + " partition table"
			}
		}
	}
	if kind != "" && label != "" {
		kind += " " + strconv.Quote(label)
	}
	return kind
}

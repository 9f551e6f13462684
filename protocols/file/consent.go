package file

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// Writing to a block device is consented to by its name: nothing that lives on it can be destroyed by a
// wrong letter. What is mounted, swapped to or held by another device is never written to.

// consent decides whether the device that fd has open for writing, exclusively, may be written to.
func consent(path string, fd int, size int64, allowed []string) error {
	d, err := readEnds(fd, size)
	if err != nil {
		return fmt.Errorf("looking for what is on the device: %w", err)
	}
	if named(fd, allowed) {
		return nil
	}
	return refusal(path, d.signatures())
}

// refusal says what is there and what to say to write all the same.
func refusal(path string, found []Signature) error {
	holds := "nothing was recognised on it, which does not mean that it is empty"
	if len(found) > 0 {
		var words []string
		for _, s := range found {
			words = append(words, s.String())
		}
		holds = "it holds " + strings.Join(words, ", ")
	}
	return engine.Errf(engine.ErrConsent, "%s is a block device and %s; name it to write to it: --allow-destroy=%s",
		path, holds, path)
}

// named reports whether the list names the open device, by whatever path.
func named(fd int, allowed []string) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	return slices.ContainsFunc(allowed, func(path string) bool {
		var other unix.Stat_t
		return unix.Stat(path, &other) == nil && other.Mode&unix.S_IFMT == unix.S_IFBLK && other.Rdev == st.Rdev
	})
}

// inUse says who uses a device, its partitions, or what is built on them; nil if nobody. It is asked before
// the exclusive open, which would fail with less to say.
func inUse(path string, rdev uint64) error {
	family := relatives(rdev)
	for _, u := range mounts() {
		if member, ok := family[u.dev]; ok {
			return engine.Errf(engine.ErrConsent, "%s is in use: %s is mounted at %s; this cannot be overridden", path, member, u.where)
		}
	}
	for _, u := range swaps() {
		if member, ok := family[u.dev]; ok {
			return engine.Errf(engine.ErrConsent, "%s is in use: %s is swap space; this cannot be overridden", path, member)
		}
	}
	if holder := heldBy(family); holder != "" {
		return engine.Errf(engine.ErrConsent, "%s is in use: %s is built on it; this cannot be overridden", path, holder)
	}
	return nil
}

// relatives are a device, its partitions, and all devices built on those, by number, with their names.
func relatives(rdev uint64) map[uint64]string {
	family := map[uint64]string{}
	var add func(dir string)
	add = func(dir string) {
		dev, ok := devNumber(dir)
		if !ok || family[dev] != "" {
			return
		}
		family[dev] = "/dev/" + strings.ReplaceAll(filepath.Base(dir), "!", "/")
		for _, h := range list(filepath.Join(dir, "holders")) {
			if path, err := filepath.EvalSymlinks(h); err == nil {
				add(path)
			}
		}
		for _, p := range list(dir) {
			if _, err := os.Stat(filepath.Join(p, "partition")); err == nil {
				add(p)
			}
		}
	}
	add(devDir(rdev))
	if len(family) == 0 { // no sysfs
		family[rdev] = fmt.Sprintf("device %d:%d", unix.Major(rdev), unix.Minor(rdev))
	}
	return family
}

// heldBy names a device that is built on one of the family.
func heldBy(family map[uint64]string) string {
	for dev := range family {
		for _, h := range list(filepath.Join(devDir(dev), "holders")) {
			return "/dev/" + filepath.Base(h)
		}
	}
	return ""
}

func list(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths
}

// devNumber reads the attribute dev, "259:1".
func devNumber(dir string) (uint64, bool) {
	return parseDev(sysfs(dir).text("dev"))
}

func parseDev(text string) (uint64, bool) {
	var major, minor uint32
	if n, err := fmt.Sscanf(text, "%d:%d", &major, &minor); n != 2 || err != nil {
		return 0, false
	}
	return unix.Mkdev(major, minor), true
}

// use is a device that is used, and where.
type use struct {
	dev   uint64
	where string
}

// mounts lists what is mounted, by the number of the file system and by that of its source, which differ
// for file systems over several devices.
//
// Source: proc_pid_mountinfo(5).
func mounts() []use {
	var uses []use
	lines("/proc/self/mountinfo", func(line string) {
		head, tail, ok := strings.Cut(line, " - ")
		fields := strings.Fields(head)
		if !ok || len(fields) < 5 {
			return
		}
		where := unescape(fields[4])
		if dev, ok := parseDev(fields[2]); ok {
			uses = append(uses, use{dev, where})
		}
		if source := strings.Fields(tail); len(source) > 1 {
			if dev, ok := deviceOf(unescape(source[1])); ok {
				uses = append(uses, use{dev, where})
			}
		}
	})
	var root unix.Stat_t
	if unix.Stat("/", &root) == nil {
		uses = append(uses, use{root.Dev, "/"})
	}
	return uses
}

// swaps lists swap devices. A swap file lies on what is mounted.
func swaps() []use {
	var uses []use
	lines("/proc/swaps", func(line string) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "partition" {
			if dev, ok := deviceOf(unescape(fields[0])); ok {
				uses = append(uses, use{dev, fields[0]})
			}
		}
	})
	return uses
}

func deviceOf(path string) (uint64, bool) {
	var st unix.Stat_t
	if !strings.HasPrefix(path, "/") || unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, false
	}
	return st.Rdev, true
}

func lines(path string, f func(line string)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		f(s.Text())
	}
}

// unescape undoes the octal escapes of blanks and backslashes in /proc.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// busy turns the answer to an exclusive open of a used device into words.
func busy(path string, err error) error {
	if errors.Is(err, unix.EBUSY) {
		return engine.Errf(engine.ErrConsent, "%s is in use by another program or device; this cannot be overridden", path)
	}
	return err
}

package nvmecmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
)

// TestGuest boots a machine and runs the tests below in it.
func TestGuest(t *testing.T) {
	if guest.Inside() {
		t.Skip("this is the guest")
	}
	if testing.Short() {
		t.Skip("boots a machine")
	}
	const with4k = "logical_block_size=4096,physical_block_size=4096"
	m := guest.Machine{
		// The kernel lets the registers of its own controllers be mapped, for show-regs.
		Kernel: "iomem=relaxed",
		Controllers: []guest.Controller{
			{Serial: "PLAIN"},
			{Serial: "MANY", Namespaces: []guest.Namespace{{Options: with4k}, {Size: 16, Options: "ms=8,pi=1"}, {Size: 16, Options: "ms=16,mset=1"}}},
			{Serial: "OTHER", Options: "cmb_size_mb=16"},
		},
	}
	guest.Run(t, m, guest.Image{Tests: []string{"cmd/blkbench/nvmecmd"}, Programs: []string{"nvme"}}, guest.GoTest("cmd/blkbench/nvmecmd", "TestGuest."))
}

// run runs a sub-command on the machine's devices.
func run(t *testing.T, stdin string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	env := &Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Prog: "nvme", Link: true, Version: "test"}
	code := Run(t.Context(), env, args)
	return answer{stdout: out.String(), stderr: errs.String(), code: code}
}

func nvmeReal(t *testing.T, stdin string, args ...string) answer {
	t.Helper()
	cmd := exec.Command("/bin/nvme", args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	_ = cmd.Run() // the exit code says it
	return answer{stdout: out.String(), stderr: errs.String(), code: cmd.ProcessState.ExitCode()}
}

// fields reads a line into arguments, with DEV replaced.
func fields(line, dev string) []string { return strings.Fields(strings.ReplaceAll(line, "DEV", dev)) }

// counters are the keys that move while one looks.
var counters = []string{
	"data_units_read", "data_units_written", "host_read_commands", "host_write_commands", "controller_busy_time", "power_on_hours", "power_cycles",
}

// driverRegisters are the registers that say how the driver of the moment has set the controller up.
var driverRegisters = []string{"cc", "csts", "aqa", "asq", "acq", "intms", "intmc", "cmbloc", "cmbsz", "cmbmsc"}

// decode parses JSON and takes keys out, at any depth.
func decode(t *testing.T, text string, without ...string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return strip(v, without)
}

func strip(v any, without []string) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(k string, _ any) bool { return slices.Contains(without, k) })
		for k := range v {
			v[k] = strip(v[k], without)
		}
	case []any:
		for i := range v {
			v[i] = strip(v[i], without)
		}
	}
	return v
}

// same compares two JSON values key by key and names what differs.
func same(t *testing.T, where string, mine, theirs any) {
	t.Helper()
	a, okA := mine.(map[string]any)
	b, okB := theirs.(map[string]any)
	if !okA || !okB {
		if !reflect.DeepEqual(mine, theirs) {
			t.Errorf("%s: %v, nvme-cli has %v", where, mine, theirs)
		}
		return
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			t.Errorf("%s: key %q is missing", where, k)
			continue
		}
		same(t, where+"."+k, a[k], b[k])
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			t.Errorf("%s: key %q is not nvme-cli's", where, k)
		}
	}
}

// jsonVerbs are the sub-commands with JSON that QEMU's controller answers.
var jsonVerbs = []string{
	"id-ctrl DEV", "id-ns DEV -n 1", "list-ns DEV", "list-ns DEV -a", "smart-log DEV", "error-log DEV", "fw-log DEV", "effects-log DEV",
	"effects-log DEV -c 0", "show-regs DEV",
}

var textVerbs = []string{
	"id-ctrl DEV -H", "id-ns DEV -n 1 -H", "list-ns DEV", "fw-log DEV", "effects-log DEV", "effects-log DEV -H", "show-regs DEV",
	"get-log DEV -i 5 -l 64", "get-feature DEV -f 4 -H", "get-feature DEV -f 7 -H", "get-feature DEV -f 0xb -H",
}

// On one controller the kernel drives, both programs say the same.
func TestGuestKernelSame(t *testing.T) {
	guest.Require(t)
	for _, serial := range []string{"PLAIN", "MANY"} {
		_, name := guest.FindController(t, serial)
		dev := "/dev/" + name
		for _, line := range jsonVerbs {
			args := append(fields(line, dev), "-o", "json")
			mine, theirs := run(t, "", args...), nvmeReal(t, "", args...)
			if mine.code != 0 {
				t.Errorf("%s: %s", line, mine.stderr)
				continue
			}
			same(t, serial+" "+line, decode(t, mine.stdout, counters...), decode(t, theirs.stdout, counters...))
		}
		if serial != "PLAIN" {
			continue // one controller's text is enough
		}
		for _, line := range textVerbs {
			mine, theirs := run(t, "", fields(line, dev)...), nvmeReal(t, "", fields(line, dev)...)
			// nvme-cli 2.3 has the meaning of PMRSTS.NRDY the wrong way round.
			theirs.stdout = strings.Replace(theirs.stdout, "Not Ready to process", "ready to process", 1)
			if mine.stdout != theirs.stdout {
				t.Errorf("%s %s: prints\n%s\n%s", serial, line, firstLine(mine.stdout, theirs.stdout), mine.stderr)
			}
		}
		for _, ns := range []string{dev + "n1", strings.Replace(dev, "nvme", "ng", 1) + "n1"} {
			args := []string{"id-ns", ns, "-o", "json"}
			same(t, ns, decode(t, run(t, "", args...).stdout), decode(t, nvmeReal(t, "", args...).stdout))
		}
	}
	for _, format := range []string{"list -o json", "list -v -o json"} {
		mine, theirs := run(t, "", fields(format, "")...), nvmeReal(t, "", fields(format, "")...)
		same(t, format, sorted(decode(t, mine.stdout)), sorted(decode(t, theirs.stdout)))
	}
	for _, format := range []string{"list", "list -v"} {
		mine, theirs := strings.Split(run(t, "", fields(format, "")...).stdout, "\n"), strings.Split(nvmeReal(t, "", fields(format, "")...).stdout, "\n")
		slices.Sort(mine)
		slices.Sort(theirs)
		for i := range mine {
			if strings.Contains(mine[i], ", ") { // the order within a controller is the kernel's mood
				continue
			}
			if i >= len(theirs) || mine[i] != theirs[i] {
				t.Errorf("%s:\nours:   %q\ntheirs: %q", format, mine[i], theirs[min(i, len(theirs)-1)])
			}
		}
	}
}

// sorted orders arrays, for lists without an order.
func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = sorted(v[k])
		}
	case []any:
		for i := range v {
			v[i] = sorted(v[i])
		}
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	return v
}

func firstLine(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return "ours:   " + la[i] + "\ntheirs: " + lb[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(la), len(lb))
}

// taken binds a controller for the length of a test.
func taken(t *testing.T, serial string) (address string) {
	t.Helper()
	address, name := guest.FindController(t, serial)
	if a := run(t, "", "bind", "/dev/"+name); a.code != 0 || !strings.Contains(a.stdout, address+": nvme -> vfio-pci") {
		t.Fatalf("bind: %+v", a)
	}
	t.Cleanup(func() {
		if a := run(t, "", "unbind", address); a.code != 0 || !strings.Contains(a.stdout, "vfio-pci -> nvme") {
			t.Errorf("unbind: %+v", a)
		}
		kernelHas(t, serial)
	})
	return address
}

// kernelHas waits until the kernel's driver has the controller and its namespaces.
func kernelHas(t *testing.T, serial string) string {
	t.Helper()
	for range 200 {
		if _, name := guest.FindController(t, serial); name != "" {
			if _, err := os.Stat("/dev/" + name + "n1"); err == nil {
				return "/dev/" + name
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the kernel has not got %s back", serial)
	return ""
}

// What nvme-cli said of the controller under the kernel's driver, we say of it under ours.
func TestGuestVFIOSame(t *testing.T) {
	guest.Require(t)
	dev := kernelHas(t, "MANY")
	without := slices.Concat(counters, driverRegisters)
	want := map[string]any{}
	for _, line := range append(slices.Clone(jsonVerbs), "id-ns DEV -n 2", "id-ns DEV -n 3") {
		want[line] = decode(t, nvmeReal(t, "", append(fields(line, dev), "-o", "json")...).stdout, without...)
	}
	// A second controller that stays with the kernel must be left alone.
	address := taken(t, "MANY")
	// QEMU's zoned effects log depends on CC.CSS, which is the kernel's driver's own choice.
	delete(want, "effects-log DEV")
	for line, theirs := range want {
		names := []string{address}
		if strings.HasPrefix(line, "smart-log") {
			names = append(names, "nvme://"+address+"/2")
		}
		for _, name := range names {
			mine := run(t, "", append(fields(line, name), "-o", "json")...)
			if mine.code != 0 {
				t.Errorf("%s: %s", line, mine.stderr)
				continue
			}
			text := strings.ReplaceAll(mine.stdout, `"`+address+`":`, `"`+filepath.Base(dev)+`":`)
			same(t, line, decode(t, text, without...), theirs)
		}
	}
	rows := run(t, "", "list", "-o", "json")
	for _, s := range []string{"nvme://" + address + "/1", "nvme://" + address + "/3", "/dev/nvme"} {
		if !strings.Contains(rows.stdout, s) {
			t.Errorf("list: %s is missing: %s%s", s, rows.stdout, rows.stderr)
		}
	}
	if a := run(t, "", "id-ns", "nvme://"+address+"/9"); a.code == 0 && !strings.Contains(a.stdout, "nsze    : 0\n") {
		t.Errorf("a namespace that is not there: %+v", a)
	}
	if a := run(t, "", "flush", address); a.code != 1 || !strings.Contains(a.stderr, "name a namespace") {
		t.Errorf("flush without a namespace: %+v", a)
	}
	if a := run(t, "", "reset", address); a.code != 0 {
		t.Errorf("reset: %+v", a)
	}
}

const (
	size  = 8192
	other = "--allow-destroy=OTHER"
)

// effects runs every command that changes data and looks what has become of it. dev is how ours names the namespace.
func effects(t *testing.T, dev string) {
	t.Helper()
	pattern := strings.Repeat("what was written is read back. ", 300)[:size]
	must := func(stdin, line string) string {
		t.Helper()
		a := run(t, stdin, fields(line, dev)...)
		if a.code != 0 {
			t.Fatalf("%s: %d %s", line, a.code, a.stderr)
		}
		return a.stdout
	}
	at := func(block int) string { return must("", fmt.Sprintf("read DEV -s %d -c 15 -z %d", block, size)) }
	zero := strings.Repeat("\x00", size)
	// Without the serial number, or with a wrong one, nothing happens.
	for _, line := range []string{
		"write DEV -s 0 -c 15 -z 8192", "write-zeroes DEV -c 15", "dsm DEV -s 0 -b 16 -d", "copy DEV -d 64 -s 0 -b 15", "format DEV -l 0",
		"io-passthru DEV -o 1 -l 512 -n 1", "sanitize DEV -a 2", "delete-ns DEV", "admin-passthru DEV -o 0x80 -n 1",
	} {
		consents := []string{"", " --allow-destroy=PLAIN"}
		if strings.HasPrefix(dev, "nvme:") {
			consents = consents[1:] // one boot of a controller each: the rest is the same code
		}
		for _, consent := range consents {
			a := run(t, pattern, fields(line+consent, dev)...)
			if a.code != 1 || !strings.Contains(a.stderr, other) {
				t.Errorf("%s%s: %d %s", line, consent, a.code, a.stderr)
			}
		}
	}
	must(pattern, "write DEV -s 0 -c 15 -z 8192 "+other)
	if at(0) != pattern {
		t.Error("read: other data")
	}
	must(pattern, "compare DEV -s 0 -c 15 -z 8192")
	if a := run(t, zero, fields("compare DEV -s 0 -c 15 -z 8192", dev)...); a.code != 1 || !strings.Contains(a.stderr, "NVMe status: Compare Failure") {
		t.Errorf("compare with other data: %+v", a)
	}
	must("", "verify DEV -s 0 -c 15")
	if a := run(t, "", fields("verify DEV -s 99999999", dev)...); !strings.Contains(a.stderr, "LBA Out of Range") {
		t.Errorf("verify beyond the end: %+v", a)
	}
	must("", "copy DEV -d 64 -s 0,8 -b 7,7 "+other)
	if at(64) != pattern {
		t.Error("copy: other data")
	}
	must("", "write-zeroes DEV -s 64 -c 15 "+other)
	if at(64) != zero || at(0) != pattern {
		t.Error("write-zeroes: other data")
	}
	must("", "dsm DEV -d -s 0,8 -b 8,8 "+other)
	if at(0) != zero {
		t.Error("dsm: deallocated blocks do not read as zeroes")
	}
	must(pattern, "io-passthru DEV -o 1 -n 1 -l 8192 -4 128 -6 15 "+other)
	if at(128) != pattern {
		t.Error("io-passthru: other data")
	}
	must("", "flush DEV")
	must("", "format DEV -n 1 -b 4096 "+other)
	if s := must("", "id-ns DEV -n 1 -o json"); !strings.Contains(s, `"flbas":4`) {
		t.Errorf("format: the block size has not changed: %s", s)
	}
	must("", "format DEV -n 1 -b 512 -s 1 "+other)
	if at(128) != zero {
		t.Error("format: the data is still there")
	}
	must("", "set-feature DEV -n 1 -f 5 -v 0")
	if s := must("", "get-log DEV -i 2 -l 512 -b"); len(s) != 512 {
		t.Errorf("get-log: %d bytes", len(s))
	}
	for _, line := range []string{"sanitize DEV -a 2 " + other, "write-uncor DEV " + other, "device-self-test DEV -s 1", "get-log DEV -i 0x77 -l 4", "delete-ns DEV " + other} {
		if a := run(t, "", fields(line, dev)...); a.code != 1 || !strings.Contains(a.stderr, "NVMe status: Invalid") {
			t.Errorf("%s, which QEMU cannot do: %+v", line, a)
		}
	}
}

func TestGuestEffects(t *testing.T) {
	guest.Require(t)
	t.Run("kernel", func(t *testing.T) {
		effects(t, kernelHas(t, "OTHER")+"n1")
	})
	t.Run("vfio", func(t *testing.T) {
		effects(t, "nvme://"+taken(t, "OTHER")+"/1")
	})
}

// A controller whose namespace is in use is neither bound nor written to, whoever asks.
func TestGuestInUse(t *testing.T) {
	guest.Require(t)
	dev := kernelHas(t, "OTHER")
	disk := dev + "n1"
	// mkswap(8): page 0 ends in the signature; version 1, last page.
	page := make([]byte, 4096)
	page[1024], page[1028+1] = 1, 1
	copy(page[4086:], "SWAPSPACE2")
	if a := run(t, string(page), "write", disk, "-c", "7", "-z", "4096", other); a.code != 0 {
		t.Fatal(a.stderr)
	}
	path, err := unix.BytePtrFromString(disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, ptr(path), 0, 0); errno != 0 {
		t.Fatalf("swapon: %v", errno)
	}
	t.Cleanup(func() {
		if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, ptr(path), 0, 0); errno != 0 {
			t.Errorf("swapoff: %v", errno)
		}
	})
	for _, line := range []string{"bind DEV", "bind DEV --allow=swap,held"} {
		if a := run(t, "", fields(line, dev)...); a.code != 1 || !strings.Contains(a.stderr, "swap") {
			t.Errorf("%s: %+v", line, a)
		}
	}
	for _, line := range []string{"write DEV -z 512", "format DEV -n 1", "format DEV -n 0xffffffff", "sanitize DEV -a 2", "dsm DEV -n 1 -s 0 -b 1 -d"} {
		for _, name := range []string{disk, dev} {
			a := run(t, "", append(fields(line, name), "-n", "1", other)...)
			if strings.HasPrefix(line, "sanitize") {
				a = run(t, "", append(fields(line, name), other)...)
			}
			if a.code != 1 || !regexp.MustCompile(`in use.*swap`).MatchString(a.stderr) {
				t.Errorf("%s %s: %+v", line, name, a)
			}
		}
	}
}

func ptr(p *byte) uintptr { return uintptr(unsafe.Pointer(p)) }

//go:build amd64

package nvmecmd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/nvme"
)

// The commands that reach the controller are those of nvme-cli: opcode, every dword, and the data that goes with them.
func TestPeerCommands(t *testing.T) {
	requirePeer(t)
	c := fixture(noise, 99)
	c.dw0 = 0
	ns := c.identify[nvme.CNSNamespace]
	copy(ns[25:30], []byte{3, 2, 0, 0, 0}) // NLBAF, FLBAS: no metadata
	copy(ns[128:], []byte{8, 0, 9, 0, 0, 0, 9, 0, 0, 0, 12, 0, 8, 0, 12, 0})
	c.identify[nvme.CNSController][524] = 0
	for _, line := range []string{
		"write DEV -s 0x10 -c 1 -z 8192", "write DEV -z 4096 -f -l -p 3 -a 2 -m 4 -r 5 -T 1 -S 2 -D 3 -s 1k", "write DEV -z 4096 -y 16",
		"compare DEV -z 4096 -s 3", "read DEV -z 4096 -s 7 -l -p 15", "verify DEV -s 1 -c 3", "verify DEV -f -l -p 1 -r 1 -a 2 -m 3 -C",
		"write-zeroes DEV -s 1 -c 2 -d", "write-zeroes DEV -s 5 -f -p 2 -r 7 -a 1 -m 2", "write-uncor DEV -s 1 -c 2",
		"flush DEV", "flush DEV -n 3", "dsm DEV -s 1,5 -b 2,3 -d", "dsm DEV -s 1 -b 2", "dsm DEV -s 1,9 -b 2 -a 3,4 -w -r", "dsm DEV -s 1 -b 2 -c 7",
		"copy DEV -d 5 -s 1,2 -b 3,4", "copy DEV -d 5 -s 1 -b 3 -f -l -p 3 -P 5 -r 9 -a 1 -m 2 -R 6 -T 1 -S 2",
		"format DEV -n 1 -l 0 -s 1 --force", "format DEV -n 2 -l 1 -i 1 -m 1 -p 1 -s 2 --force", "format DEV --force -b 4k", "format DEV --force -n 1",
		"sanitize DEV -a 2", "sanitize DEV -a start-crypto-erase -d", "sanitize DEV -a 3 -n 2 -p 0x1234 -i -u", "sanitize DEV -a exit-failure",
		"device-self-test DEV -s 1", "device-self-test DEV -s 2 -n 1", "device-self-test DEV -s 0xf",
		"fw-commit DEV -s 1 -a 1", "fw-commit DEV -a 3 -s 2 -b 1",
		"create-ns DEV -s 0x1000 -c 0x800 -f 0", "create-ns DEV -s 1k -c 1k -f 1 -d 1 -m 1 -a 2 -i 3 -y 2",
		"create-ns DEV -s 100 -c 100 -b 512", "delete-ns DEV -n 3", "attach-ns DEV -n 1 -c 0,0x1", "detach-ns DEV -n 1 -c 1",
		"set-feature DEV -f 4 -v 0x150", "set-feature DEV -f 6 -v 1 -s -n 1", "set-feature DEV -f 0xc -v 1", "set-feature DEV -f 0x10 -v 0x1234 -c 9 -U 3",
		"set-feature DEV -f 0x16",
		"admin-passthru DEV -o 9 -n 1 -4 2 -5 3", "admin-passthru DEV -o 0xc1 -w -l 5",
		"io-passthru DEV -o 1 -l 512 -w -n 1", "io-passthru DEV --opcode=0 --namespace-id=1 --cdw2=1 --cdw3=2 --flags=3 -5 7 -9 8",
	} {
		samePeer(t, c, strings.Repeat("hello, controller ", 700), line)
	}
}

// What is wrong on the command line fails in both, and nothing is sent.
func TestPeerRefusals(t *testing.T) {
	requirePeer(t)
	c := fixture(zeroes, 0)
	for _, line := range []string{
		"id-ns DEV -n abc", "read DEV", "read DEV -s abc -z 512", "read DEV -z 1x", "read DEV -c 65536 -z 1", "read DEV -z 512 -p 99",
		"id-ctrl DEV -x", "id-ctrl DEV -o", "id-ctrl DEV --output-format", "list-ns DEV -n 0", "get-log DEV", "get-log DEV -i 0x102 -l 4",
		"telemetry-log DEV", "sanitize DEV", "sanitize DEV -a 9", "sanitize DEV -a 2 -n 3", "dsm DEV", "copy DEV",
		"fw-download DEV", "fw-download DEV -f /nonexistent", "fw-commit DEV -s 9", "fw-commit DEV -a 9", "attach-ns DEV", "set-feature DEV",
		"write DEV -z 512 -d /nonexistent", "create-ns DEV", "bogus DEV", "get-feature DEV -f 1 -s 99",
	} {
		args := strings.Fields(line)
		theirs, mine := nvmeCLI(t, c, 1, "", args...), ours(t, c, "", consented(args)...)
		if theirs.code != 1 || mine.code != 1 {
			t.Errorf("%s: exit codes %d and %d", line, mine.code, theirs.code)
		}
		for _, s := range mine.commands {
			if !strings.HasPrefix(s, "admin 06") {
				t.Errorf("%s: sent %s", line, s)
			}
		}
		if mine.stderr == "" {
			t.Errorf("%s: fails in silence", line)
		}
	}
}

func TestPeerFeatures(t *testing.T) {
	requirePeer(t)
	for _, fid := range []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x10, 0x11, 0x12, 0x15, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x80, 0x81, 0x82, 0x83, 0x84, 0xc0} {
		for i, dw0 := range []uint32{0, 1, 0x0001_0102, 0x0013_0403, 0xffff_ffff, 0x1234_5678} {
			c := fixture(noise, uint64(fid)*10+uint64(i))
			for _, data := range c.feature {
				data[0] &= 7 // the first LBA range's type
			}
			c.dw0 = dw0
			lines := []string{"-H"}
			if i == 0 && fid < 8 {
				lines = []string{"-H", "", "-s 1", "-s 2 -n 4", "-s 3 -H", "-b", "-c 5 -U 2"}
			}
			for _, options := range lines {
				if fid == 0xe && options == "-H" {
					clear(c.feature[fid][5:6]) // a year below 10000
				}
				samePeer(t, c, "", fmt.Sprintf("get-feature DEV -f %d %s", fid, options))
			}
		}
	}
}

// nvme-cli asks a device that is no PCI function for its properties, one command per register: those of Fabrics.
func TestPeerRegisters(t *testing.T) {
	requirePeer(t)
	for name, raw := range map[string][]byte{"zeroes": zeroes(0, 4096), "noise": noise(5, 4096), "more noise": noise(6, 4096)} {
		t.Run(name, func(t *testing.T) {
			raw[0x07] &= 0xf  // CAP: NSSS and CRMS above bit 60 are younger than nvme-cli 2.3
			raw[0x06] &= 0x77 // and so are page sizes beyond 2^19
			p := &properties{canned: fixture(zeroes, 0), raw: raw}
			r, err := nvme.ReadRegisters(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, options := range []string{"", "-H", "-o json"} {
				theirs := nvmeCLI(t, p, 0, "", strings.Fields("show-regs DEV "+options)...)
				var out bytes.Buffer
				showSnapshot(&out, r, options)
				if options == "-o json" {
					sameProperties(t, out.String(), theirs.stdout)
					continue
				}
				mine, _, _ := strings.Cut(out.String(), "crto ")
				if !strings.HasPrefix(theirs.stdout, mine) {
					t.Errorf("show-regs %s: prints\n%s", options, firstDifference(mine, theirs.stdout))
				}
			}
		})
	}
}

// sameProperties compares the keys that Fabrics has; the others are -1 in nvme-cli's.
func sameProperties(t *testing.T, mine, theirs string) {
	t.Helper()
	a, b := strings.Split(mine, "\n"), strings.Split(theirs, "\n")
	for i := range b {
		if !strings.HasSuffix(b[i], ":-1,") && !strings.HasSuffix(b[i], ":-1") && !strings.Contains(b[i], ":18446744073709551615") && (i >= len(a) || a[i] != b[i]) {
			t.Errorf("%s, want %s", a[min(i, len(a)-1)], b[i])
		}
	}
}

// A telemetry log and a firmware image go to and from files.
func TestPeerFiles(t *testing.T) {
	requirePeer(t)
	c := fixture(noise, 12)
	for _, lid := range []uint8{nvme.LIDTelemetryHost, nvme.LIDTelemetryCtrl} {
		copy(c.logs[lid][8:], []byte{2, 0, 15, 0, 31, 0, 0, 0, 63, 0, 0, 0})
	}
	dir := t.TempDir()
	sizes := []int{32 * 512, 3 * 512, 16 * 512, 32 * 512, 3 * 512}
	for i, line := range []string{"", "-d 1", "-d 2 -g 0", "-c", "-c -d 1"} {
		mine, theirs := filepath.Join(dir, fmt.Sprint("mine", i)), filepath.Join(dir, fmt.Sprint("theirs", i))
		ours(t, c, "", append([]string{"telemetry-log", "DEV", "-o", mine}, strings.Fields(line)...)...)
		nvmeCLI(t, c, 1, "", append([]string{"telemetry-log", "DEV", "-o", theirs}, strings.Fields(line)...)...)
		a, err := os.ReadFile(mine)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		// nvme-cli 2.3 reads all areas, whatever -d says, and whole pieces of 4096 bytes.
		if want := sizes[i]; len(a) != want || len(a) > len(b) || !bytes.Equal(a, b[:len(a)]) {
			t.Errorf("telemetry-log %s: %d bytes, want %d; nvme-cli wrote %d", line, len(a), want, len(b))
		}
	}
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, noise(3, 16384), 0o600); err != nil {
		t.Fatal(err)
	}
	c.identify[nvme.CNSController][319] = 0 // FWUG
	for _, line := range []string{"", "-x 8192 -o 0x800", "-x 5000 -o 0x400"} {
		samePeer(t, c, "", "fw-download DEV -f "+image+" "+line)
	}
}

package nvmecmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/nvme/nvmetest"
)

// server is a fake controller behind a vfio-user socket; it is named as any other device.
func server(t *testing.T, cfg nvmetest.Config) (*nvmetest.Controller, string) {
	t.Helper()
	f, err := nvmetest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	dir, err := os.MkdirTemp("", "nvme") //nolint:usetesting // a test's own folder may be too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := f.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return f, "nvme+vfio-user://" + dir
}

func cli(t *testing.T, stdin string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	env := &Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Prog: "nvme", Link: true, Version: "test"}
	code := Run(t.Context(), env, args)
	return answer{stdout: out.String(), stderr: errs.String(), code: code}
}

func TestVFIOUser(t *testing.T) {
	f, dev := server(t, nvmetest.Config{Namespaces: []nvmetest.NamespaceConfig{{Blocks: 4096, BlockSize: 512}, {Blocks: 512, BlockSize: 4096}}})
	for _, c := range []struct{ line, want string }{
		{"id-ctrl DEV", "sn        : FAKE0001"},
		{"id-ns DEV/2", "NVME Identify Namespace 2:\nnsze    : 0x200\n"},
		{"list-ns DEV", "[   0]:0x1\n[   1]:0x2\n"},
		{"list DEV", dev + "/2"},
		{"list -o json DEV/1", `"PhysicalSize":2097152`},
		{"list -v DEV", "nqn.2014-08.org.example:fake:FAKE0001"},
		{"smart-log DEV -o json", `"temperature":310`},
		{"error-log DEV", "entries:4"},
		{"fw-log DEV", "frs1 : 0x2020202020302e31 (1.0.....)"},
		{"effects-log DEV", "ACS132   [Sanitize                        ] 00000001"},
		{"sanitize-log DEV -o json", `"status":"(0) NVM Subsystem has never been sanitized."`},
		{"show-regs DEV", "version : 20000"},
		{"get-feature DEV -f 4", "get-feature:0x04 (Temperature Threshold), Current value:0x00000161"},
		{"get-feature DEV", "get-feature:0x0b (Async Event Configuration)"},
		{"set-feature DEV -f 4 -v 0x150 -s", "set-feature:0x04 (Temperature Threshold), value:0x00000150, cdw12:00000000, save:0x1"},
		{"reset DEV", ""},
		{"flush DEV/1", "NVMe Flush: success"},
		{"admin-passthru DEV -o 6 -l 16 -4 1 -r", "0000: 36 1b f4 1a 46 41 4b 45 30 30 30 31"},
	} {
		a := cli(t, "", fields(c.line, dev)...)
		if a.code != 0 || !strings.Contains(a.stdout, c.want) {
			t.Errorf("%s: %d\n%s%s", c.line, a.code, a.stdout, a.stderr)
		}
	}
	data := strings.Repeat("fake", 1024)
	if a := cli(t, data, fields("write DEV/2 -s 3 -z 4096 --allow-destroy=FAKE0001", dev)...); a.code != 0 {
		t.Fatal(a.stderr)
	}
	if string(f.Data(2)[3*4096:4*4096]) != data {
		t.Error("write: other data")
	}
	if a := cli(t, "", fields("write-uncor DEV/2 -s 3 --allow-destroy=FAKE0001", dev)...); a.code != 0 {
		t.Fatal(a.stderr)
	}
	for _, line := range []string{"read DEV/2 -s 3 -z 4096", "verify DEV/2 -s 3"} {
		if a := cli(t, "", fields(line, dev)...); a.code != 1 || !strings.Contains(a.stderr, "Unrecovered Read Error(0x281)") {
			t.Errorf("%s of an uncorrectable block: %+v", line, a)
		}
	}
}

// sanitize --wait shows the progress and proves the result, by the log and by the blocks.
func TestSanitize(t *testing.T) {
	f, dev := server(t, nvmetest.Config{})
	f.Edit(1, func(data []byte) {
		for i := range data {
			data[i] = byte(i*7 + i>>9)
		}
	})
	if a := cli(t, "", "sanitize", dev, "-a", "2"); a.code != 1 || !strings.Contains(a.stderr, "--allow-destroy=FAKE0001") || blank(f.Data(1)) {
		t.Errorf("without the serial number: %+v", a)
	}
	a := cli(t, "", "sanitize", dev, "-a", "start-crypto-erase", "--wait", "--allow-destroy=FAKE0001")
	if a.code != 0 || !strings.Contains(a.stdout, "Most Recent Sanitize Command Completed Successfully.") ||
		!strings.Contains(a.stdout, "None of 64 sampled blocks") || !strings.Contains(a.stderr, " %\n") {
		t.Errorf("%+v", a)
	}
	if !blank(f.Data(1)) {
		t.Error("data is left")
	}
	a = cli(t, "", "sanitize-log", dev, "-o", "json")
	if !strings.Contains(a.stdout, `"cdw10_info":4`) || !strings.Contains(a.stdout, `"global_erased":1`) {
		t.Errorf("%+v", a)
	}
}

// Where nothing can be compared, the command says so; it fails where nothing could be read.
func TestSanitizeWithoutProof(t *testing.T) {
	_, dev := server(t, nvmetest.Config{})
	a := cli(t, "", "sanitize", dev, "-a", "start-crypto-erase", "--wait", "--allow-destroy=FAKE0001")
	if a.code != 0 || !strings.Contains(a.stdout, "All 64 sampled blocks were blank before") {
		t.Errorf("%+v", a)
	}
	c := fixture(zeroes, 0) // without namespaces
	log := c.logs[nvme.LIDSanitize]
	log[2], log[4] = 1, 2
	a = ours(t, c, "", "sanitize", "DEV", "-a", "2", "-w", "--allow-destroy=SERIAL 7")
	if a.code != 1 || !strings.Contains(a.stderr, "no block could be read before") {
		t.Errorf("%+v", a)
	}
}

// A controller that only says that it has erased is found out by the blocks.
func TestSanitizeProof(t *testing.T) {
	c := fixture(zeroes, 0)
	ns := c.identify[nvme.CNSNamespace]
	ns[1], ns[130] = 16, 9 // 4096 blocks of 512 bytes
	c.identify[nvme.CNSActiveNamespaces][0] = 1
	log := c.logs[nvme.LIDSanitize]
	log[2], log[4] = 1, 2 // success, of a block erase
	a := ours(t, c, "", "sanitize", "DEV", "-a", "2", "-w", "--allow-destroy=SERIAL 7")
	if a.code != 1 || !strings.Contains(a.stderr, "64 of 64 blocks still hold what they held before") {
		t.Errorf("%+v", a)
	}
	log[4] = 4
	a = ours(t, c, "", "sanitize", "DEV", "-a", "2", "-w", "--allow-destroy=SERIAL 7")
	if a.code != 1 || !strings.Contains(a.stderr, "the last sanitize operation was another one") {
		t.Errorf("%+v", a)
	}
	log[2], log[4] = 3, 2
	a = ours(t, c, "", "sanitize", "DEV", "-a", "2", "-w", "--allow-destroy=SERIAL 7")
	if a.code != 1 || !strings.Contains(a.stderr, "failed") {
		t.Errorf("%+v", a)
	}
}

// Whatever may destroy data asks first, through any spelling, and sends nothing.
func TestConsent(t *testing.T) {
	c := fixture(zeroes, 0)
	for _, line := range []string{
		"write DEV -z 512", "write-zeroes DEV", "write-uncor DEV", "copy DEV -d 1 -s 2 -b 3", "dsm DEV -s 1 -b 1 -d", "dsm DEV -s 1 -b 1 -c 4",
		"format DEV", "format DEV --force -l 0", "sanitize DEV -a 2", "sanitize DEV -a 3", "sanitize DEV -a 4", "delete-ns DEV -n 1",
		"admin-passthru DEV -o 0x80", "admin-passthru DEV -o 0x84 -4 2", "admin-passthru DEV -o 0x0d", "admin-passthru DEV -o 0xc1",
		"io-passthru DEV -o 1", "io-passthru DEV -o 8", "io-passthru DEV -o 9", "io-passthru DEV -o 4", "io-passthru DEV -o 0x19", "io-passthru DEV -o 0x79",
	} {
		for _, consent := range []string{"", "--allow-destroy=", "--allow-destroy=SERIAL", "--allow=SERIAL"} {
			args := strings.Fields(line)
			if consent != "" {
				args = append(args, consent)
			}
			a := ours(t, c, "", args...)
			if a.code != 1 || !strings.Contains(a.stderr, "serial number SERIAL 7") {
				t.Errorf("%s %s: %+v", line, consent, a)
			}
			for _, s := range a.commands {
				if !strings.HasPrefix(s, "admin 06") {
					t.Errorf("%s %s: sent %s", line, consent, s)
				}
			}
		}
	}
	// What reads needs none.
	for _, line := range []string{"dsm DEV -s 1 -b 1 -r", "sanitize DEV -a exit-failure", "io-passthru DEV -o 2 -l 8", "admin-passthru DEV -o 2 -l 8", "device-self-test DEV -s 1"} {
		if a := ours(t, c, "", strings.Fields(line)...); a.code != 0 {
			t.Errorf("%s: %+v", line, a)
		}
	}
}

func TestTargets(t *testing.T) {
	for name, want := range map[string]target{
		"/dev/nvme0":                      {kernel: "/dev/nvme0"},
		"nvme0n1":                         {kernel: "/dev/nvme0n1"},
		"ng1n2":                           {kernel: "/dev/ng1n2"},
		"0000:06:0d.0":                    {address: "0000:06:0d.0"},
		"06:0D.0":                         {address: "0000:06:0d.0"},
		"nvme://0000:06:0d.0/1":           {address: "0000:06:0d.0", nsid: 1},
		"nvme://06:0d.0":                  {address: "0000:06:0d.0"},
		"nvme+vfio-user:///run/ctrl/1":    {socket: "/run/ctrl", nsid: 1},
		"nvme+vfio-user:///run/ctrl":      {socket: "/run/ctrl"},
		"nvme+vfio-user:///run/a%20b/12":  {socket: "/run/a b", nsid: 12},
		"nvme+vfio-user:///run/ctrl/0":    {socket: "/run/ctrl/0"},
		"nvme+vfio-user:///run/ctrl/dir/": {socket: "/run/ctrl/dir"},
	} {
		if got, err := parseTarget(name); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "x", "nvme://x/1", "nvme://06:0d.0/0", "nvme://06:0d.0/x", "nvme+vfio-user://run/1", "nbd://host", "1:2.3"} {
		if got, err := parseTarget(name); err == nil {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/dev/nvme0", "nvme0n1", "06:0d.0", "nvme://06:0d.0/1", "nvme+vfio-user:///run/ctrl/1", "nvme+vfio-user:///%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTarget(s)
		if err != nil {
			return
		}
		n := 0
		for _, v := range []string{got.kernel, got.address, got.socket} {
			if v != "" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q: %+v", s, got)
		}
	})
}

// Every sub-command explains itself, and refuses what it does not know.
func TestHelp(t *testing.T) {
	all := cli(t, "", "help")
	for _, c := range commands() {
		if !strings.Contains(all.stdout, fmt.Sprintf("  %-28s %s\n", c.name, c.summary)) {
			t.Errorf("help: %s is missing", c.name)
		}
		for _, args := range [][]string{{"help", c.name}, {c.name, "--help"}} {
			a := cli(t, "", args...)
			if a.code != 0 || !strings.HasPrefix(a.stdout, "Usage: nvme "+c.name) {
				t.Errorf("%v: %+v", args, a)
			}
		}
		if a := cli(t, "", c.name, "--no-such-option"); a.code != 1 || !strings.Contains(a.stderr, "unrecognized option '--no-such-option'") {
			t.Errorf("%s --no-such-option: %+v", c.name, a)
		}
	}
	if a := cli(t, "", "idctrl"); a.code != 1 || !strings.Contains(a.stderr, "did you mean 'id-ctrl'?") {
		t.Errorf("%+v", a)
	}
	if code := Run(context.Background(), &Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Prog: "blkbench nvme"}, []string{"bogus"}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
}

// Bad input says what was found.
func TestBadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"id-ctrl":                          "a device is missing",
		"id-ctrl a b":                      "what is 'b'?",
		"id-ctrl /dev/nvme999":             "no such file",
		"id-ctrl " + file:                  "is not a device",
		"id-ctrl /dev/null":                "inappropriate ioctl",
		"id-ctrl zz:00.0":                  "want DOMAIN:BUS:SLOT.FUNCTION",
		"id-ctrl ffff:ff:1f.7":             "run: blkbench nvme list",
		"bind ffff:ff:1f.7":                "run: blkbench nvme list",
		"bind":                             "which controller?",
		"bind nvme+vfio-user:///x/1":       "needs no binding",
		"unbind /dev/nvme999":              "run: blkbench nvme list",
		"id-ctrl nvme+vfio-user:///none/1": "/none",
		"id-ctrl iscsi://x":                "unknown scheme 'iscsi'",
	} {
		if a := cli(t, "", strings.Fields(line)...); a.code != 1 || !strings.Contains(a.stderr, want) {
			t.Errorf("%s: %+v", line, a)
		}
	}
}

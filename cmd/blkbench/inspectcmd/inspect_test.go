package inspectcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// img runs qemu-img in a folder.
func img(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "qemu-img", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
	}
}

func inspect(t *testing.T, path string) *Report {
	t.Helper()
	r, err := Inspect(t.Context(), path, "", -1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPeerGoodImages: what qemu-img makes is what it is said to be, and arouses no suspicion of its own.
func TestPeerGoodImages(t *testing.T) {
	enginetest.Require(t, "qemu-img", "qemu-io")
	dir := t.TempDir()
	img(t, dir, "create", "-q", "-f", "raw", "base.raw", "1M")
	for _, c := range []struct {
		name, format, options string
		verdict               Verdict
		codes                 []string
	}{
		{"plain", "qcow2", "", Safe, nil},
		{"small clusters", "qcow2", "cluster_size=512,refcount_bits=1", Safe, nil},
		{"large clusters", "qcow2", "cluster_size=2M,refcount_bits=64,lazy_refcounts=on", Safe, nil},
		{"old", "qcow2", "compat=0.10", Safe, nil},
		{"subclusters", "qcow2", "extended_l2=on", Safe, nil},
		{"zstd", "qcow2", "compression_type=zstd", Safe, nil},
		{"preallocated", "qcow2", "preallocation=metadata", Safe, nil},
		{"full", "qcow2", "preallocation=full", Safe, nil},
		{"backed", "qcow2", "backing_file=base.raw,backing_fmt=raw", Suspicious, []string{"reference"}},
		{"data file", "qcow2", "data_file=data.raw,data_file_raw=on", Suspicious, []string{"reference"}},
		{"raw", "raw", "", Safe, nil},
		{"vmdk", "vmdk", "", Unexamined, []string{"unexamined"}},
		{"vmdk in parts", "vmdk", "subformat=twoGbMaxExtentFlat", Suspicious, []string{"reference", "unexamined"}},
		{"vdi", "vdi", "", Unexamined, []string{"unexamined"}},
		{"vhdx", "vhdx", "", Unexamined, []string{"unexamined"}},
		{"vpc", "vpc", "", Unexamined, []string{"unexamined"}},
		{"fixed vpc", "vpc", "subformat=fixed", Safe, nil},
		{"qed", "qed", "", Unexamined, []string{"unexamined"}},
		{"backed qed", "qed", "backing_file=base.raw,backing_fmt=raw", Suspicious, []string{"reference", "unexamined"}},
		{"qcow", "qcow", "", Unexamined, []string{"unexamined"}},
		{"backed qcow", "qcow", "backing_file=base.raw,backing_fmt=raw", Suspicious, []string{"reference", "unexamined"}},
		{"parallels", "parallels", "", Unexamined, []string{"unexamined"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := strings.ReplaceAll(c.name, " ", "-")
			args := []string{"create", "-q", "-f", c.format, name, "4M"}
			if c.options != "" {
				args = slices.Insert(args, 4, "-o", c.options)
			}
			img(t, dir, args...)
			if c.format == "qcow2" {
				cmd := exec.CommandContext(t.Context(), "qemu-io", "-f", "qcow2", "-c", "write 100k 500k", "-c", "write -z 2M 64k", name)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			if c.name == "plain" {
				img(t, dir, "snapshot", "-c", "first", name)
				img(t, dir, "snapshot", "-c", "second", name)
				img(t, dir, "bitmap", "--add", name, "bitmap")
			}
			r := inspect(t, filepath.Join(dir, name))
			var codes []string
			for _, f := range r.Findings {
				codes = append(codes, f.Code)
			}
			slices.Sort(codes)
			if r.Format != c.format || r.Verdict != c.verdict || !slices.Equal(codes, c.codes) {
				t.Errorf("%s, %s, %+v", r.Format, r.Verdict, r.Findings)
			}
			if c.format == "qcow2" && (*r.VirtualSize != 4<<20 || *r.MappedSize < 500<<10) {
				t.Errorf("virtual size %d, mapped %d", *r.VirtualSize, *r.MappedSize)
			}
			if c.name == "plain" && (len(r.Snapshots) != 2 || r.Snapshots[1].Name != "second" || !slices.Equal(r.Bitmaps, []string{"bitmap"})) {
				t.Errorf("snapshots %v, bitmaps %v", r.Snapshots, r.Bitmaps)
			}
		})
	}
}

func TestPeerCompressed(t *testing.T) {
	enginetest.Require(t, "qemu-img")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), bytes.Repeat([]byte("some text that compresses\n"), 100000), 0o644); err != nil {
		t.Fatal(err)
	}
	img(t, dir, "convert", "-c", "-f", "raw", "-O", "qcow2", "text", "packed")
	if r := inspect(t, filepath.Join(dir, "packed")); r.Verdict != Safe || *r.MappedSize < 2<<20 {
		t.Errorf("%+v", r)
	}
}

// TestPolyglots: bytes that are two things at once.
func TestPolyglots(t *testing.T) {
	dir := t.TempDir()
	mbr := make([]byte, 64<<10)
	mbr[510], mbr[511] = 0x55, 0xaa
	gpt := bytes.Clone(mbr)
	copy(gpt[512:], "EFI PART")
	iso := bytes.Clone(gpt)
	copy(iso[0x8001:], "CD001")
	both := bytes.Clone(gpt)
	copy(both, "QED\x00")
	isoVMDK := bytes.Clone(iso)
	copy(isoVMDK, "# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0\n")
	for name, c := range map[string]struct {
		content []byte
		format  string
		verdict Verdict
	}{
		"mbr": {mbr, "raw", Safe}, "gpt": {gpt, "raw", Safe}, "iso": {iso, "iso", Safe}, "qed+gpt": {both, "qed", Suspicious},
		"iso+vmdk": {isoVMDK, "vmdk", Suspicious}, "luks": {[]byte("LUKS\xba\xbe\x00\x02"), "luks", Safe}, "empty": {nil, "raw", Safe}, "short": {[]byte("QFI\xfb"), "raw", Safe},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		if r := inspect(t, path); r.Format != c.format || r.Verdict != c.verdict {
			t.Errorf("%s: %s, %s, %+v", name, r.Format, r.Verdict, r.Findings)
		}
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{path}, exitSafe},
		{[]string{"--output=json", path}, exitSafe},
		{[]string{"-f", "raw", path}, exitSafe},
		{[]string{"-f", "qcow2", path}, exitSuspicious},
		{[]string{"--max-size=4k", path}, exitSafe},
		{[]string{"--max-size=4095", path}, exitSuspicious},
		{[]string{"-q", path}, exitSafe},
		{[]string{path + "x"}, exitFailed},
		{[]string{dir}, exitFailed},
		{[]string{}, exitUsage},
		{[]string{path, path}, exitUsage},
		{[]string{"--output=xml", path}, exitUsage},
		{[]string{"--nothing", path}, exitUsage},
		{[]string{"--max-size=x", path}, exitUsage},
	} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), &Env{Stdout: &out, Stderr: &errs, Prog: "blkbench"}, c.args)
		if code != c.code || (code == exitFailed || code == exitUsage) != (errs.Len() > 0) {
			t.Errorf("%q: code %d, want %d\n%s%s", c.args, code, c.code, out.String(), errs.String())
		}
		if slices.Contains(c.args, "-q") != (out.Len() == 0) && errs.Len() == 0 {
			t.Errorf("%q: %q", c.args, out.String())
		}
		if slices.Contains(c.args, "--output=json") && c.code == exitSafe {
			var r Report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Verdict != Safe || r.Format != "raw" || *r.VirtualSize != 4096 {
				t.Errorf("%v: %s", err, out.String())
			}
		}
	}
}

// FuzzInspect: whatever the bytes are, there is a verdict or an error of reading.
func FuzzInspect(f *testing.F) {
	for _, s := range signatures {
		b := make([]byte, 4096)
		if s.off < len(b) {
			copy(b[s.off:], s.text)
		}
		f.Add(b)
	}
	for _, h := range hostile() {
		f.Add(h.image()[:4096])
	}
	path := filepath.Join(f.TempDir(), "image")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := Inspect(context.Background(), path, "", -1)
		if err != nil || r.Verdict == "" {
			t.Fatal(errors.Join(err, errors.New("no verdict")))
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}

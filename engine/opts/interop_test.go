package opts

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// requirePeer returns the path of a tool, or skips.
func requirePeer(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatalf("requires %s", tool)
		}
		t.Skipf("requires %s", tool)
	}
	return path
}

// qemuSize asks qemu-img what a size is, by making a null device of it.
// The device rounds up to sectors.
func qemuSize(t *testing.T, qemuImg, size string) (int64, bool) {
	t.Helper()
	tree := NewTree()
	for k, v := range map[string]string{"driver": "null-co", "size": size} {
		if err := tree.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(qemuImg, "info", "--output=json", tree.Canonical()).Output()
	if err != nil {
		return 0, false
	}
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		t.Fatal(err)
	}
	return info.Size, true
}

// TestInteropSizes compares sizes with qemu-img, whose null device cannot be
// larger than 8E less a sector and wraps what is.
func TestInteropSizes(t *testing.T) {
	qemuImg := requirePeer(t, "qemu-img")
	sizes := []string{
		"0", "512", "1b", "64k", "64K", "1M", "1.5G", "1T", "1P", "1p", "7E", "1.5E", "7.9E", "1.k", "1.0", "1.00b", "0.1k", "0.9k", "0.1P",
		"0x10", "0x1E", "07", " 5", "+5", "-1", "-0", "1.5", "1.5b", ".5k", "1kb", "1KiB", "1e3", "1 k", "5 ", "0x", "0x1.8k", "5kk",
		"1.5.k", "k", "", "inf", "nan", "1_000", "0b1", "16E", "18446744073709551616",
	}
	if !testing.Short() {
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			s := strconv.FormatInt(r.Int64N(1<<(1+r.IntN(13))), 10)
			if r.IntN(2) == 0 {
				s += "." + strconv.Itoa(r.IntN(100000))
			}
			sizes = append(sizes, s+string("bkKMGTPE"[r.IntN(7)]))
		}
	}
	for _, s := range sizes {
		theirs, accepted := qemuSize(t, qemuImg, s)
		ours, err := ParseSize(s)
		switch {
		case accepted != (err == nil):
			t.Errorf("%q: %d, %v; qemu-img: %d, accepted %v", s, ours, err, theirs, accepted)
		case accepted && (ours+511)/512*512 != theirs:
			t.Errorf("%q: %d, qemu-img has %d", s, ours, theirs)
		}
	}
}

// TestInteropTrees has qemu-img open what names mean here, by the canonical
// spelling, and compares the device it finds with the one by its own parser.
func TestInteropTrees(t *testing.T) {
	qemuImg := requirePeer(t, "qemu-img")
	dir := t.TempDir()
	t.Chdir(dir)
	for name, size := range map[string]int64{"plain.img": 1 << 20, "a:b": 2 << 20, "comma,in.img": 3 << 20} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
	open := func(args ...string) string {
		out, err := exec.Command(qemuImg, append([]string{"info", "--output=json"}, args...)...).CombinedOutput()
		if err != nil {
			return "error"
		}
		var info struct {
			Size   int64  `json:"virtual-size"`
			Format string `json:"format"`
		}
		if err := json.Unmarshal(out, &info); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		return strconv.FormatInt(info.Size, 10)
	}
	for _, c := range []struct {
		text string
		opts bool
	}{
		{"plain.img", false},
		{"file:plain.img", false},
		{"file:a:b", false},
		{"./a:b", false},
		{"missing.img", false},
		{"null-co://", false},
		{"null-aio://", false},
		{"null-co://x", false},
		{"fat:" + dir, false},
		{"fat:rw:" + dir, false},
		{"fat:floppy:" + dir, false},
		{"fat:16:" + dir, false},
		{`json:{"driver":"raw","file.driver":"null-co","file.size":"1M"}`, false},
		{`json:{"driver":"raw","file":{"driver":"null-co","size":"1M"},"file.latency-ns":1}`, false},
		{`json:{"driver":"null-co","driver":"null-co"}`, false},
		{"foo:bar", false},
		{"d:", false},
		{"driver=null-co,size=1.5M,read-zeroes=y", true},
		{"driver=raw,file.driver=null-co,file.size=1M", true},
		{"driver=raw,file.driver=file,file.filename=comma,,in.img", true},
		{"driver=raw,file.driver=file,file.filename=comma,,in.img,", true},
		{"driver=raw,file.driver=file,file.filename=comma,in.img", true},
		{",driver=null-co", true},
		{"driver=quorum,vote-threshold=1,children.1.driver=null-co,children.0.driver=null-co,children.0.size=1M,children.1.size=1M", true},
	} {
		var theirs string
		var tree *Tree
		var err error
		if c.opts {
			theirs = open("--image-opts", c.text)
			tree, err = ParseImageOpts(c.text)
		} else {
			theirs = open(c.text)
			tree, err = ParseName(c.text)
		}
		ours := "error"
		if err == nil {
			// A node without a driver is for its caller to probe.
			if tree.Driver() == "" && strings.Contains(tree.Canonical(), `"filename"`) {
				if err := tree.Set("driver", "file"); err != nil {
					t.Fatal(err)
				}
			}
			ours = open(tree.Canonical())
		}
		if ours != theirs {
			t.Errorf("%s: as %v it is %s, by qemu-img's own parser %s (%v)", c.text, tree, ours, theirs, err)
		}
	}
}

// TestInteropNBD serves an export and has qemu-img reach it by what every
// spelling of its name means here.
func TestInteropNBD(t *testing.T) {
	qemuImg, qemuNBD := requirePeer(t, "qemu-img"), requirePeer(t, "qemu-nbd")
	dir := t.TempDir()
	image, socket, pidFile := filepath.Join(dir, "i"), filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	// With --fork it returns when the server is ready.
	if out, err := exec.Command(qemuNBD, "--fork", "--pid-file", pidFile, "-t", "-f", "raw", "-x", "disk one", "-k", socket, image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		b, err := os.ReadFile(pidFile)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Error(err)
		}
	})
	for _, s := range []string{
		"nbd+unix:///disk%20one?socket=" + socket,
		"nbd:unix:" + socket + ":exportname=disk one",
		"driver=nbd,path=" + socket + ",export=disk one",
		"driver=nbd,server.type=unix,server.path=" + socket + ",export=disk one",
		`json:{"driver":"nbd","server":{"type":"unix","path":"` + socket + `"},"export":"disk one"}`,
		"driver=raw,file=nbd+unix:///?socket=" + socket + ",file.export=disk one",
	} {
		tree, err := ParseTarget(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		out, err := exec.Command(qemuImg, "info", "--output=json", tree.Canonical()).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"virtual-size": 1048576`) {
			t.Errorf("%s is %s: %v, %s", s, tree.Canonical(), err, out)
		}
	}
}

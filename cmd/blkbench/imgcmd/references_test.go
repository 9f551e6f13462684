package imgcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outside makes images whose references lead out of their folder, into it, and to names that are no files.
func outside(t *testing.T) string {
	t.Helper()
	p := prepare(t, "create -q -f raw secret.raw 1M", "create -q -f qcow2 base.q 1M")
	dir := filepath.Join(p.theirs, "images")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"create -q -f qcow2 images/inside.q 1M",
		"create -q -f qcow2 -b inside.q -F qcow2 images/in.q",
		"create -q -f qcow2 -b ../secret.raw -F raw images/out.q",
		"create -q -f qcow2 -b " + filepath.Join(p.theirs, "secret.raw") + " -F raw images/absolute.q",
		"create -q -f qcow2 -b 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"base.q\"}}' -F qcow2 images/json.q",
		"create -q -f qcow2 -b nbd:unix:/nowhere -F raw -u images/nbd.q 1M",
		"create -q -f qcow2 -o data_file=images/data.raw images/data.q 1M",
		"create -q -f qcow2 -b link.raw -F raw -u images/link.q 1M",
	} {
		if r := run(t, "peer", p.theirs, words(line)...); r.code != 0 {
			t.Fatalf("qemu-img %s: %s", line, r.err)
		}
	}
	if err := os.Symlink("../secret.raw", filepath.Join(dir, "link.raw")); err != nil {
		t.Fatal(err)
	}
	return p.theirs
}

func TestReferencesAreFollowedOnlyWhenAllowed(t *testing.T) {
	dir := outside(t)
	for _, c := range []struct {
		image                string
		none, folder, follow int    // exit codes of map
		says                 string // what a refusal names
	}{
		{"in.q", 1, 0, 0, "'inside.q'"},
		{"out.q", 1, 1, 0, "'../secret.raw'"},
		{"absolute.q", 1, 1, 0, "secret.raw'"},
		{"json.q", 1, 1, 0, "'json:{"},
		{"nbd.q", 1, 1, 1, "'nbd:unix:/nowhere'"},
		{"link.q", 1, 1, 0, "'link.raw'"},
		{"inside.q", 0, 0, 0, ""},
	} {
		image := "images/" + c.image
		for _, how := range []struct {
			program, flag string
			code          int
		}{
			{"blkbench", "", c.none},
			{"blkbench", "--references=none", c.none},
			{"blkbench", "--references=folder", c.folder},
			{"blkbench", "--references=allow", c.follow},
			{"qemu-img", "", c.follow},
			{"qemu-img", "--references=none", c.none},
		} {
			args := []string{"map", "--output=json", image}
			if how.flag != "" {
				args = append(args, how.flag)
			}
			r := run(t, how.program, dir, args...)
			if r.code != how.code {
				t.Errorf("%s %v: exit code %d, want %d: %s", how.program, args, r.code, how.code, r.err)
				continue
			}
			if r.code != 0 && how.flag != "--references=allow" && how.program == "blkbench" &&
				(!strings.Contains(r.err, c.says) || !strings.Contains(r.err, "--references=")) {
				t.Errorf("%s %v says %q, want the name %s and the switch", how.program, args, r.err, c.says)
			}
			if how.program == "blkbench" && how.flag == "" {
				// What needs no reference works without one.
				for _, verb := range [][]string{{"info"}, {"info", "--output=json"}, {"check"}, {"snapshot", "-l"}} {
					if r := run(t, "blkbench", dir, append(verb, image)...); r.code != 0 {
						t.Errorf("blkbench %v %s: exit code %d: %s", verb, image, r.code, r.err)
					}
				}
				if r := run(t, "blkbench", dir, "info", "--backing-chain", image); r.code != c.none {
					t.Errorf("blkbench info --backing-chain %s: exit code %d, want %d: %s", image, r.code, c.none, r.err)
				}
			}
		}
	}
	if r := run(t, "blkbench", dir, "info", "--references=sometimes", "images/in.q"); r.code != 1 || !strings.Contains(r.err, "none, folder or allow") {
		t.Errorf("--references=sometimes: %+v", r)
	}
}

func TestDataFilesAreReferencesToo(t *testing.T) {
	dir := filepath.Join(outside(t), "images")
	if r := run(t, "peer", dir, "create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "data.q", "1M"); r.code != 0 {
		t.Fatal(r.err)
	}
	if r := run(t, "blkbench", dir, "map", "data.q"); r.code != 1 || !strings.Contains(r.err, "'data.raw'") || !strings.Contains(r.err, "--references=") {
		t.Errorf("without the switch: %+v", r)
	}
	if r := run(t, "blkbench", dir, "map", "--references=folder", "data.q"); r.code != 0 {
		t.Errorf("with the switch: %+v", r)
	}
	if r := run(t, "blkbench", dir, "info", "data.q"); r.code != 0 || !strings.Contains(r.out, "data file: data.raw") {
		t.Errorf("info: %+v", r)
	}
}

func TestFormatsAreProbedOnlyForReading(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "create -q -f raw a.raw 1M")
	for _, verb := range []string{
		"resize %s 2M", "snapshot -c s %s", "amend -o compat=1.1 %s", "bitmap --add %s b", "check -r all %s",
	} {
		for _, image := range []string{"a.q", "a.raw"} {
			line := strings.Replace(verb, "%s", image, 1)
			if r := run(t, "blkbench", p.ours, words(line)...); r.code != 1 || !strings.Contains(r.err, "-f") || !strings.Contains(r.err, "probed") {
				t.Errorf("blkbench %s: %+v", line, r)
			}
		}
		line := strings.Replace(verb, "%s", "-f qcow2 a.q", 1)
		if r := run(t, "blkbench", p.ours, words(line)...); r.code != 0 {
			t.Errorf("blkbench %s: %+v", line, r)
		}
	}
	for _, line := range []string{"info a.q", "info a.raw", "check a.q", "map a.q", "snapshot -l a.q", "measure a.q"} {
		if r := run(t, "blkbench", p.ours, words(line)...); r.code != 0 {
			t.Errorf("blkbench %s: %+v", line, r)
		}
	}
	if r := run(t, "blkbench", p.ours, "info", "-f", "raw", "a.q"); r.code != 0 || !strings.Contains(r.out, "file format: raw") {
		t.Errorf("raw is what was said: %+v", r)
	}
}

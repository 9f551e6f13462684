package perf

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// imageSize is that of the image that is converted, in bytes: a quarter random, half text-like, a quarter hole.
const imageSize = 1 << 30

// TestPerfConvert compares with qemu-img at its best settings (-W -m 16), in tmpfs.
func TestPerfConvert(t *testing.T) {
	needPerf(t)
	theirs, dir := peer(t, "qemu-img"), tmpfs(t)
	ours := filepath.Join(dir, "qemu-img")
	if err := os.Symlink(binary(t), ours); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	mixedImage(t, at("raw"))
	make1 := func(name string, args ...string) {
		t.Helper()
		args = append(append([]string{"convert", "-W", "-m", "16"}, args...), at(name))
		if out, err := exec.Command(theirs, args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	make1("qcow2", "-O", "qcow2", at("raw"))
	make1("zlib", "-c", "-O", "qcow2", at("raw"))
	make1("zstd", "-c", "-O", "qcow2", "-o", "compression_type=zstd", at("raw"))

	convert := func(args ...string) []string { return append([]string{"convert", "-W", "-m", "16"}, args...) }
	zstd := []string{"-c", "-O", "qcow2", "-o", "compression_type=zstd"}
	var rows []row
	var sizes []string
	for _, c := range []struct {
		name      string
		goal      float64
		args      []string
		extra     []string // ours only
		output    bool
		largerPct float64 // how much larger than qemu-img's our file may be, in percent; negative: not compared
	}{
		{"raw to qcow2", 1.3, convert("-O", "qcow2", at("raw")), nil, true, -1},
		{"qcow2 to raw", 1.3, convert("-O", "raw", at("qcow2")), nil, true, -1},
		{"raw to zlib qcow2", 4, convert("-c", "-O", "qcow2", at("raw")), nil, true, 2},
		{"zlib qcow2 to raw", 2, convert("-O", "raw", at("zlib")), nil, true, -1},
		{"raw to zstd qcow2", 1.3, convert(append(zstd, at("raw"))...), nil, true, 0},
		{"raw to zstd qcow2, --compression-level 1", 2, convert(append(zstd, at("raw"))...), []string{"--compression-level", "1"}, true, -1},
		{"zstd qcow2 to raw", 1.3, convert("-O", "raw", at("zstd")), nil, true, -1},
		{"compare raw and qcow2", 1.5, []string{"compare", at("raw"), at("qcow2")}, nil, false, -1},
		{"compare raw and zstd qcow2", 1.5, []string{"compare", at("raw"), at("zstd")}, nil, false, -1},
	} {
		run := func(program, out string, extra []string) Sample {
			args := append([]string{program, c.args[0]}, append(extra, c.args[1:]...)...)
			if c.output {
				_ = os.Remove(at(out))
				args = append(args, at(out))
			}
			return timed(t, args)
		}
		run(ours, "ours", c.extra)
		run(theirs, "theirs", nil)
		r := row{name: c.name, goal: fmt.Sprintf("rate ≥ %.1f×", c.goal)}
		for range *pairsFlag {
			r.ours = append(r.ours, run(ours, "ours", c.extra))
			r.peers = append(r.peers, run(theirs, "theirs", nil))
		}
		r.rate = Ratios(field(r.ours, rateOf), field(r.peers, rateOf))
		r.cpu = Ratios(field(r.ours, cpuOf), field(r.peers, cpuOf))
		r.met = r.rate.Median >= c.goal
		if c.output {
			if out, err := exec.Command(theirs, "compare", at("raw"), at("ours")).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", c.name, err, out)
			}
			if c.largerPct >= 0 {
				pct := 100 * (float64(size(t, at("ours")))/float64(size(t, at("theirs"))) - 1)
				r.goal += fmt.Sprintf(", file ≤ %+.0f %%", c.largerPct)
				r.met = r.met && pct <= c.largerPct
				sizes = append(sizes, fmt.Sprintf("%s: our file is %+.2f %% of qemu-img's size larger.", c.name, pct))
			}
		}
		t.Logf("%-46s rate %s, CPU %.2f×", c.name, r.rate, r.cpu.Median)
		rows = append(rows, r)
	}
	intro := fmt.Sprintf("1 GiB, a quarter random, half text-like, a quarter hole, in tmpfs; both sides with `-W -m 16`. %s", machine())
	lines := append([]string{intro, ""}, table(rows)...)
	lines = append(lines, "", strings.Join(sizes, " "), "", fmt.Sprintf("Peak memory (VmHWM) of the largest of our runs: %d MiB.", peak>>20))
	document(t, "convert", lines)
}

// peak is the most memory that one of our runs took, in bytes.
var peak int64

// timed runs a command and returns images per second, and its CPU time.
func timed(t *testing.T, argv []string) Sample {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if strings.HasPrefix(argv[0], os.TempDir()) || strings.HasPrefix(argv[0], "/dev/shm") {
		peak = max(peak, ru.Maxrss<<10)
	}
	return Sample{Rate: 1 / took.Seconds(), CPU: float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// mixedImage writes the image, in stretches of 8 MiB.
func mixedImage(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(3, 5))
	words := vocabulary(rng)
	buf := make([]byte, 8<<20)
	for off := int64(0); off < imageSize; off += int64(len(buf)) {
		switch off / int64(len(buf)) % 4 {
		case 0:
			for i := 0; i < len(buf); i += 8 {
				x := rng.Uint64()
				for k := range 8 {
					buf[i+k] = byte(x >> (8 * k))
				}
			}
		case 3:
			continue
		default:
			for at := 0; at < len(buf); {
				// Low ranks are frequent.
				a := rng.Float64()
				at += copy(buf[at:], words[int(a*a*float64(len(words)))])
			}
		}
		if _, err := f.WriteAt(buf, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(imageSize); err != nil {
		t.Fatal(err)
	}
}

// vocabulary is made of letters as frequent as in English.
func vocabulary(rng *rand.Rand) []string {
	const letters = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddlllluuucccmmmwwffggyyppbbvk"
	words := make([]string, 9000)
	for i := range words {
		b := make([]byte, 2+rng.IntN(10))
		for k := range b {
			b[k] = letters[rng.IntN(len(letters))]
		}
		words[i] = string(b) + " "
	}
	return words
}

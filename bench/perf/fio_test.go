package perf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPerfFio compares with fio: the goals are those that the project set itself.
func TestPerfFio(t *testing.T) {
	needPerf(t)
	us, fio := binary(t), peer(t, "fio")
	sides := func(args ...string) ([]string, []string) {
		args = append(args, fmt.Sprintf("--runtime=%dms", timeFlag.Milliseconds()), "--time_based", "--output-format=json")
		return append([]string{us, "run"}, args...), append([]string{fio}, args...)
	}
	var rows []row
	given := func(args []string) string {
		var kept []string
		for _, a := range args {
			if !strings.HasPrefix(a, "--name=") && !strings.HasPrefix(a, "--filename=") {
				kept = append(kept, a)
			}
		}
		return strings.Join(kept, " ")
	}
	for _, c := range []struct {
		depth int
		extra []string
	}{{1, nil}, {4, nil}, {32, nil}, {64, nil}, {1, []string{"--norandommap"}}} {
		args := append([]string{
			"--name=null", "--ioengine=null", "--size=1g", "--bs=4k", "--rw=randread", "--cpus_allowed=1", fmt.Sprintf("--iodepth=%d", c.depth),
		}, c.extra...)
		a, b := sides(args...)
		r := compare(t, strings.TrimSpace(fmt.Sprintf("null target, depth %d, full statistics %s", c.depth, strings.Join(c.extra, " "))), a, b)
		r.args, r.goal, r.met = given(args), "rate ≥ 3×", r.rate.Median >= 3
		rows = append(rows, r)
	}
	file := filepath.Join(tmpfs(t), "target")
	fill(t, file, 512<<20)
	for _, stats := range []string{"full statistics", "gtod_reduce"} {
		for _, bs := range []int{4096, 512} {
			for _, depth := range []int{1, 64} {
				args := []string{
					"--name=tmpfs", "--filename=" + file, "--ioengine=io_uring", "--fixedbufs=1", "--registerfiles=1", "--rw=randread",
					fmt.Sprintf("--bs=%d", bs), fmt.Sprintf("--iodepth=%d", depth), "--invalidate=0",
				}
				if depth > 1 {
					args = append(args, "--iodepth_batch=32", "--iodepth_batch_complete_max=32")
				}
				if stats == "gtod_reduce" {
					args = append(args, "--gtod_reduce=1")
				}
				a, b := sides(args...)
				r := compare(t, fmt.Sprintf("tmpfs, %d B random reads, depth %d, %s", bs, depth, stats), a, b)
				r.args = given(args)
				r.goal = "rate ≥ 1.0× (≥ 0.97), CPU ≤ 0.9×"
				r.met = r.rate.Median >= 1 && r.rate.Low >= 0.97 && r.cpu.Median <= 0.9
				rows = append(rows, r)
			}
		}
	}
	disk := filepath.Join(t.TempDir(), "target")
	fill(t, disk, 1<<30)
	for _, c := range []struct {
		rw, bs string
		depth  int
	}{{"randread", "4k", 1}, {"randread", "4k", 32}, {"read", "1m", 8}} {
		args := []string{
			"--name=disk", "--filename=" + disk, "--ioengine=io_uring", "--direct=1", "--rw=" + c.rw, "--bs=" + c.bs,
			fmt.Sprintf("--iodepth=%d", c.depth),
		}
		a, b := sides(args...)
		r := compare(t, fmt.Sprintf("local disk, O_DIRECT, %s %s, depth %d", c.rw, c.bs, c.depth), a, b)
		r.args, r.goal, r.met = given(args), "rate ≥ 0.98×, CPU < 1×", r.rate.Median >= 0.98 && r.cpu.Median < 1
		rows = append(rows, r)
	}
	document(t, "fio", append(append([]string{machine(), ""}, table(rows)...), argsOf(rows)...))
}

// tmpfs is a temporary folder in memory.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "blkbench-perf-") //nolint:usetesting // it has to be a tmpfs
	if err != nil {
		t.Skipf("requires a tmpfs at /dev/shm: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fill writes n bytes that are not zero.
func fill(t *testing.T, path string, n int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	x := uint64(88172645463325252)
	for off := int64(0); off < n; off += int64(len(buf)) {
		for i := 0; i < len(buf); i += 8 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			for k := range 8 {
				buf[i+k] = byte(x >> (8 * k))
			}
		}
		if _, err := f.Write(buf[:min(int64(len(buf)), n-off)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

package perf

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noMallocs is how many heap allocations per operation count as none: those of the threads that start and report.
const noMallocs = 1e-3

// TestPerfQcow2 compares an allocated qcow2 image with the same bytes as a raw file, both under blkbench run, and with what qemu-img's
// own loop makes of it.
func TestPerfQcow2(t *testing.T) {
	needPerf(t)
	us, qemu := binary(t), peer(t, "qemu-img")
	const size = 512 << 20
	dir := tmpfs(t)
	raw, image := filepath.Join(dir, "raw"), filepath.Join(dir, "image.qcow2")
	fill(t, raw, size)
	qemuImg(t, qemu, "convert", "-f", "raw", "-O", "qcow2", raw, image)
	run := func(target, rw string, depth int) []string {
		args := []string{
			us, "run", "--name=qcow2", "--filename=" + target, "--ioengine=io_uring", "--rw=" + rw, "--bs=4k",
			fmt.Sprintf("--iodepth=%d", depth), fmt.Sprintf("--size=%d", size), "--invalidate=0", "--time_based",
			fmt.Sprintf("--runtime=%dms", timeFlag.Milliseconds()), "--output-format=json",
		}
		if depth > 1 {
			args = append(args, "--iodepth_batch=32", "--iodepth_batch_complete_max=32")
		}
		return args
	}
	qcow2 := func(path string) string {
		return "driver=qcow2,file.driver=file,file.filename=" + path + ",file.locking=off"
	}
	var rows []row
	add := func(r row, rate float64, goal string) {
		r.goal = goal + ", no allocation"
		r.met = r.rate.Median >= rate && Median(field(r.ours, mallocsOf)) < noMallocs
		rows = append(rows, r)
	}
	for _, rw := range []string{"randread", "randwrite"} {
		for _, depth := range []int{1, 32} {
			add(compare(t, fmt.Sprintf("qcow2 and raw, 4 KiB %s, depth %d", rw, depth), run(qcow2(image), rw, depth), run(raw, rw, depth)),
				0.95, "rate ≥ 0.95× raw")
		}
	}
	for _, aio := range []string{"threads", "io_uring"} {
		add(compareSides(t, "qcow2, 4 KiB reads in order, depth 32, and qemu-img bench -i "+aio,
			fioSide(run(qcow2(image), "read", 32)), qemuBench(qemu, aio, image)), 2.5, "rate ≥ 2.5×")
	}

	// Guest data in a null device: what the mapping costs when nothing else does.
	external := filepath.Join(dir, "external.qcow2")
	qemuImg(t, qemu, "create", "-f", "qcow2", "-o", "data_file="+filepath.Join(dir, "data")+",data_file_raw=on,preallocation=metadata",
		external, strconv.Itoa(size))
	null := fmt.Sprintf("driver=null-co,size=%d,read-zeroes=off", size)
	overNull := qcow2(external) + ",data-file." + strings.ReplaceAll(null, ",", ",data-file.")
	r := compare(t, "qcow2 with its data in a null device, and that device, 4 KiB randread, depth 32",
		slices.Concat(run(overNull, "randread", 32), []string{"--norandommap"}), slices.Concat(run(null, "randread", 32), []string{"--norandommap"}))
	more := time.Duration((Median(field(r.ours, cpuOf)) - Median(field(r.peers, cpuOf))) * 1e9)
	r.goal = "at most 40 ns of CPU time more per I/O, no allocation"
	r.name += fmt.Sprintf(" (+%d ns)", more.Nanoseconds())
	r.met = more <= 40*time.Nanosecond && Median(field(r.ours, mallocsOf)) < noMallocs
	rows = append(rows, r)
	document(t, "qcow2", append([]string{machine(), ""}, table(rows)...))
}

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

var benchTime = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

// qemuBench is qemu-img bench with 4 KiB reads in order at depth 32; its count is chosen so that a run takes about as long as ours.
func qemuBench(qemu, aio, image string) side {
	count := 50_000
	return func(t *testing.T) Sample {
		t.Helper()
		cmd := exec.Command(qemu, "bench", "-f", "qcow2", "-i", aio, "-c", strconv.Itoa(count), "-d", "32", "-s", "4096", image)
		out, err := cmd.CombinedOutput()
		m := benchTime.FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
		}
		secs, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil || secs <= 0 {
			t.Fatalf("%s: %q seconds: %v", strings.Join(cmd.Args, " "), m[1], err)
		}
		ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		s := Sample{
			Rate: float64(count) / secs,
			CPU:  (time.Duration(ru.Utime.Nano()) + time.Duration(ru.Stime.Nano())).Seconds() / float64(count),
		}
		count = max(10_000, int(s.Rate*timeFlag.Seconds()))
		return s
	}
}

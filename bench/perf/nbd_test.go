package perf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestPerfNBD compares the NBD client with fio's nbd engine (libnbd), both at one nbdkit memory server over a Unix socket. On few cores the
// server takes most of the time: the CPU time of the client is what tells.
func TestPerfNBD(t *testing.T) {
	needPerf(t)
	us, fio := binary(t), peer(t, "fio")
	uri := nbdkitMemory(t, 1<<30)
	full := exec.Command(fio, "--name=fill", "--ioengine=nbd", "--uri="+uri, "--rw=write", "--bs=1m", "--iodepth=8", "--size=1g", "--refill_buffers")
	if out, err := full.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var rows []row
	for _, c := range []struct {
		rw, bs string
		depth  int
		goal   float64 // of the rate
	}{{"randread", "4k", 32, 1.2}, {"randread", "4k", 1, 1}, {"randwrite", "4k", 32, 1.2}, {"randread", "1m", 8, 1}, {"randwrite", "1m", 8, 1}} {
		args := []string{
			"--name=nbd", "--ioengine=nbd", "--uri=" + uri, "--rw=" + c.rw, "--bs=" + c.bs, fmt.Sprintf("--iodepth=%d", c.depth), "--size=1g",
			fmt.Sprintf("--runtime=%dms", timeFlag.Milliseconds()), "--time_based", "--output-format=json",
		}
		r := compare(t, fmt.Sprintf("nbdkit memory, Unix socket, %s %s, depth %d", c.rw, c.bs, c.depth),
			append([]string{us, "run"}, args...), append([]string{fio}, args...))
		r.goal = fmt.Sprintf("rate ≥ %.1f×, CPU ≤ 0.9×", c.goal)
		r.met = r.rate.Median >= c.goal && r.cpu.Median <= 0.9
		rows = append(rows, r)
	}
	lines := append([]string{machine(), ""}, append(table(rows), argsOf(rows)...)...)
	t.Log("\n" + strings.Join(lines, "\n"))
	document(t, "nbd", lines)
}

// nbdkitMemory starts a server and returns its URI.
func nbdkitMemory(t *testing.T, size int64) string {
	t.Helper()
	dir := tmpfs(t)
	sock, pid := filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	out, err := exec.Command(peer(t, "nbdkit"), "-U", sock, "-P", pid, "memory", strconv.FormatInt(size, 10)).CombinedOutput()
	if err != nil {
		t.Fatalf("nbdkit: %v: %s", err, out)
	}
	t.Cleanup(func() {
		b, err := os.ReadFile(pid)
		if err != nil {
			return
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			_ = syscall.Kill(n, syscall.SIGTERM)
		}
	})
	return "nbd+unix:///?socket=" + sock
}

package perf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPerfServeNBD compares the NBD server with qemu-nbd and nbdkit's file plugin: each serves the same file in memory at a Unix socket to
// the same client. On few cores the client takes most of the time: the CPU time of the server per request is what tells.
func TestPerfServeNBD(t *testing.T) {
	needPerf(t)
	us, fio, nbdcopy := binary(t), peer(t, "fio"), peer(t, "nbdcopy")
	dir := tmpfs(t)
	file := filepath.Join(dir, "image")
	const size = 1 << 30
	fill(t, file, size)
	ours := startServer(t, dir, "ours", us, "nbd", "-r", "-f", "raw", "-k", "SOCKET", file)
	qemu := startServer(t, dir, "qemu-nbd", peer(t, "qemu-nbd"), "-r", "-t", "-e", "0", "-f", "raw", "-k", "SOCKET", file)
	nbdkit := startServer(t, dir, "nbdkit", peer(t, "nbdkit"), "-f", "-r", "-U", "SOCKET", "file", file)

	random := func(bs string, depth int) func(*nbdServer) side {
		return func(s *nbdServer) side {
			return s.charged(fioSide([]string{
				fio, "--name=nbd", "--ioengine=nbd", "--uri=" + s.uri, "--rw=randread", "--bs=" + bs, fmt.Sprintf("--iodepth=%d", depth), "--size=1g",
				fmt.Sprintf("--runtime=%dms", timeFlag.Milliseconds()), "--time_based", "--output-format=json",
			}), *timeFlag)
		}
	}
	copying := func(bs int) func(*nbdServer) side {
		return func(s *nbdServer) side {
			return s.charged(func(t *testing.T) Sample {
				t.Helper()
				begin, n := time.Now(), 0
				for ; time.Since(begin) < *timeFlag; n++ {
					out, err := exec.Command(nbdcopy, fmt.Sprintf("--request-size=%d", bs), "--requests=32", s.uri, "null:").CombinedOutput()
					if err != nil {
						t.Fatalf("nbdcopy: %v: %s", err, out)
					}
				}
				return Sample{Rate: float64(n) * size / float64(bs) / time.Since(begin).Seconds()}
			}, 0)
		}
	}
	var rows []row
	for _, c := range []struct {
		name string
		run  func(*nbdServer) side
		cpu  float64 // at most so much of qemu-nbd's; 0: no goal
	}{
		{"fio randread 4k, depth 32", random("4k", 32), 0.7},
		{"nbdcopy of 4k requests, 32 in flight", copying(4 << 10), 0.7},
		{"fio randread 4k, depth 1", random("4k", 1), 0},
		{"fio randread 1m, depth 8", random("1m", 8), 0},
		{"nbdcopy of 1m requests, 32 in flight", copying(1 << 20), 0},
	} {
		r := compareSides(t, c.name+", against qemu-nbd", c.run(ours), c.run(qemu))
		r.goal, r.met = "rate ≥ 1.2×", r.rate.Median >= 1.2
		if c.cpu > 0 {
			r.goal += fmt.Sprintf(", CPU ≤ %.1f×", c.cpu)
			r.met = r.met && r.cpu.Median <= c.cpu
		}
		rows = append(rows, r)
		r = compareSides(t, c.name+", against nbdkit file", c.run(ours), c.run(nbdkit))
		r.goal, r.met = "rate ≥ 1×", r.rate.Median >= 1
		rows = append(rows, r)
	}
	lines := append([]string{machine(), "", "Rates are the client's, CPU time is the server's.", ""}, table(rows)...)
	grown := idleClients(t, ours, 1000)
	lines = append(lines, "", fmt.Sprintf("1000 idle clients: the server grows by %.0f MB (goal: under 100 MB).", float64(grown)/1e6))
	t.Log("\n" + strings.Join(lines, "\n"))
	document(t, "nbdserver", lines)
}

// nbdServer is a server under test.
type nbdServer struct {
	uri, sock string
	pid       int
}

// startServer runs a server in the foreground until the test ends. SOCKET in its arguments is replaced.
func startServer(t *testing.T, dir, name string, argv ...string) *nbdServer {
	t.Helper()
	s := &nbdServer{sock: filepath.Join(dir, name)}
	s.uri = "nbd+unix:///?socket=" + s.sock
	for i := range argv {
		if argv[i] == "SOCKET" {
			argv[i] = s.sock
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // what it says of itself does not matter here
	})
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", s.sock)
		if err == nil {
			c.Close()
			return s
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%s: %v", argv[0], err)
		}
	}
}

// charged runs a client and puts the server's CPU time per operation in its place. limit is how long the client measures; 0: all the time
// it runs, warm-up and connecting included.
func (s *nbdServer) charged(run side, limit time.Duration) side {
	return func(t *testing.T) Sample {
		t.Helper()
		before, begin := s.cpu(t), time.Now()
		sample := run(t)
		spent := s.cpu(t) - before
		span := limit
		if span == 0 {
			span = time.Since(begin)
		}
		sample.CPU = spent.Seconds() / (sample.Rate * span.Seconds())
		return sample
	}
}

// cpu is what the process and its threads have used, those that have ended included.
func (s *nbdServer) cpu(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	// proc(5): utime and stime are fields 14 and 15; the name, field 2, may have spaces in it.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the process's memory in bytes.
func (s *nbdServer) resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// idleClients connects clients up to transmission and says how much the server's memory has grown.
func idleClients(t *testing.T, s *nbdServer, n int) int64 {
	t.Helper()
	before := s.resident(t)
	for range n {
		c, err := net.Dial("unix", s.sock)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// EXPORT_NAME of the default export, with NO_ZEROES.
		hello := "\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"
		if _, err := io.ReadFull(c, make([]byte, 18)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(hello)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	return s.resident(t) - before
}

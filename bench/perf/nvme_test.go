package perf

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/nvme/nvmetest"
	"github.com/blkbench/blkbench/vfio"
)

const fakeEnv = "BLKBENCH_PERF_FAKE"

// TestServeFakeController is the child process of TestPerfNVMe: a controller on a vfio-user socket, on a core of its own.
func TestServeFakeController(t *testing.T) {
	dir := os.Getenv(fakeEnv)
	if dir == "" {
		t.Skip("requires TestPerfNVMe: it is its child process")
	}
	f, err := nvmetest.New(nvmetest.Config{Namespaces: []nvmetest.NamespaceConfig{{Blocks: 1 << 16, BlockSize: 512}}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	s, err := f.Serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	fmt.Println("serving")
	<-end
}

// fakeController starts the child on core 0 and returns its folder.
func fakeController(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	taskset := peer(t, "taskset")
	cmd := exec.Command(taskset, "-c", "0", os.Args[0], "-test.run=^TestServeFakeController$", "-test.v")
	cmd.Env = append(os.Environ(), fakeEnv+"="+dir, "GOMAXPROCS=2")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "serving") {
			return dir
		}
	}
	t.Fatal("the controller does not start")
	return ""
}

// driverLoop reads blocks of 512 bytes through the driver's queue alone, without engine or statistics, on core 1.
func driverLoop(dir string, depth int, batch int) side {
	return func(t *testing.T) Sample {
		t.Helper()
		done := make(chan Sample)
		go func() {
			defer close(done)
			runtime.LockOSThread() // never unlocked: the thread ends with its affinity
			var cpus unix.CPUSet
			cpus.Set(1)
			if err := unix.SchedSetaffinity(0, &cpus); err != nil {
				t.Error(err)
				return
			}
			done <- readBlocks(t, dir, depth, batch)
		}()
		return <-done
	}
}

func readBlocks(t *testing.T, dir string, depth, batch int) Sample {
	dev, err := vfio.Dial(dir)
	if err != nil {
		t.Error(err)
		return Sample{}
	}
	c, err := nvme.Attach(t.Context(), dev, nvme.Options{})
	if err != nil {
		t.Error(err)
		return Sample{}
	}
	defer c.Close()
	q, err := c.OpenQueueSize(t.Context(), 256)
	if err != nil {
		t.Error(err)
		return Sample{}
	}
	defer q.Close()
	m, err := c.NewMemory(depth * 4096)
	if err != nil {
		t.Error(err)
		return Sample{}
	}
	var out [256]nvme.Done
	ios, inFlight, lba := 0, 0, uint64(1)
	began, cpu := time.Now(), threadTime(t)
	for k := 0; ; k++ {
		for free := depth - inFlight; free >= min(batch, depth) && free > 0; free = depth - inFlight {
			for range min(batch, free) {
				lba = lba*6364136223846793005 + 1442695040888963407
				if _, ok := q.Prepare(nvme.OpRead, 1, lba>>48, 0, m.IOVA+uint64(inFlight)*4096, 512); !ok {
					t.Error("the queue is full")
					return Sample{}
				}
				inFlight++
			}
			q.Kick()
		}
		n := q.Poll(out[:])
		inFlight -= n
		ios += n
		if k%1024 == 0 && time.Since(began) >= *timeFlag {
			break
		}
	}
	s := Sample{Rate: float64(ios) / time.Since(began).Seconds(), CPU: (threadTime(t) - cpu).Seconds() / float64(ios)}
	for inFlight > 0 {
		inFlight -= q.Poll(out[:])
	}
	return s
}

// TestPerfNVMe runs 512-byte random reads on a controller behind a vfio-user socket, that polls on a core of its own: blkbench run with full
// statistics against a loop on the driver's queue.
func TestPerfNVMe(t *testing.T) {
	needPerf(t)
	if runtime.NumCPU() < 2 {
		t.Skip("requires two cores")
	}
	dir := fakeController(t)
	var rows []row
	for _, depth := range []int{1, 32, 128} {
		batch := min(32, depth)
		args := []string{
			binary(t), "run", "--name=nvme", "--filename=nvme+vfio-user://" + dir + "/1", "--rw=randread", "--norandommap", "--bs=512", "--hipri=1", "--cpus_allowed=1",
			fmt.Sprintf("--iodepth=%d", depth), fmt.Sprintf("--runtime=%dms", timeFlag.Milliseconds()), "--time_based", "--output-format=json",
		}
		if depth > 1 {
			args = append(args, fmt.Sprintf("--iodepth_batch=%d", batch), "--iodepth_batch_complete_min=1", fmt.Sprintf("--iodepth_batch_complete_max=%d", batch))
		}
		r := compareSides(t, fmt.Sprintf("512 B random reads, depth %d", depth), fioSide(args), driverLoop(dir, depth, batch))
		r.goal, r.met = "CPU ≤ 1.25×", r.cpu.Median <= 1.25
		rows = append(rows, r)
	}
	document(t, "nvme", append([]string{
		"A controller of the project's own (`nvme/nvmetest`) on a vfio-user socket, polled on one core; on the other `blkbench run` with full statistics,",
		"against a loop on the driver's queue without engine and statistics. Both wait by polling, so CPU time includes the controller's.", "", machine(), "",
	}, table(rows)...))
}

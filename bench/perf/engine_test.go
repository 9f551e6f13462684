package perf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/protocols/file"
	"github.com/blkbench/blkbench/uring"
)

// TestPerfEngine measures what the engine adds to a bare ring, and what a run takes besides its I/O.
func TestPerfEngine(t *testing.T) {
	needPerf(t)
	runtime.LockOSThread() // a ring belongs to its thread
	path, bare := nopPath(t), nopRing(t)
	defer path.close()
	defer bare.close()
	var r row
	for i := range *pairsFlag + 1 {
		a, b := path.measure(t), bare.measure(t)
		if i > 0 { // the first is the warm-up
			r.ours, r.peers = append(r.ours, a), append(r.peers, b)
		}
	}
	r.name, r.args = "NOPs through a Path, batches of 32; the peer is a loop on a bare ring", "in this process, one thread"
	r.rate, r.cpu = Ratios(field(r.ours, rateOf), field(r.peers, rateOf)), Ratios(field(r.ours, cpuOf), field(r.peers, cpuOf))
	r.goal, r.met = "rate ≥ 0.85×", r.rate.Median >= 0.85
	t.Logf("%-46s rate %s, CPU per I/O %.2f×", r.name, r.rate, r.cpu.Median)
	lines := append(append([]string{machine(), ""}, table([]row{r})...), "", "| a run besides its I/O | | goal | |", "| --- | --- | --- | --- |")
	for _, f := range []fact{memoryBySize(t), memoryByTime(t), startUp(t)} {
		t.Logf("%-46s %s", f.name, f.value)
		verdict := "met"
		if !f.met {
			verdict = "**missed**"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s |", f.name, f.value, f.goal, verdict))
	}
	document(t, "engine", lines)
}

// fact is a figure that has no peer.
type fact struct {
	name, value, goal string
	met               bool
}

// nopBatch is how many NOPs go together.
const nopBatch = 32

// nopLoop sends NOPs, a batch at a time.
type nopLoop struct {
	batch func() error
	close func()
}

// measure runs batches for the time of a run.
func (l *nopLoop) measure(t *testing.T) Sample {
	t.Helper()
	n, cpu := 0, threadTime(t)
	began := time.Now()
	for time.Since(began) < *timeFlag {
		for range 64 {
			if err := l.batch(); err != nil {
				t.Fatal(err)
			}
		}
		n += 64 * nopBatch
	}
	took := time.Since(began).Seconds()
	return Sample{Rate: float64(n) / took, CPU: (threadTime(t) - cpu).Seconds() / float64(n)}
}

func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// nopPath sends NOPs through everything that a request to a file goes through.
func nopPath(t *testing.T) *nopLoop {
	t.Helper()
	name := filepath.Join(tmpfs(t), "target")
	fill(t, name, 1<<20)
	env := &engine.Env{Registry: engine.NewRegistry(file.Driver())}
	tree, err := opts.ParseImageOpts("driver=file,filename=" + name)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := env.Open(t.Context(), tree, engine.OpenFlags{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.OpenPath(t.Context(), ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: nopBatch})
	if err != nil {
		t.Fatal(err)
	}
	if traits, _ := p.Describe(); len(traits) == 0 || traits[0] != "io_uring" {
		t.Skipf("requires io_uring: %v", traits)
	}
	slab := make([]engine.Request, nopBatch)
	reqs, done := make([]*engine.Request, nopBatch), make([]*engine.Request, nopBatch)
	for i := range slab {
		slab[i].Op = engine.OpNop
		reqs[i] = &slab[i]
	}
	return &nopLoop{
		batch: func() error {
			if n := p.Submit(reqs); n != nopBatch {
				return fmt.Errorf("%d of %d requests were taken", n, nopBatch)
			}
			if err := p.Kick(); err != nil {
				return err
			}
			for got := 0; got < nopBatch; {
				got += p.Poll(done)
			}
			return nil
		},
		close: func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := ref.Close(); err != nil {
				t.Error(err)
			}
		},
	}
}

// nopRing is the least that NOPs can take from Go: a loop on a ring.
func nopRing(t *testing.T) *nopLoop {
	t.Helper()
	r, err := uring.New(uring.Config{Entries: nopBatch})
	if err != nil {
		t.Skipf("requires io_uring: %v", err)
	}
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	return &nopLoop{
		batch: func() error {
			for i := range uint64(nopBatch) {
				s := r.SQE()
				s.PrepNop()
				s.UserData = i
			}
			if err := r.Kick(); err != nil {
				return err
			}
			q := r.CQ()
			for got := uint32(0); got < nopBatch; {
				n := q.Ready()
				for i := range n {
					if q.At(i).Res != 0 {
						return unix.EIO
					}
				}
				q.Release(n)
				got += n
			}
			return nil
		},
		close: func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		},
	}
}

// peakOf is the most memory, in MiB, that a run had.
func peakOf(t *testing.T, args ...string) float64 {
	t.Helper()
	var all []float64
	for range 3 {
		cmd := exec.Command(binary(t), append([]string{"run", "--name=null", "--ioengine=null", "--bs=4k", "--rw=randread", "--iodepth=32", "--output=/dev/null"}, args...)...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
		}
		all = append(all, float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024)
	}
	return Median(all)
}

func memoryBySize(t *testing.T) fact {
	small, large := peakOf(t, "--size=1g", "--number_ios=1000000"), peakOf(t, "--size=16t", "--number_ios=1000000")
	return fact{
		"memory, random reads of a target of 1 GiB and of 16 TiB", fmt.Sprintf("%.1f and %.1f MiB", small, large), "flat (≤ 1.1×)", large <= 1.1*small,
	}
}

func memoryByTime(t *testing.T) fact {
	short, long := peakOf(t, "--size=1g", "--time_based", "--runtime=2"), peakOf(t, "--size=1g", "--time_based", "--runtime=60")
	return fact{"memory, a run of 2 s and one of 60 s (the series of intervals grows to its bound)", fmt.Sprintf("%.1f and %.1f MiB", short, long), "flat (≤ 4 MiB more)", long <= short+4}
}

// startUp times whole processes that make one I/O: more than from start to that I/O.
func startUp(t *testing.T) fact {
	name := filepath.Join(tmpfs(t), "target")
	fill(t, name, 1<<20)
	var all []float64
	for range *pairsFlag {
		cmd := exec.Command(binary(t), "run", "--name=one", "--filename="+name, "--rw=randread", "--bs=4k", "--number_ios=1", "--output=/dev/null")
		began := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(began).Seconds()*1000)
	}
	ms := Median(all)
	return fact{"from the start of the process to the end of a run with one I/O, report included", fmt.Sprintf("%.0f ms", ms), "first I/O < 50 ms", ms < 50}
}

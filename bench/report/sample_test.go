package report_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blkbench/blkbench/bench/result"
)

// dist is a distribution by its values, sorted; its buckets are 1/32 wide.
type dist []uint64

func newDist(v []uint64) result.Latency {
	slices.Sort(v)
	return dist(v)
}

func (d dist) Count() uint64 { return uint64(len(d)) }
func (d dist) Min() uint64   { return d[0] }
func (d dist) Max() uint64   { return d[len(d)-1] }

func (d dist) Mean() float64 {
	sum := 0.0
	for _, v := range d {
		sum += float64(v)
	}
	return sum / float64(len(d))
}

func (d dist) StdDev() float64 {
	m, sum := d.Mean(), 0.0
	for _, v := range d {
		sum += (float64(v) - m) * (float64(v) - m)
	}
	return math.Sqrt(sum / float64(len(d)))
}

// Percentile is the middle of the bucket it falls into.
func (d dist) Percentile(p float64) uint64 {
	lo, width := bucket(d[min(len(d)-1, max(0, int(math.Ceil(p/100*float64(len(d))))-1))])
	return lo + width/2
}

// bucket has 32 a power of two.
func bucket(v uint64) (lo, width uint64) {
	width = 1
	for v/width >= 64 {
		width *= 2
	}
	return v / width * width, width
}

func (d dist) Buckets(yield func(lo, hi, n uint64) bool) {
	for i := 0; i < len(d); {
		lo, width := bucket(d[i])
		k := i
		for k < len(d) && d[k] < lo+width {
			k++
		}
		if !yield(lo, lo+width-1, uint64(k-i)) {
			return
		}
		i = k
	}
}

// sample is a run with something in every field: two jobs, of which the first has a time series with a stall in the middle.
func sample() *result.Run {
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 14, 9, 26, 53, 589793238, time.UTC)
	job := result.Job{
		Name: "randrw", Description: `70/30 mix, "database" <like>`, Members: 4, PID: 4711,
		Elapsed: 60 * time.Second, Started: start, Runtime: 240 * time.Second,
		Options: []result.KV{{Key: "rw", Value: "randrw"}, {Key: "bs", Value: "4k"}, {Key: "iodepth", Value: "32"}, {Key: "numjobs", Value: "4"}, {Key: "direct", Value: "1"}, {Key: "time_based"}},
		CPUUser: 21 * time.Second, CPUSys: 83 * time.Second, CPUKernelThreads: 3 * time.Second,
		CtxSwitches: 812345, MajorFaults: 1, MinorFaults: 4242, Mallocs: 3, MallocsKnown: true,
		DepthHist: [7]uint64{0, 0, 1000, 9000, 150000, 8e5, 0}, SubmitHist: [7]uint64{0, 9e5, 6e4, 0, 0, 0, 0}, CompleteHist: [7]uint64{0, 8e5, 1e5, 6e4, 0, 0, 0},
		Submits: 960000, Completes: 960000, ClatPercentiles: true, SlatPercentiles: true, LatPercentiles: true, Depth: 32,
		Engine: "io_uring (fixed buffers, registered files)", BlockSizes: "4096,4096,4096", RW: "randrw",
		IntervalLength: time.Second, LimitedBy: "the device: 31.6 of 32 requests were always in flight and the CPU was idle for 48 % of the time",
		Verify: &result.Verify{Kind: "crc32c", Blocks: 288000},
		Targets: []result.Target{{
			Name: "/mnt/nvme/blkbench.dat", Driver: "file", Layers: []string{"file"}, Size: 16 << 30, Path: "/mnt/nvme/blkbench.dat",
			FS: "xfs", Mount: "/mnt/nvme", MountOpts: "rw,relatime,attr2,inode64,noquota", Allocated: 16 << 30, Unwritten: 0,
			Block: &result.BlockDevice{Name: "nvme0n1", Model: "ACME Turbo 970", Serial: "S4EWNX0R", Size: 1 << 40, Scheduler: "none", NRRequests: 1023, WriteCache: "write back", Logical: 512, Physical: 4096, MaxKB: 128, NUMANode: 0},
			Facts: []result.KV{{Key: "firmware", Value: "2B2QEXM7"}},
		}},
		Path: result.PathCounts{Direct: 960000},
	}
	var all [2][]uint64
	for i := range 60 {
		step := result.Interval{Start: time.Duration(i) * time.Second, Len: time.Second}
		for d := range 2 {
			n := 160 - 90*d
			if i == 34 || i == 35 { // the device stalls
				n /= 5
			}
			v := make([]uint64, n)
			for k := range v {
				v[k] = uint64(80e3 * math.Exp(rng.NormFloat64()*0.35) * (1 + 0.6*float64(d)))
				switch {
				case rng.IntN(60) == 0:
					v[k] *= 9
				case (i == 34 || i == 35) && rng.IntN(4) == 0:
					v[k] += uint64(2e6 + 4e7*rng.Float64())
				}
			}
			all[d] = append(all[d], v...)
			step.Dir[d] = result.IntervalDir{IOs: uint64(n) * 1000, Bytes: uint64(n) * 4096000, Lat: newDist(slices.Clone(v))}
		}
		job.Series = append(job.Series, step)
	}
	for d := range all {
		ios := uint64(len(all[d])) * 1000
		slat := make([]uint64, len(all[d]))
		lat := make([]uint64, len(all[d]))
		for i, v := range all[d] {
			slat[i] = 900 + uint64(rng.IntN(400))
			lat[i] = v + slat[i]
		}
		rate := float64(ios) / 60
		job.Dir[d] = result.Dir{
			Bytes: ios * 4096, IOs: ios, Runtime: 60 * time.Second, Slat: newDist(slat), Clat: newDist(slices.Clone(all[d])), Lat: newDist(lat),
			BW: result.Samples{Min: rate * 0.8, Max: rate * 4.4, Mean: rate * 4, StdDev: 1200, N: 120}, IOPS: result.Samples{Min: rate * 0.2, Max: rate * 1.1, Mean: rate, StdDev: 300, N: 120},
			BWAgg: 100, BWBytes: rate * 4096, IOPSMean: rate,
		}
	}
	second := result.Job{
		Name: "journal", Group: 1, Members: 1, Started: start.Add(60 * time.Second), Runtime: 2 * time.Second, Elapsed: 2 * time.Second, Depth: 1, RW: "write",
		BlockSizes: "16384,16384-65536,1048576", Engine: "threads", ClatPercentiles: true,
		Error: 5, FirstError: "write /dev/sdx at 0x100000+16384: input/output error", TotalErrors: 2, ContinueOnError: true,
		Errors:    []result.IOError{{Target: "/dev/sdx", Op: "write", Off: 1 << 20, Len: 16384, Text: "input/output error"}},
		DepthHist: [7]uint64{2000}, SubmitHist: [7]uint64{0, 2000}, CompleteHist: [7]uint64{0, 2000}, Submits: 2000, Completes: 2000,
		LatencyTarget:    &result.LatencyTarget{Target: time.Millisecond, Window: 5 * time.Second, Percentile: 99, Depth: 1, Met: true},
		Steady:           &result.SteadyState{Expr: "iops:5%", Duration: 3 * time.Second, Attained: true, Criterion: 1.25, Percent: true, MaxDev: 12.5, BW: []float64{16e6, 16.1e6, 15.9e6}, IOPS: []float64{1000, 1010, 990}, BWMean: 16e6, IOPSMean: 1000, Rule: "fio", Interval: time.Second},
		Targets:          []result.Target{{Name: "nbd://bob:hunter2@host/export", Driver: "nbd", Layers: []string{"nbd"}, Size: 1 << 30, Allocated: -1, Unwritten: -1}},
		MeasuredFromPlan: true, CPUUser: 100 * time.Millisecond, CPUSys: 200 * time.Millisecond,
		LimitedBy: "the rate that was asked for",
	}
	w := make([]uint64, 2000)
	for i := range w {
		w[i] = 300000 + uint64(rng.IntN(200000))
	}
	second.Dir[result.Write] = result.Dir{Bytes: 2000 * 16384, IOs: 2000, Runtime: 2 * time.Second, Clat: newDist(w), BWBytes: 16384e3, IOPSMean: 1000, BWAgg: 100}
	s := make([]uint64, 200)
	for i := range s {
		s[i] = 2e6 + uint64(rng.IntN(1e6))
	}
	second.Dir[result.Sync] = result.Dir{IOs: 200, Lat: newDist(s)}
	return &result.Run{
		Version: "0.1.0", Start: start, Elapsed: 62 * time.Second, Globals: []result.KV{{Key: "size", Value: "16g"}},
		Jobs:  []result.Job{job, second},
		Disks: []result.DiskUtil{{Name: "dm-0", ReadIOs: 9600, WriteIOs: 4200, ReadSectors: 76800, WriteSectors: 33600, ReadTicks: 99, WriteTicks: 12, InQueue: 111, Util: 97.25, Aggregate: &result.DiskUtil{ReadIOs: 9601, Util: 99}}},
		Host: result.Host{
			Hostname: "bench1", OS: "Debian GNU/Linux 12", Kernel: "6.1.0-32-amd64", Arch: "amd64", CPU: "AMD EPYC 9354", Cores: 32, Governor: "powersave",
			Mitigations: []result.KV{{Key: "spectre_v2", Value: "Mitigation: Retpolines"}, {Key: "mds", Value: "Not affected"}}, Memory: 64 << 30, MemAvailable: 60 << 30, NUMANodes: 2,
			URing: "io_uring: 6.1, single issuer, deferred task run", Virtual: "kvm", Turbo: "on", Load: 0.4, Steal: 0.2, Busy: 52, Facts: []result.KV{{Key: "hugepages", Value: "512 of 2 MiB"}},
		},
		Hints: []result.Hint{
			{Severity: "warn", Key: "governor-powersave", Text: "The CPU frequency governor is powersave: latency includes the time the CPU takes to speed up. `cpupower frequency-set -g performance` for a measurement."},
			{Severity: "note", Key: "few-samples", Text: "The 99.99th percentile rests on 6 I/Os. Run ten times as long to trust it."},
		},
		Warnings: []string{"libaio is done by io_uring"},
		Command:  []string{"blkbench", "run", "--name=randrw", "--filename=/mnt/nvme/blkbench.dat", "--rw=randrw", "--password=hunter2", "job's file.fio"},
	}
}

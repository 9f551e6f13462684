package nvme

import (
	"errors"
	"runtime"
	"sort"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// instant is a device that completes every command the moment it is looked at, on the thread that asks: what remains is
// the host's own cost. It stands in for a controller in both sides of the comparison.
type instant struct {
	Device
	bells []uint32
	sq    []Command
	cq    []cqe
	id    uint32
	head  uint32
	tail  uint32
	phase uint32
}

func (d *instant) Window(_ int, off, _ uint64) (mmio.Window, error) {
	if off < regDoorbells {
		return mmio.Window{}, errors.New("no registers")
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&d.bells[0])), 4*len(d.bells))
	return mmio.NewWindow(b[off-regDoorbells:][:4]), nil
}

// run completes what the doorbell says.
func (d *instant) run() {
	mask := uint32(len(d.sq) - 1)
	for tail := atomic.LoadUint32(&d.bells[2*d.id]); d.head != tail; d.head = (d.head + 1) & mask {
		e := &d.cq[d.tail]
		e.sqhdSQID = d.head | d.id<<16
		atomic.StoreUint32(&e.cidPhase, uint32(d.sq[d.head].CID)|d.phase)
		d.tail = (d.tail + 1) & mask
		if d.tail == 0 {
			d.phase ^= phaseBit
		}
	}
}

const benchSize = 256

func newInstant() (*instant, *Queue) {
	d := &instant{bells: make([]uint32, 16), id: 1, phase: phaseBit}
	c := &Controller{dev: d, opt: Options{}.withDefaults(), faults: make(chan struct{}, 1)}
	c.tick.Store(1)
	q := c.newQueue(1, benchSize)
	q.sqMem = Region{Bytes: aligned(benchSize * CommandSize)}
	q.cqMem = Region{Bytes: aligned(benchSize * CompletionSize)}
	q.lists = Region{Bytes: aligned(benchSize * pageSize)}
	q.expiry = 600
	q.adopt()
	q.restart()
	d.sq, d.cq = q.sq[:benchSize], q.cq[:benchSize]
	return d, q
}

func aligned(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		panic(err)
	}
	return b
}

const batch = 32

// driven is n batches through the driver.
func driven(d *instant, q *Queue, n int) {
	var done [batch]Done
	lba := uint64(0)
	for range n {
		for i := range uint64(batch) {
			if _, ok := q.Prepare(OpRead, 1, lba+i, 0, 0x1000_0000+i<<12, 512); !ok {
				panic("full")
			}
		}
		lba += batch
		q.Kick()
		d.run()
		for k := 0; k < batch; {
			k += q.Poll(done[:])
		}
	}
}

// bare is the same by the shortest loop there is: three stores a command, a stack of identifiers, one doorbell each way.
type bare struct {
	sq         []Command
	cq         []cqe
	sqb, cqb   *uint32
	free       [benchSize]uint16
	nfree      int
	tail, head uint32
	phase      uint32
}

func newBare(d *instant) *bare {
	b := &bare{sq: d.sq, cq: d.cq, sqb: &d.bells[2], cqb: &d.bells[3], phase: phaseBit}
	for i := range benchSize - 1 {
		b.free[b.nfree] = uint16(i)
		b.nfree++
	}
	return b
}

func (b *bare) run(d *instant, n int) {
	lba := uint64(0)
	for range n {
		for i := range uint64(batch) {
			b.nfree--
			cid := b.free[b.nfree]
			c := &b.sq[b.tail&(benchSize-1)]
			*(*uint64)(unsafe.Pointer(c)) = OpRead | uint64(cid)<<16 | 1<<32
			c.PRP1 = 0x1000_0000 + i<<12
			*(*uint64)(unsafe.Pointer(&c.CDW10)) = lba + i
			b.tail++
		}
		lba += batch
		mmio.Store32(unsafe.Pointer(b.sqb), b.tail&(benchSize-1))
		d.run()
		for k := 0; k < batch; {
			e := &b.cq[b.head]
			w := atomic.LoadUint32(&e.cidPhase)
			if w&phaseBit != b.phase {
				break
			}
			if w>>17 != 0 {
				panic("status")
			}
			b.free[b.nfree] = uint16(w)
			b.nfree++
			k++
			if b.head++; b.head == benchSize {
				b.head = 0
				b.phase ^= phaseBit
			}
		}
		mmio.Store32(unsafe.Pointer(b.cqb), b.head)
	}
}

func BenchmarkQueue(b *testing.B) {
	d, q := newInstant()
	b.ReportAllocs()
	for b.Loop() {
		driven(d, q, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/io")
}

func BenchmarkBareQueue(b *testing.B) {
	d, _ := newInstant()
	l := newBare(d)
	for b.Loop() {
		l.run(d, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/io")
}

// threadTime is the CPU time of the calling thread: what others do on the machine does not count.
func threadTime(t *testing.T) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// The driver may cost little more than a bare queue loop on the same device, which is counted in for both but, unlike
// any other, costs next to nothing: about 1.2 times on an idle core, up to 1.45 when the core's other thread is busy,
// which a loop of fewer instructions feels less. A regression is what this finds; against a real device the limit of
// the driver and the engine together is 1.25 (bench/perf).
func TestCostOfDriver(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	if raceEnabled {
		t.Skip("the race detector costs more than the driver")
	}
	const limit, attempts = 1.6, 3
	cost := 0.0
	for range attempts {
		if cost = costOfDriver(t); cost <= limit {
			return
		}
	}
	t.Errorf("the driver costs %.2f times a bare loop, the limit is %v", cost, limit)
}

func costOfDriver(t *testing.T) float64 {
	const rounds, n = 101, 1000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ratios, ours, theirs []float64
	dd, q := newInstant()
	db, _ := newInstant()
	l := newBare(db)
	driven(dd, q, n)
	l.run(db, n)
	for range rounds {
		t0 := threadTime(t)
		driven(dd, q, n)
		t1 := threadTime(t)
		l.run(db, n)
		t2 := threadTime(t)
		ratios = append(ratios, float64(t1-t0)/float64(t2-t1))
		ours = append(ours, float64(t1-t0)/(n*batch))
		theirs = append(theirs, float64(t2-t1)/(n*batch))
	}
	sort.Float64s(ratios)
	sort.Float64s(ours)
	sort.Float64s(theirs)
	// Neighbours on the machine only ever add: the fast rounds of both are the ones to compare.
	cost := ours[rounds/10] / theirs[rounds/10]
	t.Logf("CPU-ns per I/O: driver %.1f, bare loop %.1f: %.2f; pairs' median %.2f (%.2f to %.2f)",
		ours[rounds/10], theirs[rounds/10], cost, ratios[rounds/2], ratios[0], ratios[rounds-1])
	return cost
}

// One submission doorbell and at most one completion doorbell for a batch, whatever its size.
func TestDoorbellsPerBatch(t *testing.T) {
	d, q := newInstant()
	var done [batch]Done
	for _, n := range []uint64{1, 7, 32} {
		for range 20 {
			sq, cq := q.sqBell.rings, q.cqBell.rings
			for i := range n {
				if _, ok := q.Prepare(OpRead, 1, i, 0, 0x1000, 512); !ok {
					t.Fatal("full")
				}
			}
			q.Kick()
			q.Kick()
			d.run()
			for k := 0; k < int(n); {
				k += q.Poll(done[:])
			}
			if s, c := q.sqBell.rings-sq, q.cqBell.rings-cq; s != 1 || c > 1 {
				t.Fatalf("batch of %d: %d submission and %d completion doorbells", n, s, c)
			}
		}
	}
}

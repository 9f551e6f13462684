package enginetest

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// queueMutant is a disk whose queue has one fault: a member that is not nil takes the place of the method.
type queueMutant struct {
	*Disk
	mutate func(q *badQueue)
}

type badQueue struct {
	engine.Queue
	d      *Disk
	submit func(reqs []*engine.Request) int
	kick   func() error
	poll   func(done []*engine.Request) int
	wait   func(limit time.Duration) error
	close  func() error
}

func (m *queueMutant) OpenQueue(ctx context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	q, err := m.Disk.OpenQueue(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b := &badQueue{Queue: q, d: m.Disk}
	m.mutate(b)
	return b, nil
}

func (q *badQueue) Supports(op engine.Op) bool { return q.Queue.(engine.QueueOps).Supports(op) }

func (q *badQueue) Submit(reqs []*engine.Request) int {
	if q.submit != nil {
		return q.submit(reqs)
	}
	return q.Queue.Submit(reqs)
}

func (q *badQueue) Kick() error {
	if q.kick != nil {
		return q.kick()
	}
	return q.Queue.Kick()
}

func (q *badQueue) Poll(done []*engine.Request) int {
	if q.poll != nil {
		return q.poll(done)
	}
	return q.Queue.Poll(done)
}

func (q *badQueue) Wait(limit time.Duration) error {
	if q.wait != nil {
		return q.wait(limit)
	}
	return q.Queue.Wait(limit)
}

func (q *badQueue) Close() error {
	if q.close != nil {
		return q.close()
	}
	return q.Queue.Close()
}

// EventFD and Arm are the queue's own.
func (q *badQueue) EventFD() int { return q.Queue.(engine.EventQueue).EventFD() }
func (q *badQueue) Arm() bool    { return q.Queue.(engine.EventQueue).Arm() }

// afterPoll changes what was polled.
func (q *badQueue) afterPoll(f func(r *engine.Request)) {
	q.poll = func(done []*engine.Request) int {
		n := q.Queue.Poll(done)
		for _, r := range done[:n] {
			f(r)
		}
		return n
	}
}

var queueMutants = []struct {
	fault, sentence string
	mutate          func(q *badQueue)
}{
	{"reads something else", "what is written is read", func(q *badQueue) {
		q.afterPoll(func(r *engine.Request) {
			if r.Op == engine.OpRead {
				dma.Bytes(r.Buf, int(r.Len))[r.Len-1] ^= 1
			}
		})
	}},
	{"says that more was moved than was", "what is written is read", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int {
			n := q.Queue.Submit(reqs)
			for _, r := range reqs[:n] {
				if r.Op == engine.OpWrite {
					q.d.Fill(make([]byte, 512), r.Off+int64(r.Len)-512)
				}
			}
			return n
		}
	}},
	{"fails flushes", "all operations", func(q *badQueue) {
		q.afterPoll(func(r *engine.Request) {
			if r.Op == engine.OpFlush {
				r.Res = -int32(unix.EIO)
			}
		})
	}},
	{"zeroes more than it was told", "all operations", func(q *badQueue) {
		q.afterPoll(func(r *engine.Request) {
			if r.Op == engine.OpZero {
				q.d.Fill([]byte{0}, r.Off+int64(r.Len))
			}
		})
	}},
	{"takes the last first", "a full queue takes fewer", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int {
			k := min(8, len(reqs))
			return q.Queue.Submit(reqs[len(reqs)-k:])
		}
	}},
	{"says that it took more", "a full queue takes fewer", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int { q.Queue.Submit(reqs); return len(reqs) }
	}},
	{"says that it took fewer", "a full queue takes fewer", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int { return max(0, q.Queue.Submit(reqs)-1) }
	}},
	{"changes what it did not take", "a full queue takes fewer", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int {
			n := q.Queue.Submit(reqs)
			for _, r := range reqs[n:] {
				r.Off++
			}
			return n
		}
	}},
	{"has room only when it is empty", "a full queue takes fewer", func(q *badQueue) {
		left := 0
		q.submit = func(reqs []*engine.Request) int {
			if left > 0 {
				return 0
			}
			left = q.Queue.Submit(reqs)
			return left
		}
		q.poll = func(done []*engine.Request) int {
			n := q.Queue.Poll(done)
			left -= n
			return n
		}
	}},
	{"keeps its own offset", "fields come back", func(q *badQueue) { q.afterPoll(func(r *engine.Request) { r.Off += 512 }) }},
	{"stamps requests", "fields come back", func(q *badQueue) { q.afterPoll(func(r *engine.Request) { r.Done = 1 << 60 }) }},
	{"leaves an old result", "fields come back", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int {
			old := make([]int32, len(reqs))
			for i, r := range reqs {
				old[i] = r.Res
			}
			n := q.Queue.Submit(reqs)
			for i, r := range reqs[:n] {
				r.Res = old[i]
			}
			return n
		}
	}},
	{"gives what it never got", "nothing to poll", func(q *badQueue) {
		r := &engine.Request{}
		q.poll = func(done []*engine.Request) int {
			if len(done) > 0 {
				done[0] = r
			}
			return min(1, len(done))
		}
	}},
	{"wait has no limit", "nothing to poll", func(q *badQueue) {
		q.wait = func(time.Duration) error { select {} }
	}},
	{"completes twice", "kick is enough", func(q *badQueue) {
		var again *engine.Request
		q.poll = func(done []*engine.Request) int {
			if again != nil && len(done) > 0 {
				done[0], again = again, nil
				return 1
			}
			n := q.Queue.Poll(done)
			if n > 0 {
				again = done[0]
			}
			return n
		}
	}},
	{"loses a request", "kick is enough", func(q *badQueue) {
		lost := false
		q.poll = func(done []*engine.Request) int {
			n := q.Queue.Poll(done)
			if n > 0 && !lost {
				lost = true
				n--
			}
			return n
		}
	}},
	{"wants a second kick, and a wait", "kick is enough", func(q *badQueue) {
		waits := 0
		q.wait = func(l time.Duration) error { waits++; return q.Queue.Wait(l) }
		q.poll = func(done []*engine.Request) int {
			if waits == 0 {
				return 0
			}
			return q.Queue.Poll(done)
		}
	}},
	{"wait does not kick", "wait kicks", func(q *badQueue) {
		kicked := false
		q.kick = func() error { kicked = true; return nil }
		q.wait = func(time.Duration) error { return nil }
		q.poll = func(done []*engine.Request) int {
			if !kicked {
				return 0
			}
			return q.Queue.Poll(done)
		}
	}},
	{"throws away what did not fit", "small polls lose nothing", func(q *badQueue) {
		q.poll = func(done []*engine.Request) int {
			var all [64]*engine.Request
			n := q.Queue.Poll(all[:])
			return copy(done, all[:n])
		}
	}},
	{"allocates", "no allocation", func(q *badQueue) {
		q.submit = func(reqs []*engine.Request) int {
			return q.Queue.Submit(append(make([]*engine.Request, 0, len(reqs)+100), reqs...))
		}
	}},
	{"close does not wait", "close waits", func(q *badQueue) {
		q.close = func() error { q.d.Release(100); return q.Queue.Close() }
	}},
	{"close forgets what was not kicked", "close ends what is in flight", func(q *badQueue) {
		var waiting []*engine.Request
		q.submit = func(reqs []*engine.Request) int {
			n := min(len(reqs), 8-len(waiting))
			waiting = append(waiting, reqs[:n]...)
			return n
		}
		q.kick = func() error {
			waiting = waiting[q.Queue.Submit(waiting):]
			return nil
		}
		q.wait = func(l time.Duration) error { _ = q.kick(); return q.Queue.Wait(l) }
	}},
	{"poll blocks", "poll never blocks", func(q *badQueue) {
		q.poll = func(done []*engine.Request) int {
			for range 3000 {
				if n := q.Queue.Poll(done); n > 0 {
					return n
				}
				time.Sleep(time.Millisecond)
			}
			return 0
		}
	}},
	{"completes what is not done", "poll never blocks", func(q *badQueue) {
		q.poll = func(done []*engine.Request) int { q.d.Release(1); return q.Queue.Poll(done) }
	}},
	{"writes into its neighbour's range", "queues of many threads", func(q *badQueue) {
		q.afterPoll(func(r *engine.Request) {
			const part = 5 << 16
			q.d.Fill([]byte{1}, (r.Off/part+1)%3*part)
		})
	}},
	{"rings nobody", "events", func(q *badQueue) {
		q.poll = func(done []*engine.Request) int {
			var b [8]byte
			_, _ = unix.Read(q.EventFD(), b[:])
			return 0
		}
	}},
}

func TestQueueSuiteFindsFaults(t *testing.T) {
	Long(t)
	for _, c := range queueMutants {
		t.Run(c.fault, func(t *testing.T) {
			open := func(b QueueBehaviour) func(t testing.TB, size int64) *engine.Ref {
				return func(t testing.TB, size int64) *engine.Ref {
					cfg := DiskConfig{Size: size, Discard: true, Zero: true, FUA: true, Queue: b}
					return engine.NewRef(&queueMutant{NewDisk(t, cfg), c.mutate}, engine.OpenFlags{Write: true, Discard: true})
				}
			}
			cfg := QueueConfig{limit: time.Second / 2, Open: open(QueueBehaviour{}), Held: func(t testing.TB, size int64) (*engine.Ref, func(int)) {
				ref := open(QueueBehaviour{Manual: true})(t, size)
				return ref, ref.Node().(*queueMutant).Release
			}}
			convicted(t, cfg.checks(false), c.sentence, func(t testing.TB) *queueRun { return cfg.begin(t, false) })
		})
	}
}

// badMapper is a shuffle with one fault.
type badMapper struct {
	*Shuffle
	lookup  func(op engine.Op, off, n int64) (engine.Mapping, bool)
	discard func(off, n int64)
}

func (m *badMapper) Map(op engine.Op, off, n int64) (engine.Mapping, bool) {
	if m.lookup != nil {
		return m.lookup(op, off, n)
	}
	return m.Shuffle.Map(op, off, n)
}

func (m *badMapper) Discard(ctx context.Context, off, n int64) error {
	if m.discard != nil {
		m.discard(off, n)
		return nil
	}
	return m.Shuffle.Discard(ctx, off, n)
}

var sink []byte

var mapperMutants = []struct {
	fault, sentence string
	mutate          func(m *badMapper)
}{
	{"is off by a sector", "what is mapped is what is read", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			r, ok := m.Shuffle.Map(op, off, n)
			r.Off ^= 512
			return r, ok
		}
	}},
	{"runs on into the next block", "what is mapped is what is read", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			r, ok := m.Shuffle.Map(op, off, n)
			r.Len = min(n, r.Len+1)
			return r, ok
		}
	}},
	{"answers more than was asked", "what is mapped is what is read", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, _ int64) (engine.Mapping, bool) { return m.Shuffle.Map(op, off, m.Size()-off) }
	}},
	{"names a child that is not there", "what is mapped is what is read", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			r, ok := m.Shuffle.Map(op, off, n)
			r.Child += 2
			return r, ok
		}
	}},
	{"takes data for zeroes", "what is mapped is what is read", func(m *badMapper) {
		m.lookup = func(_ engine.Op, _, n int64) (engine.Mapping, bool) {
			return engine.Mapping{Len: n, Kind: engine.MapZero}, true
		}
	}},
	{"never answers", "what is mapped is what is read", func(m *badMapper) {
		m.lookup = func(engine.Op, int64, int64) (engine.Mapping, bool) { return engine.Mapping{}, false }
	}},
	{"lets writes through to the backing child", "what is written where it maps is written", func(m *badMapper) {
		m.lookup = func(_ engine.Op, off, n int64) (engine.Mapping, bool) { return m.Shuffle.Map(engine.OpRead, off, n) }
	}},
	{"answers writes with other places", "what is written where it maps is written", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			r, ok := m.Shuffle.Map(op, off, n)
			if op == engine.OpWrite && r.Off > 0 {
				r.Off ^= 1 << 12
			}
			return r, ok
		}
	}},
	{"cuts runs short", "runs are as long as they can be", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			return m.Shuffle.Map(op, off, min(n, 4096-off%4096, 1000))
		}
	}},
	{"allocates", "no allocation", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			sink = make([]byte, 10)
			return m.Shuffle.Map(op, off, n)
		}
	}},
	{"shows a block that is not written yet", "from any thread at once", func(m *badMapper) {
		m.lookup = func(op engine.Op, off, n int64) (engine.Mapping, bool) {
			r, ok := m.Shuffle.Map(op, off, n)
			if r.Kind == engine.MapData && off/4096%7 == 3 {
				r.Off = (r.Off/4096 + 1) % 100 * 4096
			}
			return r, ok
		}
	}},
	{"reuses at once what is discarded", "mappings stay true for a grace period", func(m *badMapper) {
		m.discard = func(off, n int64) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for b := off / 4096; b < (off+n)/4096; b++ {
				if e := m.table[b].Swap(blockZero); hasPlace(e) {
					m.free = append(m.free, e>>placeShift)
				}
			}
		}
	}},
	{"waits for itself", "mappings stay true for a grace period", func(m *badMapper) {
		m.discard = func(int64, int64) {
			// Long enough for the verdict, and then the domain is everybody's again.
			ctx, cancel := context.WithTimeout(bg, 1500*time.Millisecond)
			defer cancel()
			_ = m.cfg.Data.Domain().Synchronize(ctx)
		}
	}},
}

func TestMapperSuiteFindsFaults(t *testing.T) {
	Long(t)
	for _, c := range mapperMutants {
		t.Run(c.fault, func(t *testing.T) {
			cfg := MapperConfig{Size: 512 << 10, Cut: 4096, Open: func(t testing.TB, size int64) *engine.Ref {
				domainless := toyMapper(false, 0)(t, size)
				m := &badMapper{Shuffle: domainless.Node().(*Shuffle)}
				c.mutate(m)
				return engine.NewRef(m, engine.OpenFlags{Write: true, Discard: true})
			}}
			convicted(t, cfg.checks(), c.sentence, cfg.begin)
		})
	}
}

package throttle

import (
	"math"
	"sync"

	"github.com/blkbench/blkbench/engine"
)

// Group is a set of buckets and the members that share them.
type Group struct {
	rates    [buckets]rate
	mu       sync.Mutex
	opSize   float64 // bytes that count as one request; 0: any size does
	buckets  [buckets]bucket
	leakedAt int64      // the engine's clock
	service  [2]float64 // what the member that was served last had been served before, in seconds of the group's rate
	members  []*Member
}

// NewGroup makes a group of limits that Check has accepted.
func NewGroup(l *Limits) *Group {
	g := &Group{rates: l.rates(), opSize: float64(l.IOPSSize), leakedAt: engine.Now()}
	for i, r := range g.rates {
		g.buckets[i] = newBucket(r)
	}
	return g
}

// direction is what a request counts as.
type direction uint8

const (
	reading direction = iota
	writing
)

func directionOf(op engine.Op) direction {
	if op == engine.OpRead || op == engine.OpNop {
		return reading
	}
	return writing
}

// counted are the buckets of each direction.
var counted = [2][4]int{
	reading: {iopsTotal, bpsTotal, iopsRead, bpsRead},
	writing: {iopsTotal, bpsTotal, iopsWrite, bpsWrite},
}

// Member is one user of a group: a node.
type Member struct {
	g       *Group
	waiting [2]pending
	served  [2]float64 // what it was served, in seconds of the group's rate
}

// pending is what of a member waits.
type pending struct {
	count    int
	requests float64
	bytes    float64
}

// Join makes a member.
func (g *Group) Join() *Member {
	m := &Member{g: g}
	g.mu.Lock()
	g.members = append(g.members, m)
	g.mu.Unlock()
	return m
}

// Leave takes a member out of its group; nothing of it waits.
func (m *Member) Leave() {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, o := range g.members {
		if o == m {
			g.members = append(g.members[:i], g.members[i+1:]...)
			return
		}
	}
}

// requests is how many requests of the limits' one of n bytes counts as.
func (g *Group) requests(n float64) float64 {
	if g.opSize > 0 && n > g.opSize {
		return n / g.opSize
	}
	return 1
}

func isBytes(i int) bool { return i >= bpsTotal }

func (g *Group) leak(now int64) {
	if d := now - g.leakedAt; d > 0 {
		s := float64(d) / 1e9
		for i := range g.buckets {
			if g.buckets[i].avg != 0 {
				g.buckets[i].leak(s)
			}
		}
		g.leakedAt = now
	}
}

// handicap reports whether another member waits that was served less.
func (g *Group) handicap(m *Member, d direction) bool {
	if len(g.members) < 2 {
		return false
	}
	for _, o := range g.members {
		if o != m && o.waiting[d].count > 0 && o.served[d] < m.served[d] {
			return true
		}
	}
	return false
}

// wait returns in how many seconds a request of a member may go. Behind is what of the member waits before it.
func (g *Group) wait(m *Member, d direction, n float64, behind pending) float64 {
	requests, bytes := behind.requests, behind.bytes
	if g.handicap(m, d) {
		requests, bytes = requests+g.requests(n), bytes+n
	}
	var s float64
	for _, i := range counted[d] {
		if isBytes(i) {
			s = max(s, g.buckets[i].wait(bytes))
		} else {
			s = max(s, g.buckets[i].wait(requests))
		}
	}
	return s
}

// at turns a wait into a time of the engine's clock. Waits below a nanosecond are the rounding of what a waiter was told before.
func at(now int64, seconds float64) int64 {
	switch ns := seconds * 1e9; {
	case ns < 1:
		return now
	case ns > math.MaxInt64/4:
		return now + math.MaxInt64/4
	default:
		return now + int64(math.Ceil(ns))
	}
}

// charge pours a request into the buckets.
func (g *Group) charge(m *Member, d direction, n float64) {
	requests := g.requests(n)
	var cost float64
	for _, i := range counted[d] {
		b, units := &g.buckets[i], requests
		if isBytes(i) {
			units = n
		}
		if b.avg != 0 {
			b.pour(units)
			cost = max(cost, units/b.avg)
		}
	}
	g.service[d] = m.served[d]
	m.served[d] += cost
}

// arrive brings a member that had nothing waiting up to where the group is: what it did not use is not kept for it.
func (g *Group) arrive(m *Member, d direction) {
	if m.waiting[d].count == 0 {
		m.served[d] = max(m.served[d], g.service[d])
	}
}

// Admit implements engine.Admitter.
func (m *Member) Admit(op engine.Op, n, now int64) int64 {
	g, d, size := m.g, directionOf(op), float64(n)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leak(now)
	g.arrive(m, d)
	w := &m.waiting[d]
	t := at(now, g.wait(m, d, size, *w))
	if t > now {
		w.count++
		w.requests += g.requests(size)
		w.bytes += size
		return t
	}
	g.charge(m, d, size)
	return now
}

// Again implements engine.Regulator.
func (m *Member) Again(op engine.Op, n, now int64) int64 {
	g, d, size := m.g, directionOf(op), float64(n)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leak(now)
	if t := at(now, g.wait(m, d, size, pending{})); t > now {
		return t
	}
	g.charge(m, d, size)
	m.forget(d, size)
	return now
}

// Withdraw implements engine.Regulator.
func (m *Member) Withdraw(op engine.Op, n int64) {
	m.g.mu.Lock()
	m.forget(directionOf(op), float64(n))
	m.g.mu.Unlock()
}

func (m *Member) forget(d direction, size float64) {
	w := &m.waiting[d]
	w.requests -= m.g.requests(size)
	w.bytes -= size
	if w.count--; w.count == 0 {
		*w = pending{} // and no rounding stays
	}
}

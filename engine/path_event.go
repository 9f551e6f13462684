package engine

import "time"

// A thread that has more to wait for than one Path (the sockets of clients, say) does not use Wait. It waits in the transport that the
// Path's leaves share with what else it waits for, and there for LaneFD too:
//
//	if limit, ok := p.Doze(); ok {
//		wait for the transport and LaneFD, at most for limit (negative: no limit)
//	}
//	p.Rouse()

// LaneFD is an eventfd that is readable when the slow lane has finished something after Doze.
func (p *Path) LaneFD() int { return p.lane.fd }

// Doze prepares for a wait outside the Path: it kicks, and says how long the wait may be. False means that Poll may have something now.
func (p *Path) Doze() (limit time.Duration, ok bool) {
	limit = -1
	if !p.ready.Empty() || p.lane.pending() || (!p.stalled.empty() && len(p.free) > 0) {
		return 0, false
	}
	if t, ok := p.timers.first(); ok {
		if limit = time.Duration(t - Now()); limit <= 0 {
			return 0, false
		}
	}
	if p.graced {
		p.doze()
	}
	for _, l := range p.leaves {
		p.push(l)
	}
	if !p.lane.idle() {
		p.lane.asleep.Store(1)
		if p.lane.pending() {
			p.Rouse()
			return 0, false
		}
	}
	return limit, true
}

// Rouse ends what Doze began.
func (p *Path) Rouse() { p.lane.asleep.Store(0) }

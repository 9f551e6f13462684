package pass

import "sync"

// Ranges keeps requests that overlap apart: for filters that send one request to several children, which must see them in one order.
type Ranges struct {
	mu   sync.Mutex
	cond sync.Cond
	held []span
}

type span struct {
	off, end int64
	alone    bool
}

// Lock waits until nothing overlaps that excludes the range; alone excludes everything, else only what is alone.
func (r *Ranges) Lock(off, n int64, alone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cond.L == nil {
		r.cond.L = &r.mu
	}
	for r.conflicts(off, off+n, alone) {
		r.cond.Wait()
	}
	r.held = append(r.held, span{off, off + n, alone})
}

func (r *Ranges) conflicts(off, end int64, alone bool) bool {
	for _, s := range r.held {
		if s.off < end && off < s.end && (alone || s.alone) {
			return true
		}
	}
	return false
}

// Unlock gives a range back that was locked in the same way.
func (r *Ranges) Unlock(off, n int64, alone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.held {
		if s == (span{off, off + n, alone}) {
			last := len(r.held) - 1
			r.held[i] = r.held[last]
			r.held = r.held[:last]
			break
		}
	}
	r.cond.Broadcast()
}

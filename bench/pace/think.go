package pace

import "errors"

// Thinking is fio's thinktime and what belongs to it. Times are nanoseconds.
type Thinking struct {
	Time    int64 // how long a pause is
	Spin    int64 // how much of it is spent computing
	Blocks  int   // a pause after so many requests; 0: 1 unless IOTime is given
	ByIssue bool  // count requests when they are issued, not when they complete
	IOTime  int64 // a pause after so much time without one
}

// Think tells when to pause. Before the pause the caller lets everything under
// way complete.
type Think struct {
	t     Thinking
	count int
	since int64
}

// NewThink begins at start.
func NewThink(t Thinking, start int64) (*Think, error) {
	if t.Time < 0 || t.Spin < 0 || t.Blocks < 0 || t.IOTime < 0 {
		return nil, errors.New("negative think time")
	}
	if t.Time == 0 && (t.Spin > 0 || t.Blocks > 0 || t.IOTime > 0) {
		return nil, errors.New("details of a think time that is not there")
	}
	if t.Blocks == 0 && t.IOTime == 0 {
		t.Blocks = 1
	}
	t.Spin = min(t.Spin, t.Time)
	return &Think{t: t, since: start}, nil
}

// Issued counts requests that were issued, Completed those that came back.
func (t *Think) Issued(n int) {
	if t.t.ByIssue {
		t.count += n
	}
}

// Completed counts requests that came back.
func (t *Think) Completed(n int) {
	if !t.t.ByIssue {
		t.count += n
	}
}

// Due says whether a pause is due.
func (t *Think) Due(now int64) bool {
	if t.t.Time == 0 {
		return false
	}
	return t.t.Blocks > 0 && t.count >= t.t.Blocks || t.t.IOTime > 0 && now-t.since >= t.t.IOTime
}

// Room is how many more requests may be issued before the pause; -1 for any
// number. Counted by completion, what is under way (inFlight) counts too, so
// that a pause comes after exactly Blocks requests.
func (t *Think) Room(inFlight int) int {
	if t.t.Time == 0 || t.t.Blocks == 0 {
		return -1
	}
	room := t.t.Blocks - t.count
	if !t.t.ByIssue {
		room -= inFlight
	}
	return max(room, 0)
}

// Pause begins a pause: compute until spin, sleep until end. The next count
// begins at end.
func (t *Think) Pause(now int64) (spin, end int64) {
	t.count = 0
	t.since = now + t.t.Time
	return now + t.t.Spin, t.since
}

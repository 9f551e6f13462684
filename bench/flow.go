package bench

import (
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// flow balances the jobs of one flow_id: each issues in proportion to its weight.
type flow struct {
	weight atomic.Int64 // of those still running
	issued atomic.Int64 // by them
}

// flowMember is one job's part in a flow.
type flowMember struct {
	*flow
	mine   int64
	weight int64
}

type flows struct {
	mu  sync.Mutex
	ids map[int]*flow
}

// enlistFlows makes the flows of a batch before its jobs start, so that none runs ahead while others are still to come.
func (r *run) enlistFlows(batch []*worker) {
	r.flows.mu.Lock()
	defer r.flows.mu.Unlock()
	r.flows.ids = map[int]*flow{}
	for _, w := range batch {
		if j := &w.job.Flow; j.Weight > 0 {
			f := r.flows.ids[j.ID]
			if f == nil {
				f = new(flow)
				r.flows.ids[j.ID] = f
			}
			f.weight.Add(int64(j.Weight))
		}
	}
}

// joinFlow returns a job's part in its flow; nil when it has none.
func (r *run) joinFlow(j *fiojob.Job) *flowMember {
	if j.Flow.Weight == 0 {
		return nil
	}
	r.flows.mu.Lock()
	defer r.flows.mu.Unlock()
	return &flowMember{flow: r.flows.ids[j.Flow.ID], weight: int64(j.Flow.Weight)}
}

// mayGo reports whether the job is not ahead of its share, and counts the request then.
func (m *flowMember) mayGo() bool {
	if m.mine*m.flow.weight.Load() > m.issued.Load()*m.weight {
		return false
	}
	m.mine++
	m.issued.Add(1)
	return true
}

// leave lets the others share what is left.
func (m *flowMember) leave() {
	m.flow.weight.Add(-m.weight)
	m.issued.Add(-m.mine)
}

package engine

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
)

// actor is one thread of a scenario: straight code that yields between its atomic steps.
type actor struct {
	name    string
	resume  func() (struct{}, bool)
	stop    func()
	suspend func(struct{}) bool
	blocked func() bool // nil: can go on
	ended   bool
}

// explorer runs a scenario under every order of its actors' steps, up to a number of preemptions: an order is tried by running the
// scenario from its start, so scenarios are small and leave nothing behind.
type explorer struct {
	actors      []*actor
	current     *actor
	choices     []int // the order tried now, as indices into what could go on
	width       []int // how many could
	trace       []string
	preemptions int
	bound       int
	runs        int
}

type stopped struct{}

// actor adds a thread.
func (x *explorer) actor(name string, body func(a *actor)) {
	a := &actor{name: name}
	a.resume, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if p := recover(); p != nil && p != (stopped{}) {
				panic(p)
			}
		}()
		a.suspend = yield
		body(a)
	})
	x.actors = append(x.actors, a)
}

// yield lets another actor go on; called by the code of the current one.
func (x *explorer) yield() {
	if a := x.current; a != nil && !a.suspend(struct{}{}) {
		panic(stopped{})
	}
}

// await yields until ready.
func (x *explorer) await(a *actor, ready func() bool) {
	a.blocked = func() bool { return !ready() }
	x.yield()
	a.blocked = nil
}

// alone reports whether all other actors have ended.
func (x *explorer) alone(a *actor) bool {
	for _, o := range x.actors {
		if o != a && !o.ended {
			return false
		}
	}
	return true
}

// explore calls setup for each order, runs the actors that it makes, and then the check that it returns.
func explore(t *testing.T, bound int, setup func(x *explorer) (check func() error)) {
	t.Helper()
	x := &explorer{bound: bound}
	for {
		x.actors, x.trace, x.preemptions, x.width = nil, nil, 0, x.width[:0]
		check := setup(x)
		err := x.run()
		if err == nil {
			err = check()
		}
		for _, a := range x.actors {
			x.current = nil
			a.stop()
		}
		x.runs++
		if err != nil {
			t.Fatalf("order %d: %v\n%s", x.runs, err, strings.Join(x.trace, " "))
		}
		if !x.next() {
			break
		}
	}
	t.Logf("%d orders", x.runs)
	if x.runs < 2 {
		t.Error("there was only one order")
	}
}

// next moves on to the next order, depth first.
func (x *explorer) next() bool {
	for i := len(x.width) - 1; i >= 0; i-- {
		if x.choices[i]+1 < x.width[i] {
			x.choices = x.choices[:i+1]
			x.choices[i]++
			return true
		}
	}
	return false
}

func (x *explorer) run() error {
	var last *actor
	for step := 0; ; step++ {
		could, left := x.enabled(last)
		if left == 0 {
			return nil
		}
		if step > 10000 {
			return errors.New("an actor goes on for ever")
		}
		if len(could) == 0 {
			return fmt.Errorf("%d actors wait for ever", left)
		}
		if step == len(x.choices) {
			x.choices = append(x.choices, 0)
		}
		x.width = append(x.width, len(could))
		a := could[x.choices[step]]
		if last != nil && a != last && !last.ended && (last.blocked == nil || !last.blocked()) {
			x.preemptions++
		}
		x.trace = append(x.trace, a.name)
		x.current, last = a, a
		if _, more := a.resume(); !more {
			a.ended = true
		}
		x.current = nil
	}
}

// enabled lists who can go on, the one that ran last first; with no preemption left that is the only choice, if it is one.
func (x *explorer) enabled(last *actor) (could []*actor, left int) {
	for _, a := range x.actors {
		switch {
		case a.ended:
			continue
		case a.blocked != nil && a.blocked():
		case a == last:
			could = append([]*actor{a}, could...)
		default:
			could = append(could, a)
		}
		left++
	}
	if x.preemptions >= x.bound && len(could) > 0 && could[0] == last {
		could = could[:1]
	}
	return could, left
}

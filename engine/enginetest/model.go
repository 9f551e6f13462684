package enginetest

import (
	"bytes"
	"fmt"
	"slices"
)

// model is what a node must contain: for each byte one value, or two where an operation failed or a discard left the choice, or any.
type model struct {
	now   []byte
	alt   []byte
	state []byteState
	loose int // bytes that are not pinned
}

type byteState uint8

const (
	bytePinned byteState = iota
	byteEither           // now or alt; the next read decides
	byteWild
)

func newModel(content []byte) *model {
	return &model{now: slices.Clone(content), alt: make([]byte, len(content)), state: make([]byteState, len(content))}
}

func (m *model) resize(size int64) {
	grow := func(b []byte) []byte {
		if int64(len(b)) >= size {
			return b[:size:size]
		}
		return append(b, make([]byte, size-int64(len(b)))...)
	}
	for off := size; off < int64(len(m.state)); off++ {
		m.set(off, 0)
	}
	m.now, m.alt = grow(m.now), grow(m.alt)
	if n := int64(len(m.state)); n > size {
		m.state = m.state[:size:size]
	} else {
		m.state = append(m.state, make([]byteState, size-n)...)
	}
}

// allows reports whether the byte at off may read as v, and pins it if pin is set.
func (m *model) allows(off int64, v byte, pin bool) bool {
	switch m.state[off] {
	case bytePinned:
		return m.now[off] == v
	case byteEither:
		if v != m.now[off] && v != m.alt[off] {
			return false
		}
	case byteWild:
	}
	if pin {
		m.set(off, v)
	}
	return true
}

// set pins the byte at off.
func (m *model) set(off int64, v byte) {
	m.now[off] = v
	if m.state[off] != bytePinned {
		m.state[off] = bytePinned
		m.loose--
	}
}

// change applies a step that changed something.
func (m *model) change(s Step, failed bool) {
	if m.loose == 0 && !failed && s.Kind != StepDiscard {
		s.fill(m.now[s.Off:s.Off+s.Len], s.Off)
		return
	}
	for off := s.Off; off < s.Off+s.Len; off++ {
		v := s.at(off)
		switch {
		case !failed && s.Kind != StepDiscard:
			m.set(off, v)
		case m.state[off] == bytePinned && m.now[off] != v:
			m.alt[off], m.state[off] = v, byteEither
			m.loose++
		case m.state[off] == byteEither && v != m.now[off] && v != m.alt[off]:
			m.state[off] = byteWild
		}
	}
}

// outcome is what came of a step.
type outcome struct {
	step Step
	data []byte // of a read
	err  error
}

// check compares the reads of a batch with what was there before and with what the batch changed meanwhile, and then applies the changes.
func (m *model) check(batch []outcome, mayFail func(error) bool) error {
	for _, o := range batch {
		if o.err != nil && (mayFail == nil || !mayFail(o.err)) {
			return fmt.Errorf("%s: %w", o.step, o.err)
		}
	}
	for _, o := range batch {
		if o.step.Kind == StepRead && o.err == nil {
			if err := m.checkRead(o, batch); err != nil {
				return err
			}
		}
	}
	for _, o := range batch {
		if o.step.changes() {
			m.change(o.step, o.err != nil)
		}
	}
	return nil
}

func (m *model) checkRead(o outcome, batch []outcome) error {
	var meanwhile []Step
	for _, c := range batch {
		if c.step.changes() && c.step.Off < o.step.Off+o.step.Len && o.step.Off < c.step.Off+c.step.Len {
			meanwhile = append(meanwhile, c.step)
		}
	}
	end := o.step.Off + o.step.Len
	if len(meanwhile) == 0 && m.loose == 0 && bytes.Equal(o.data, m.now[o.step.Off:end]) {
		return nil
	}
	for i, v := range o.data {
		off := o.step.Off + int64(i)
		at := slices.IndexFunc(meanwhile, func(s Step) bool { return s.Off <= off && off < s.Off+s.Len })
		if at >= 0 && v == meanwhile[at].at(off) {
			continue
		}
		if m.allows(off, v, at < 0) {
			continue
		}
		return fmt.Errorf("%s: byte %d at %#x is %#02x, want %#02x (or %#02x, state %d); it and what follows: % x, want % x",
			o.step, i, off, v, m.now[off], m.alt[off], m.state[off], o.data[i:min(i+16, len(o.data))], m.now[off:min(off+16, int64(len(m.now)))])
	}
	return nil
}

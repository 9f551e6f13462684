package opts

import (
	"fmt"
	"slices"
	"strconv"
)

// Clone returns a deep copy in which nothing is consumed yet.
func (t *Tree) Clone() *Tree {
	if t == nil {
		return NewTree()
	}
	c := &Tree{entries: slices.Clone(t.entries), at: t.at, scheme: t.scheme}
	for i := range c.entries {
		c.entries[i].used = unused
		c.entries[i].val = c.entries[i].val.clone()
	}
	return c
}

func (v Value) clone() Value {
	switch v.kind {
	case KindObject:
		v.tree = v.tree.Clone()
	case KindArray:
		l := make(List, len(v.list))
		for i := range l {
			l[i] = v.list[i].clone()
		}
		v.list = l
	default: // scalars are values
	}
	return v
}

// Equal reports whether both trees have the same keys, in any order and in
// either spelling, with equal values of the same kinds.
func (t *Tree) Equal(other *Tree) bool {
	if t.Len() != other.Len() {
		return false
	}
	for i := range t.entries {
		j := other.index(t.entries[i].key)
		if j < 0 || !t.entries[i].val.Equal(other.entries[j].val) {
			return false
		}
	}
	return true
}

// Equal reports whether both values are of the same kind and content.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind {
		return false
	}
	switch v.kind {
	case KindObject:
		return v.tree.Equal(w.tree)
	case KindArray:
		return slices.EqualFunc(v.list, w.list, Value.Equal)
	default:
		return v.text == w.text
	}
}

// Merge adds a copy of other's keys to t: objects merge key by key, a value
// that both have must be equal. Otherwise the error names the key, and t is
// unchanged.
func (t *Tree) Merge(other *Tree) error {
	if err := t.mergeable(other); err != nil {
		return err
	}
	t.merge(other)
	return nil
}

func (t *Tree) mergeable(other *Tree) error {
	added := 0
	for i := range other.entries {
		theirs := &other.entries[i]
		j := t.index(theirs.key)
		if j < 0 {
			added++
			continue
		}
		ours := t.entries[j].val
		if ours.kind == KindObject && theirs.val.kind == KindObject {
			if err := ours.tree.mergeable(theirs.val.tree); err != nil {
				return err
			}
			continue
		}
		if !ours.Equal(theirs.val) {
			return &Error{
				Key: join(t.at, theirs.key), Value: theirs.val.shown(), Pos: theirs.pos,
				Msg: "given already as " + display(ours.shown()), Kind: ErrConflict,
			}
		}
	}
	if t.level()+other.depth() > MaxDepth {
		return &Error{Key: t.at, Pos: -1, Msg: fmt.Sprintf("nested deeper than %d", MaxDepth), Kind: ErrSyntax}
	}
	if len(t.entries)+added > MaxKeys {
		return &Error{Key: t.at, Pos: -1, Msg: fmt.Sprintf("more than %d keys in one object", MaxKeys), Kind: ErrSyntax}
	}
	return nil
}

func (t *Tree) merge(other *Tree) {
	for i := range other.entries {
		theirs := &other.entries[i]
		if j := t.index(theirs.key); j >= 0 {
			if ours := &t.entries[j]; ours.val.kind == KindObject && theirs.val.kind == KindObject {
				ours.val.tree.merge(theirs.val.tree)
			}
			continue
		}
		e := entry{key: theirs.key, pos: theirs.pos, val: theirs.val.clone()}
		e.val.rebase(join(t.at, e.key))
		t.entries = append(t.entries, e)
	}
	t.scheme = t.scheme || other.scheme
}

// rebase tells every object in v where it now is.
func (v *Value) rebase(at string) {
	if v.tree != nil {
		v.tree.rebase(at)
	}
	for i := range v.list {
		v.list[i].rebase(join(at, strconv.Itoa(i)))
	}
}

func (t *Tree) rebase(at string) {
	t.at = at
	for i := range t.entries {
		t.entries[i].val.rebase(join(at, t.entries[i].key))
	}
}

// depth returns the number of objects and lists nested in v, v included.
func (v Value) depth() int {
	switch v.kind {
	case KindObject:
		return v.tree.depth()
	case KindArray:
		d := 0
		for i := range v.list {
			d = max(d, v.list[i].depth())
		}
		return d + 1
	default:
		return 0
	}
}

func (t *Tree) depth() int {
	d := 0
	for i := range t.entries {
		d = max(d, t.entries[i].val.depth())
	}
	return d + 1
}

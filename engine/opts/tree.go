package opts

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of everything that is parsed or built.
const (
	MaxInput = 256 << 10 // bytes of source text
	MaxDepth = 32        // nested objects and lists
	MaxKeys  = 1024      // keys of an object, elements of a list
	maxKey   = 127       // bytes of one key
)

// Tree is an object node with ordered keys. The zero Tree is empty and ready.
type Tree struct {
	entries []entry
	at      string   // dotted path of this node below the root
	known   []string // names that Binds of this node knew
	scheme  bool     // driver was decided by the name's scheme
}

type entry struct {
	key  string // as written
	val  Value
	pos  int // offset of the key in the source
	used usage
}

// usage says who has consumed a key.
type usage uint8

const (
	unused    usage = iota
	usedParts       // a struct was bound to the object: its keys are consumed one by one
	usedWhole
)

// NewTree returns an empty tree.
func NewTree() *Tree { return &Tree{} }

// At returns the dotted path of this node below the root it was parsed from.
func (t *Tree) At() string { return t.at }

// Len returns the number of keys.
func (t *Tree) Len() int { return len(t.entries) }

// Keys returns the keys in order, as they were written.
func (t *Tree) Keys() []string {
	keys := make([]string, len(t.entries))
	for i := range t.entries {
		keys[i] = t.entries[i].key
	}
	return keys
}

// SchemeDriver reports whether "driver" was decided by a URI scheme or protocol
// prefix and not written as a key: the caller may then probe for a format on
// top, as it does for a plain path.
func (t *Tree) SchemeDriver() bool { return t.scheme }

// Set puts v at a dotted path ("server.0.host"), creating objects and lists on
// the way. A list index must be an existing one or the next. v is a string,
// bool, integer, float64, nil (null), *Tree, List, []string, []*Tree,
// map[string]any of these, or Value; trees and lists are copied. An existing value is replaced; a path through a
// scalar is a conflict.
func (t *Tree) Set(path string, v any) error {
	val, err := valueOf(v)
	if err != nil {
		return in(err, path, -1)
	}
	segs, err := splitPath(path, 0)
	if err != nil {
		return err
	}
	if isIndex(segs[0]) {
		return &Error{Key: path, Pos: -1, Msg: "a list index cannot come first", Kind: ErrSyntax}
	}
	if t.level()+len(segs)+val.depth() > MaxDepth {
		return &Error{Key: path, Pos: -1, Msg: fmt.Sprintf("nested deeper than %d", MaxDepth), Kind: ErrSyntax}
	}
	if err := t.settable(segs); err != nil {
		return err
	}
	slot := t.slot(segs[0])
	at := join(t.at, segs[0])
	for _, seg := range segs[1:] {
		slot = slot.child(seg, at)
		at = join(at, seg)
	}
	*slot = val
	slot.rebase(at)
	slot.secret = slot.secret || isSecretKey(segs[len(segs)-1])
	return nil
}

// settable says whether Set can reach segs, before it changes anything.
func (t *Tree) settable(segs []string) error {
	node, at := Value{kind: KindObject, tree: t}, t.at
	for i, seg := range segs {
		idx, numeric := listIndex(seg)
		if (node.kind != KindObject || numeric) && (node.kind != KindArray || !numeric) {
			return &Error{Key: join(at, seg), Pos: -1, Msg: at + " is " + node.kind.String() + " already", Kind: ErrConflict}
		}
		at = join(at, seg)
		if next := node.existing(seg); next != nil {
			node = *next
			continue
		}
		if node.kind == KindObject && node.tree.Len() >= MaxKeys {
			return &Error{Key: at, Pos: -1, Msg: fmt.Sprintf("more than %d keys in one object", MaxKeys), Kind: ErrSyntax}
		}
		if node.kind == KindArray && idx != len(node.list) {
			return sparse(at, -1, len(node.list))
		}
		for _, rest := range segs[i+1:] {
			if idx, numeric := listIndex(rest); numeric && idx != 0 {
				return sparse(join(at, rest), -1, 0)
			}
			at = join(at, rest)
		}
		return nil
	}
	return nil
}

func sparse(at string, pos, next int) error {
	return &Error{Key: at, Pos: pos, Msg: "list indices leave a gap", Want: fmt.Sprintf("%d next", next), Kind: ErrSyntax}
}

// slot finds or appends the place for key.
func (t *Tree) slot(key string) *Value {
	i := t.index(key)
	if i < 0 {
		i = len(t.entries)
		t.entries = append(t.entries, entry{key: key, pos: -1})
	}
	return &t.entries[i].val
}

// child returns the place of seg in v, which becomes an object or a list where
// it is absent; settable has said that it can.
func (v *Value) child(seg, at string) *Value {
	idx, numeric := listIndex(seg)
	switch {
	case v.kind != KindInvalid:
	case numeric:
		*v = Value{kind: KindArray, pos: -1}
	default:
		*v = Value{kind: KindObject, tree: &Tree{at: at}, pos: -1}
	}
	if !numeric {
		return v.tree.slot(seg)
	}
	if idx == len(v.list) {
		v.list = append(v.list, Value{})
	}
	return &v.list[idx]
}

// index returns the position of key in t, -1 where absent.
func (t *Tree) index(key string) int {
	for i := range t.entries {
		if sameKey(t.entries[i].key, key) {
			return i
		}
	}
	return -1
}

// Get returns the value at a dotted path.
func (t *Tree) Get(path string) (Value, bool) {
	if t == nil {
		return Value{}, false
	}
	v := Value{kind: KindObject, tree: t}
	for seg := range strings.SplitSeq(path, ".") {
		switch v.kind {
		case KindObject:
			i := v.tree.index(seg)
			if i < 0 {
				return Value{}, false
			}
			v = v.tree.entries[i].val
		case KindArray:
			idx, ok := listIndex(seg)
			if !ok || idx >= len(v.list) {
				return Value{}, false
			}
			v = v.list[idx]
		default:
			return Value{}, false
		}
	}
	return v, v.kind != KindInvalid
}

// Has reports whether there is a value at path.
func (t *Tree) Has(path string) bool { _, ok := t.Get(path); return ok }

// String returns the text of the scalar at path; false where there is none, or
// where it is null, an object or a list.
func (t *Tree) String(path string) (string, bool) {
	v, ok := t.Get(path)
	if !ok || !v.scalar() {
		return "", false
	}
	return v.text, true
}

// Driver returns the text of the key "driver", "" where absent.
func (t *Tree) Driver() string { s, _ := t.String("driver"); return s }

// Sub returns the object at path. It is the node itself, not a copy.
func (t *Tree) Sub(path string) (*Tree, bool) {
	v, ok := t.Get(path)
	return v.tree, ok && v.tree != nil
}

// List returns the list at path.
func (t *Tree) List(path string) (List, bool) {
	v, ok := t.Get(path)
	return v.list, ok && v.kind == KindArray
}

// Take returns the value at a key of this node and consumes it, for code that
// reads a key without binding a struct ("driver" in the registry).
func (t *Tree) Take(key string) (Value, bool) {
	if !slices.ContainsFunc(t.known, func(k string) bool { return sameKey(k, key) }) {
		t.known = append(t.known, key)
	}
	i := t.index(key)
	if i < 0 {
		return Value{}, false
	}
	t.entries[i].used = usedWhole
	return t.entries[i].val, true
}

// Delete removes the value at path and reports whether there was one. An
// element of a list is removed only at its end, because indices are dense.
func (t *Tree) Delete(path string) bool {
	parent, last := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent, last = path[:i], path[i+1:]
	}
	if idx, ok := listIndex(last); ok && parent != "" {
		return t.deleteElement(parent, idx)
	}
	node := t
	if parent != "" {
		var ok bool
		if node, ok = t.Sub(parent); !ok {
			return false
		}
	}
	i := node.index(last)
	if i < 0 {
		return false
	}
	node.entries = slices.Delete(node.entries, i, i+1)
	return true
}

func (t *Tree) deleteElement(path string, idx int) bool {
	var slot *Value
	node := Value{kind: KindObject, tree: t}
	for seg := range strings.SplitSeq(path, ".") {
		slot = node.existing(seg)
		if slot == nil {
			return false
		}
		node = *slot
	}
	if slot.kind != KindArray || idx != len(slot.list)-1 {
		return false
	}
	slot.list = slices.Delete(slot.list, idx, idx+1)
	return true
}

// level returns how many objects and lists t is nested in.
func (t *Tree) level() int {
	if t.at == "" {
		return 0
	}
	return 1 + strings.Count(t.at, ".")
}

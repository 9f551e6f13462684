package opts

import (
	"fmt"
	"strconv"
	"strings"
)

// raw is a tree while it is parsed: list elements may come in any order, so
// indices are keys at first, and an object all of whose keys are indices
// becomes a list at the end.
type raw struct {
	val    Value // KindObject and KindArray mean that kids count
	named  bool  // val is the name of a child node whose kids add to it
	braces bool  // written as {…}, which dotted keys may precede but no second {…}
	keys   []string
	poss   []int
	kids   []*raw
}

// childKeys name child nodes; in [ParseImageOpts] their value is a name.
var childKeys = []string{"file", "backing", "data-file"}

func isChildKey(key string) bool {
	for _, k := range childKeys {
		if sameKey(k, key) {
			return true
		}
	}
	return false
}

func (r *raw) find(key string) *raw {
	for i, k := range r.keys {
		if sameKey(k, key) {
			return r.kids[i]
		}
	}
	return nil
}

// reach returns the node at segs, creating absent ones, and whether the last
// was absent. pos is the offset of the path in the source.
func (r *raw) reach(segs []string, pos int) (node *raw, created bool, err error) {
	for i, seg := range segs {
		path := func() string { return strings.Join(segs[:i], ".") }
		switch {
		case r.val.kind == KindInvalid:
			r.val = Value{kind: KindObject, pos: pos}
		case r.val.kind != KindObject && !r.named:
			return nil, false, &Error{Key: path(), Pos: pos, Msg: "is " + r.val.kind.String() + " already", Kind: ErrConflict}
		}
		next := r.find(seg)
		created = next == nil
		if created {
			if len(r.keys) >= MaxKeys {
				return nil, false, &Error{Key: path(), Pos: pos, Msg: fmt.Sprintf("more than %d keys in one object", MaxKeys), Kind: ErrSyntax}
			}
			next = &raw{}
			r.keys, r.poss, r.kids = append(r.keys, seg), append(r.poss, pos), append(r.kids, next)
		}
		r = next
	}
	return r, created, nil
}

// insert puts a scalar at segs. With names, a child key may have a name and
// keys of its own, in either order.
func (r *raw) insert(segs []string, pos int, val Value, names bool) error {
	node, created, err := r.reach(segs, pos)
	if err != nil {
		return err
	}
	isName := names && isChildKey(segs[len(segs)-1]) && val.text != ""
	switch {
	case created, node.val.kind == KindObject && isName && !node.named:
	case node.val.kind == KindObject:
		return &Error{Key: strings.Join(segs, "."), Pos: pos, Msg: "has keys of its own already", Kind: ErrConflict}
	default:
		return &Error{Key: strings.Join(segs, "."), Pos: pos, Msg: "given twice", Kind: ErrConflict}
	}
	node.val, node.named = val, isName
	return nil
}

// tree converts the root.
func (r *raw) tree() (*Tree, error) {
	if r.val.kind == KindInvalid {
		return NewTree(), nil
	}
	if len(r.keys) > 0 && isIndex(r.keys[0]) {
		return nil, &Error{Key: r.keys[0], Pos: r.poss[0], Msg: "a list index cannot come first", Kind: ErrSyntax}
	}
	v, err := r.value("", 0)
	return v.tree, err
}

// value converts a node at the path at, below level objects and lists.
func (r *raw) value(at string, level int) (Value, error) {
	var v Value
	var err error
	switch {
	case r.named:
		return r.child(at, level)
	case r.val.kind == KindArray || (r.val.kind == KindObject && len(r.keys) > 0 && isIndex(r.keys[0])):
		v, err = r.list(at, level)
	case r.val.kind == KindObject:
		v, err = r.object(at, level)
	default:
		v = r.val
	}
	return v, err
}

func (r *raw) object(at string, level int) (Value, error) {
	if level >= MaxDepth {
		return Value{}, tooDeep(at, r.val.pos)
	}
	t := &Tree{at: at, entries: make([]entry, len(r.keys))}
	driver := r.find("driver") != nil
	for i, key := range r.keys {
		if isIndex(key) {
			return Value{}, mixedKeys(at, r.poss[i], key)
		}
		if kid := r.kids[i]; driver && kid.mayBeNode() {
			kid.named = false
		}
		v, err := r.kids[i].value(join(at, key), level+1)
		if err != nil {
			return Value{}, err
		}
		v.secret = isSecretKey(key)
		t.entries[i] = entry{key: key, val: v, pos: r.poss[i]}
	}
	return Value{kind: KindObject, tree: t, pos: r.val.pos}, nil
}

// mayBeNode reports whether r is a child's name alone that could be a node-name
// or a path: below a driver that stays a string, for who knows the nodes.
func (r *raw) mayBeNode() bool { return r.named && len(r.keys) == 0 && validID(r.val.text) }

func (r *raw) list(at string, level int) (Value, error) {
	if level >= MaxDepth {
		return Value{}, tooDeep(at, r.val.pos)
	}
	l := make(List, len(r.keys))
	for i, key := range r.keys {
		idx, ok := listIndex(key)
		if !ok {
			return Value{}, mixedKeys(at, r.poss[i], key)
		}
		if idx >= len(l) {
			gap := 0
			for r.find(strconv.Itoa(gap)) != nil {
				gap++
			}
			return Value{}, &Error{
				Key: join(at, key), Pos: r.poss[i], Msg: "list indices leave a gap",
				Want: join(at, strconv.Itoa(gap)) + " as well", Kind: ErrSyntax,
			}
		}
		v, err := r.kids[i].value(join(at, key), level+1)
		if err != nil {
			return Value{}, err
		}
		l[idx] = v
	}
	return Value{kind: KindArray, list: l, pos: r.val.pos}, nil
}

// child is a name with further keys: "file=URI,file.debug=9".
func (r *raw) child(at string, level int) (Value, error) {
	t, err := ParseName(r.val.text)
	if err != nil {
		return Value{}, in(err, at, r.val.pos)
	}
	t.rebase(at)
	if len(r.keys) > 0 {
		more := &raw{val: Value{kind: KindObject, pos: r.poss[0]}, keys: r.keys, poss: r.poss, kids: r.kids}
		v, err := more.object(at, level)
		if err != nil {
			return Value{}, err
		}
		// The keys may be of an older spelling, which only the driver tells apart.
		if d := t.Driver(); d != "" && !v.tree.Has("driver") {
			if err := v.tree.Set("driver", d); err != nil {
				return Value{}, err
			}
		}
		if err := v.tree.Normalize(); err != nil {
			return Value{}, err
		}
		if err := t.Merge(v.tree); err != nil {
			return Value{}, err
		}
	}
	if level+t.depth() > MaxDepth {
		return Value{}, tooDeep(at, r.val.pos)
	}
	return Value{kind: KindObject, tree: t, pos: r.val.pos}, nil
}

func tooDeep(at string, pos int) error {
	return &Error{Key: at, Pos: pos, Msg: fmt.Sprintf("nested deeper than %d", MaxDepth), Kind: ErrSyntax}
}

func mixedKeys(at string, pos int, key string) error {
	return &Error{Key: join(at, key), Pos: pos, Msg: "list indices and names in one object", Kind: ErrConflict}
}

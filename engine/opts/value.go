package opts

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the JSON kind of a [Value].
type Kind uint8

// The kinds. KindInvalid is the zero Value: absent.
const (
	KindInvalid Kind = iota
	KindNull
	KindBool
	KindNumber
	KindString
	KindObject
	KindArray
)

var kindNames = [...]string{"absent", "null", "a boolean", "a number", "a string", "an object", "a list"}

// String names the kind for a message.
func (k Kind) String() string { return kindNames[k] }

// Value is a scalar, a *Tree or a List. The zero Value is absent. It prints
// redacted, but not where fmt reaches it through an unexported field.
type Value struct {
	kind   Kind
	secret bool
	text   string // scalars: the text as written, "true" or "false" for KindBool, "null" for KindNull
	tree   *Tree
	list   List
	pos    int // byte offset in the source, -1 where built by code
}

// List is the value of a key with elements: every one of the same rules as a Value.
type List []Value

// StringValue returns a scalar of kind [KindString], as everything is that was not written in JSON.
func StringValue(s string) Value { return Value{kind: KindString, text: s, pos: -1} }

// Kind returns the kind.
func (v Value) Kind() Kind { return v.kind }

// Text returns the text of a scalar, in the clear; "" for the rest.
func (v Value) Text() string { return v.text }

// Tree returns the object, nil for other kinds.
func (v Value) Tree() *Tree { return v.tree }

// List returns the elements, nil for other kinds.
func (v Value) List() List { return v.list }

// Pos returns the byte offset in the source, -1 where the value was built by code.
func (v Value) Pos() int { return v.pos }

// Node returns the child node that v stands for: an object as it is, a string as
// the name that [ParseName] reads. Null and the empty string are nil: no node,
// as in backing=. at is the node's full path, for its errors.
func (v Value) Node(at string) (*Tree, error) {
	switch {
	case v.kind == KindObject:
		return v.tree, nil
	case v.kind == KindNull || (v.kind == KindString && v.text == ""):
		return nil, nil
	case v.kind != KindString:
		return nil, &Error{Key: at, Pos: v.pos, Msg: "is " + v.kind.String(), Want: classWords[classTree].noun, Kind: ErrValue}
	}
	t, err := ParseName(v.text)
	if err != nil {
		return nil, in(err, at, -1)
	}
	t.rebase(at)
	return t, nil
}

// scalar reports whether v is a string, number or boolean.
func (v Value) scalar() bool {
	return v.kind == KindString || v.kind == KindNumber || v.kind == KindBool
}

// existing returns the place of one key or index in v, nil where absent.
func (v Value) existing(seg string) *Value {
	if v.kind == KindObject {
		if i := v.tree.index(seg); i >= 0 {
			return &v.tree.entries[i].val
		}
		return nil
	}
	if idx, ok := listIndex(seg); ok && v.kind == KindArray && idx < len(v.list) {
		return &v.list[idx]
	}
	return nil
}

// valueOf converts what Set takes. Trees and lists are copied, so that no tree
// can contain itself.
func valueOf(v any) (Value, error) {
	scalar := func(k Kind, s string) (Value, error) { return Value{kind: k, text: s, pos: -1}, nil }
	switch v := v.(type) {
	case nil:
		return scalar(KindNull, "null")
	case string:
		if strings.IndexByte(v, 0) >= 0 {
			return Value{}, &Error{Pos: -1, Msg: "zero byte in a value", Kind: ErrSyntax}
		}
		return scalar(KindString, v)
	case bool:
		return scalar(KindBool, strconv.FormatBool(v))
	case int:
		return scalar(KindNumber, strconv.Itoa(v))
	case int64:
		return scalar(KindNumber, strconv.FormatInt(v, 10))
	case uint64:
		return scalar(KindNumber, strconv.FormatUint(v, 10))
	case uint32:
		return scalar(KindNumber, strconv.FormatUint(uint64(v), 10))
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return Value{}, &Error{Pos: -1, Value: fmt.Sprint(v), Want: "a finite number", Kind: ErrValue}
		}
		return scalar(KindNumber, strconv.FormatFloat(v, 'g', -1, 64))
	case *Tree:
		return Value{kind: KindObject, tree: v.Clone(), pos: -1}, nil
	case Value:
		if v.kind == KindInvalid {
			return Value{}, &Error{Pos: -1, Msg: "absent value", Kind: ErrValue}
		}
		return v.clone(), nil
	case map[string]any:
		return objectOf(v)
	case List:
		return listOf(len(v), func(i int) any { return v[i] })
	case []string:
		return listOf(len(v), func(i int) any { return v[i] })
	case []*Tree:
		return listOf(len(v), func(i int) any { return v[i] })
	}
	return Value{}, &Error{Pos: -1, Msg: fmt.Sprintf("a Go %T cannot be an option", v), Kind: ErrValue}
}

// objectOf makes an object of a Go map, its keys sorted.
func objectOf(m map[string]any) (Value, error) {
	t := NewTree()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if err := t.Set(key, m[key]); err != nil {
			return Value{}, err
		}
	}
	return Value{kind: KindObject, tree: t, pos: -1}, nil
}

func listOf(n int, elem func(int) any) (Value, error) {
	if n > MaxKeys {
		return Value{}, &Error{Pos: -1, Msg: fmt.Sprintf("more than %d elements in a list", MaxKeys), Kind: ErrSyntax}
	}
	l := make(List, n)
	for i := range l {
		var err error
		if l[i], err = valueOf(elem(i)); err != nil {
			return Value{}, in(err, strconv.Itoa(i), -1)
		}
	}
	return Value{kind: KindArray, list: l, pos: -1}, nil
}

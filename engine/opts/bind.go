package opts

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Bind fills dst, a pointer to a struct, from t and consumes the keys it knows.
// Keys it does not know stay for the next Bind; [Tree.Unused] refuses what is
// left. Fields without a key get their default where they are zero. On an
// error dst may be filled in part.
//
// The tags of a field:
//
//	opt:"cluster-size,alias=cs"   its name and other names; dots reach into child objects
//	kind:"size"                   an integer that is a size; "pow2": only powers of two; "size,pow2" both
//	kind:"ms"                     a time.Duration whose bare numbers count in ns, us, ms or s (s otherwise)
//	default:"64k"                 as a user would write it
//	enum:"off,metadata,full"      the only values
//	min:"512" max:"2M"            bounds, included
//	required:"true"  secret:"true"  help:"…"
//
// The types of a field: string, bool, the integers, floats, time.Duration,
// [OptBool], [Tristate], [SecretRef], encoding.TextUnmarshaler, slices of
// these (a scalar alone is a list of one), pointers to these (nil where
// absent), structs (a child object), *struct (nil where absent), []struct,
// *[Tree] and Tree (a child node as it is, for another driver, by
// [Value.Node]), []*Tree, and [Value] (anything; the type to take where an
// absent node and backing= differ). JSON null leaves a pointer nil and is
// refused elsewhere but for Value.
func (t *Tree) Bind(dst any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("opts: Bind wants a pointer to a struct, not %T", dst)
	}
	p, err := planOf(v.Elem().Type())
	if err != nil {
		return err
	}
	return t.bind(v.Elem(), p)
}

// Unused returns an error that names the keys nobody consumed, each with its
// place and the nearest name that a Bind knew there.
func (t *Tree) Unused() error {
	var unknown []*Error
	t.unused(&unknown)
	if len(unknown) == 0 {
		return nil
	}
	first := *unknown[0]
	for i, e := range unknown[1:] {
		if i == 3 {
			first.Msg += fmt.Sprintf("; and %d more", len(unknown)-4)
			break
		}
		first.Msg += "; " + display(e.Key) + " too"
	}
	return &first
}

func (t *Tree) unused(out *[]*Error) {
	for i := range t.entries {
		e := &t.entries[i]
		if e.used == usedWhole {
			continue
		}
		known := slices.ContainsFunc(t.known, func(k string) bool { return sameKey(k, e.key) })
		if e.used == usedParts || (known && e.val.kind == KindObject) {
			e.val.unused(out)
			continue
		}
		msg := "unknown option" + suggest(e.key, t.known)
		if known {
			msg = "is " + e.val.kind.String() + ", but has keys of its own"
		}
		*out = append(*out, &Error{Key: join(t.at, e.key), Pos: e.pos, Kind: ErrUnknown, Msg: msg})
	}
}

// unused looks into the objects that were bound to structs. Nodes that were
// handed on whole are for whoever got them.
func (v Value) unused(out *[]*Error) {
	if v.tree != nil {
		v.tree.unused(out)
	}
	for i := range v.list {
		v.list[i].unused(out)
	}
}

// know adds the names of a struct to those that Unused suggests, per level:
// the struct of a child object knows what is below it.
func (t *Tree) know(names []string) {
	for _, name := range names {
		head, rest, nested := strings.Cut(name, ".")
		if !slices.Contains(t.known, head) {
			t.known = append(t.known, head)
		}
		if sub, ok := t.Sub(head); ok && nested {
			sub.know([]string{rest})
		}
	}
}

// consume marks the keys along path, the last with how.
func (t *Tree) consume(path string, how usage) {
	for t != nil {
		head, rest, nested := strings.Cut(path, ".")
		i := t.index(head)
		if i < 0 {
			return
		}
		e := &t.entries[i]
		if nested {
			e.used = max(e.used, usedParts)
		} else {
			e.used = max(e.used, how)
		}
		t, path = e.val.tree, rest
	}
}

func (t *Tree) bind(dst reflect.Value, p *plan) error {
	t.know(p.known)
	for _, f := range p.fields {
		if err := t.bindField(dst.FieldByIndex(f.index), f); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) bindField(dst reflect.Value, f *field) error {
	v, key, err := t.lookup(f)
	if err != nil {
		return err
	}
	if v.kind != KindInvalid {
		return f.set(dst, v, key)
	}
	at := join(t.at, f.name)
	switch {
	case f.required:
		return &Error{Key: at, Pos: -1, Msg: "is missing", Want: f.want(), Kind: ErrMissing}
	case f.class == classStruct:
		return (&Tree{at: at}).bind(dst, f.sub)
	case f.hasDef && dst.IsZero():
		return f.set(dst, StringValue(f.def), at)
	}
	return nil
}

// lookup finds the one name of f that t has and consumes it.
func (t *Tree) lookup(f *field) (found Value, key string, err error) {
	for _, name := range f.names {
		v, ok := t.Get(name)
		if !ok {
			continue
		}
		if found.kind != KindInvalid {
			return Value{}, "", &Error{Key: t.spelled(name), Pos: v.pos, Msg: "is another name of " + key + ", which is given too", Kind: ErrConflict}
		}
		t.consume(name, f.usage())
		if f.secret {
			t.hide(name)
			v.secret = true
		}
		found, key = v, t.spelled(name)
	}
	return found, key, nil
}

// usage says whether Unused looks below what f has consumed.
func (f *field) usage() usage {
	if f.leaf().class == classStruct {
		return usedParts
	}
	return usedWhole
}

// hide makes Redacted hide the value at path, whatever its key is called.
func (t *Tree) hide(path string) {
	node := Value{kind: KindObject, tree: t}
	var slot *Value
	for seg := range strings.SplitSeq(path, ".") {
		if slot = node.existing(seg); slot == nil {
			return
		}
		node = *slot
	}
	slot.secret = true
}

// spelled returns the full path of name as the user wrote its keys.
func (t *Tree) spelled(name string) string {
	at := t.at
	for seg := range strings.SplitSeq(name, ".") {
		i := t.index(seg)
		if i < 0 {
			return join(at, seg)
		}
		at = join(at, t.entries[i].key)
		t = t.entries[i].val.tree
		if t == nil {
			break
		}
	}
	return at
}

// set puts v into dst. key is the full path for messages.
func (f *field) set(dst reflect.Value, v Value, key string) error {
	switch f.class {
	case classValue:
		dst.Set(reflect.ValueOf(v))
		return nil
	case classPointer:
		if v.kind == KindNull {
			return nil
		}
		target := reflect.New(f.typ.Elem())
		if err := f.elem.set(target.Elem(), v, key); err != nil {
			return err
		}
		dst.Set(target)
		return nil
	case classTree:
		return f.setTree(dst, v, key)
	case classStruct:
		if v.kind != KindObject {
			return f.refuse(v, key)
		}
		return v.tree.bind(dst, f.sub)
	case classList:
		return f.setList(dst, v, key)
	default:
		return f.setText(dst, v, key)
	}
}

// setText is set for the classes that are one scalar.
func (f *field) setText(dst reflect.Value, v Value, key string) error {
	if !v.scalar() {
		return f.refuse(v, key)
	}
	err := f.setScalar(dst, v)
	if err == nil {
		return nil
	}
	refused := f.refuse(v, key)
	var e *Error
	switch {
	case errors.Is(err, errRefused) || v.secret:
	case errors.As(err, &e):
		refused.Msg = e.Msg
	default:
		refused.Msg = err.Error()
	}
	return refused
}

// errRefused means that [field.want] says all there is to say.
var errRefused = errors.New("refused")

// refuse is the error for a value that f does not take.
func (f *field) refuse(v Value, key string) *Error {
	e := &Error{Key: key, Value: v.shown(), Pos: v.pos, Want: f.want(), Kind: ErrValue}
	switch {
	case v.kind == KindObject || v.kind == KindArray || v.kind == KindNull:
		e.Value, e.Msg = "", "is "+v.kind.String()
	case v.text == "":
		e.Msg = "empty value"
	case f.leaf().enum != nil:
		if n := Nearest(v.text, f.leaf().enum); n != "" && !v.secret {
			e.Want += " (nearest: " + n + ")"
		}
	}
	return e
}

func (f *field) setTree(dst reflect.Value, v Value, key string) error {
	t, err := v.Node(key)
	switch {
	case err != nil:
		return err
	case f.typ == typeTreePtr:
		dst.Set(reflect.ValueOf(t))
	case t == nil:
		return f.refuse(v, key)
	default:
		dst.Set(reflect.ValueOf(*t))
	}
	return nil
}

func (f *field) setList(dst reflect.Value, v Value, key string) error {
	l := v.list
	switch {
	case v.scalar():
		l = List{v}
	case v.kind != KindArray:
		return f.refuse(v, key)
	}
	out := reflect.MakeSlice(f.typ, len(l), len(l))
	for i := range l {
		at, elem := key, l[i]
		if v.kind == KindArray {
			at = join(key, strconv.Itoa(i))
		}
		elem.secret = elem.secret || v.secret
		if err := f.elem.set(out.Index(i), elem, at); err != nil {
			return err
		}
	}
	dst.Set(out)
	return nil
}

// setScalar parses v.text for the classes that are one scalar.
func (f *field) setScalar(dst reflect.Value, v Value) error {
	text := v.text
	if f.enum != nil {
		i := slices.Index(f.enum, text)
		if i < 0 {
			i = slices.IndexFunc(f.enum, func(e string) bool { return strings.EqualFold(e, text) })
		}
		if i < 0 {
			return errRefused
		}
		text = f.enum[i]
	}
	switch f.class {
	case classString:
		dst.SetString(text)
	case classBool, classOptBool, classTristate:
		return f.setSwitch(dst, v.kind, text)
	case classText:
		return dst.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	case classFloat:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || !plainNumber(text) || dst.OverflowFloat(x) || v.kind == KindBool {
			return errRefused
		}
		dst.SetFloat(x)
		return f.inBounds(x)
	default:
		return f.setInteger(dst, v.kind, text)
	}
	return nil
}

func (f *field) setSwitch(dst reflect.Value, kind Kind, text string) error {
	if kind == KindNumber {
		return errRefused
	}
	if f.class == classTristate {
		state, err := ParseTristate(text)
		dst.Set(reflect.ValueOf(state))
		return err
	}
	on, err := ParseBool(text)
	if f.class == classBool {
		dst.SetBool(on)
	} else {
		dst.Set(reflect.ValueOf(OptBool{Given: err == nil, On: on}))
	}
	return err
}

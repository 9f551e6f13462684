package opts

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// class is how a field is filled.
type class uint8

const (
	classString class = iota
	classSize         // an integer in bytes, spelled as a size
	classInt
	classUint
	classFloat
	classBool
	classOptBool
	classTristate
	classDuration
	classText   // encoding.TextUnmarshaler
	classStruct // its fields are keys of a child object
	classTree   // a child node as it is
	classValue  // any value as it is
	classList   // elements of elem
	classPointer
)

// field is one option of a struct.
type field struct {
	index    []int
	name     string   // as the tag spells it, dots for nesting
	names    []string // name and aliases
	class    class
	typ      reflect.Type
	elem     *field // list element, pointer target
	sub      *plan  // classStruct
	enum     []string
	def      string
	hasDef   bool
	minText  string
	maxText  string
	pow2     bool
	unit     time.Duration
	help     string
	secret   bool
	secretID bool
	required bool
}

// plan is what the tags of a struct type say.
type plan struct {
	fields []*field
	known  []string
}

var (
	planCache sync.Map // reflect.Type → *plan

	typeDuration  = reflect.TypeFor[time.Duration]()
	typeOptBool   = reflect.TypeFor[OptBool]()
	typeTristate  = reflect.TypeFor[Tristate]()
	typeTree      = reflect.TypeFor[Tree]()
	typeTreePtr   = reflect.TypeFor[*Tree]()
	typeValue     = reflect.TypeFor[Value]()
	typeSecretRef = reflect.TypeFor[SecretRef]()
	typeSecret    = reflect.TypeFor[Secret]()
	typeText      = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// planOf reads the tags of a struct type, once. An error is a mistake in the
// program; [Check] finds it in a test.
func planOf(t reflect.Type) (*plan, error) { return planIn(t, nil) }

func planIn(t reflect.Type, outer []reflect.Type) (*plan, error) {
	if p, ok := planCache.Load(t); ok {
		return p.(*plan), nil
	}
	if slices.Contains(outer, t) {
		return nil, fmt.Errorf("opts: %s contains itself", t)
	}
	p := &plan{}
	if err := p.add(t, nil, append(outer, t)); err != nil {
		return nil, err
	}
	got, _ := planCache.LoadOrStore(t, p)
	return got.(*plan), nil
}

// add collects the fields of t; embedded structs without a name of their own
// are part of it.
func (p *plan) add(t reflect.Type, index []int, outer []reflect.Type) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clone(index), i)
		tag, tagged := sf.Tag.Lookup("opt")
		switch {
		case tag == "-" || (!tagged && !sf.Anonymous):
			continue
		case !tagged:
			if sf.Type.Kind() != reflect.Struct {
				continue
			}
			if err := p.add(sf.Type, at, outer); err != nil {
				return err
			}
			continue
		case !sf.IsExported():
			return fmt.Errorf("opts: %s.%s: tagged but not exported", t, sf.Name)
		}
		f, err := newField(sf, tag, outer)
		if err != nil {
			return fmt.Errorf("opts: %s.%s: %w", t, sf.Name, err)
		}
		f.index = at
		for _, name := range f.names {
			if slices.ContainsFunc(p.known, func(k string) bool { return sameKey(k, name) }) {
				return fmt.Errorf("opts: %s.%s: option %s twice", t, sf.Name, name)
			}
			p.known = append(p.known, name)
		}
		p.fields = append(p.fields, f)
	}
	return nil
}

func newField(sf reflect.StructField, tag string, outer []reflect.Type) (*field, error) {
	name, rest, _ := strings.Cut(tag, ",")
	f := &field{name: name, names: []string{name}, typ: sf.Type}
	for word := range strings.SplitSeq(rest, ",") {
		switch alias, ok := strings.CutPrefix(word, "alias="); {
		case word == "":
		case ok && sameKey(alias, name): // the other spelling of name: known anyway
		case ok:
			f.names = append(f.names, alias)
		default:
			return nil, fmt.Errorf("tag opt has unknown word %q", word)
		}
	}
	for _, n := range f.names {
		if segs, err := splitPath(n, -1); err != nil || slices.ContainsFunc(segs, isIndex) {
			return nil, fmt.Errorf("bad option name %q", n)
		}
	}
	f.help = sf.Tag.Get("help")
	f.secret = sf.Tag.Get("secret") == "true" || sf.Type == typeSecret
	f.required = sf.Tag.Get("required") == "true"
	f.def, f.hasDef = sf.Tag.Lookup("default")
	f.minText, f.maxText = sf.Tag.Get("min"), sf.Tag.Get("max")
	if enum := sf.Tag.Get("enum"); enum != "" {
		f.enum = strings.Split(enum, ",")
	}
	if err := f.classify(sf.Tag.Get("kind"), outer); err != nil {
		return nil, err
	}
	return f, f.checkTags()
}

// kindWords are what the tag kind may say.
var kindWords = map[string]func(*field){
	"":     func(*field) {},
	"size": func(f *field) { f.class = classSize },
	"pow2": func(f *field) { f.pow2 = true },
	"ns":   func(f *field) { f.unit = time.Nanosecond },
	"us":   func(f *field) { f.unit = time.Microsecond },
	"ms":   func(f *field) { f.unit = time.Millisecond },
	"s":    func(f *field) { f.unit = time.Second },
}

// classify decides class from the Go type and the tag kind.
func (f *field) classify(kind string, outer []reflect.Type) error {
	f.unit = time.Second
	if err := f.classOf(kind, outer); err != nil || f.elem != nil {
		return err
	}
	integer := f.class == classInt || f.class == classUint
	for word := range strings.SplitSeq(kind, ",") {
		set := kindWords[word]
		switch {
		case set == nil:
			return fmt.Errorf("unknown kind %q", word)
		case (word == "size" || word == "pow2") && !integer,
			f.class != classDuration && (word == "ns" || word == "us" || word == "ms" || word == "s"):
			return fmt.Errorf("kind %q does not suit a %s", word, f.typ)
		}
		set(f)
	}
	return nil
}

func (f *field) classOf(kind string, outer []reflect.Type) (err error) {
	switch f.typ {
	case typeDuration:
		f.class = classDuration
		return nil
	case typeOptBool:
		f.class = classOptBool
		return nil
	case typeTristate:
		f.class = classTristate
		return nil
	case typeTree, typeTreePtr:
		f.class = classTree
		return nil
	case typeValue:
		f.class = classValue
		return nil
	case typeSecretRef:
		f.class, f.secretID = classString, true
		return nil
	}
	if reflect.PointerTo(f.typ).Implements(typeText) {
		f.class = classText
		return nil
	}
	switch f.typ.Kind() {
	case reflect.String:
		f.class = classString
	case reflect.Bool:
		f.class = classBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.class = classInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.class = classUint
	case reflect.Float32, reflect.Float64:
		f.class = classFloat
	case reflect.Struct:
		f.class = classStruct
		f.sub, err = planIn(f.typ, outer)
	case reflect.Slice, reflect.Pointer:
		f.class = classList
		if f.typ.Kind() == reflect.Pointer {
			f.class = classPointer
		}
		f.elem = &field{
			name: f.name, typ: f.typ.Elem(), enum: f.enum,
			minText: f.minText, maxText: f.maxText, secret: f.secret,
		}
		err = f.elem.classify(kind, outer)
		if c := f.elem.class; err == nil && (c == classList || c == classPointer) {
			err = fmt.Errorf("a %s cannot be an option", f.typ)
		}
	default:
		err = fmt.Errorf("a %s cannot be an option", f.typ)
	}
	return err
}

// checkTags parses the default and the bounds as a user's value would be.
func (f *field) checkTags() error {
	scratch := reflect.New(f.typ).Elem()
	if f.hasDef {
		if err := f.set(scratch, StringValue(f.def), f.name); err != nil {
			return fmt.Errorf("default: %w", err)
		}
	}
	leaf := f.leaf()
	if (f.minText != "" || f.maxText != "") && !leaf.bounded() {
		return fmt.Errorf("min and max do not suit a %s", f.typ)
	}
	for _, text := range []string{f.minText, f.maxText} {
		if text == "" {
			continue
		}
		if _, err := leaf.order(text); err != nil {
			return fmt.Errorf("bounds: %w", err)
		}
	}
	return nil
}

// leaf is the field that scalars go to: the elements of a list, the target of a pointer.
func (f *field) leaf() *field {
	if f.elem != nil {
		return f.elem
	}
	return f
}

// bounded reports whether min and max mean anything for f.
func (f *field) bounded() bool {
	return slices.Contains([]class{classSize, classInt, classUint, classFloat, classDuration}, f.class)
}

// order parses a bound to something that compares.
func (f *field) order(text string) (float64, error) {
	if f.class == classSize {
		n, err := ParseSize(text)
		return float64(n), err
	}
	if f.class == classDuration {
		d, err := ParseDuration(text, f.unit)
		return float64(d), err
	}
	return strconv.ParseFloat(text, 64)
}

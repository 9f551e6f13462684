package opts

import (
	"fmt"
	"reflect"
	"slices"
)

// Option is one option of a struct, for help, documentation and completion.
type Option struct {
	Name     string   // full dotted name; "*" stands for a list index
	Aliases  []string // other names, full as well
	Type     string   // "size", "bool", "on|off|auto", "int", "float", "duration", "string", "enum", "secret id", "node", "list of …"
	Default  string   // as a user would write it; "" where none
	Help     string
	Enum     []string // the only values, where there are such
	Min, Max string   // bounds as a user would write them
	Want     string   // what a value has to be, as messages say it
	Secret   bool
	Required bool
}

// Describe returns the options of a struct or a pointer to one, in the order of
// its fields, those of child objects with their full names. It panics on tags
// that [Check] refuses.
func Describe(v any) []Option {
	p, err := planFor(v)
	if err != nil {
		panic(err)
	}
	return p.describe("")
}

// Check says whether Bind can use the struct or pointer to a struct v: known
// words in its tags, defaults and bounds that parse, no name twice. It is for
// tests of drivers.
func Check(v any) error {
	_, err := planFor(v)
	return err
}

func planFor(v any) (*plan, error) {
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("opts: %T is not a struct of options", v)
	}
	return planOf(t)
}

func (p *plan) describe(at string) []Option {
	var out []Option
	for _, f := range p.fields {
		leaf, name := f.leaf(), join(at, f.name)
		if leaf.class == classStruct {
			if f.class == classList {
				name += ".*"
			}
			out = append(out, leaf.sub.describe(name)...)
			continue
		}
		o := Option{
			Name: name, Type: f.typeName(), Default: f.def, Help: f.help, Enum: slices.Clone(f.enum),
			Min: f.minText, Max: f.maxText, Want: f.want(), Secret: f.secret, Required: f.required,
		}
		for _, alias := range f.names[1:] {
			o.Aliases = append(o.Aliases, join(at, alias))
		}
		out = append(out, o)
	}
	return out
}

// classWords are what the classes are called: as the type of an option, in a
// message, and the examples of a message that states no bounds.
var classWords = [...]struct{ typ, noun, such string }{
	classString:   {"string", "a string", ""},
	classSize:     {"size", "a size", sizeExamples},
	classInt:      {"int", "a whole number", ""},
	classUint:     {"int", "a whole number", " from 0"},
	classFloat:    {"float", "a number", ""},
	classBool:     {"bool", "on or off", ""},
	classOptBool:  {"bool", "on or off", ""},
	classTristate: {"on|off|auto", "on, off or auto", ""},
	classDuration: {"duration", "a duration", durationExamples},
	classText:     {"string", "a value of another form", ""},
	classStruct:   {"object", "keys of its own", ""},
	classTree:     {"node", "the name of a node, or keys of its own", ""},
	classValue:    {"any", "any value", ""},
	classList:     {"list", "a list", ""},
	classPointer:  {},
}

func (f *field) typeName() string {
	switch {
	case f.class == classList:
		return "list of " + f.elem.typeName()
	case f.class == classPointer:
		return f.elem.typeName()
	case f.secretID:
		return "secret id"
	case f.enum != nil:
		return "enum"
	}
	return classWords[f.class].typ
}

// want says what f takes, for a message.
func (f *field) want() string {
	words := classWords[f.class]
	switch {
	case f.enum != nil:
		return oneOf(f.enum)
	case f.class == classPointer:
		return f.elem.want()
	case f.class == classList:
		return words.noun + ", each element " + f.elem.want()
	case f.class == classStruct && len(f.sub.fields) > 0:
		return words.noun + " such as " + join(f.name, f.sub.fields[0].name)
	case f.secretID:
		return "the id of a secret"
	}
	noun, such := words.noun, words.such
	if f.pow2 {
		noun, such = "a power of two", ""
	}
	switch {
	case f.minText != "" && f.maxText != "":
		return noun + " from " + f.minText + " to " + f.maxText
	case f.minText != "":
		return noun + " from " + f.minText
	case f.maxText != "":
		return noun + " up to " + f.maxText
	}
	return noun + such
}

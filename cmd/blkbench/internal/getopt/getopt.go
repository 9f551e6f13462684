package getopt

import (
	"fmt"
	"strings"
)

// Option is one option of a table.
type Option struct {
	Long     string
	Short    string // one letter, or empty
	Arg      string // what the value is called in help; empty for an option without one
	Optional bool   // the value may be left out; it then comes only behind "=" or the letter
	Exact    bool   // the long name is never abbreviated, and no abbreviation is ambiguous because of it
	Help     string
}

// Error is a command line that is wrong. Its text is glibc's.
type Error struct {
	Msg     string
	Arg     string // the argument that was read last (argv[optind-1]); empty before the first
	Missing bool   // an option lacks its value; else the option is not known, ambiguous, or takes no value
}

// Error returns glibc's message.
func (e *Error) Error() string { return e.Msg }

// Found is an option as it was given.
type Found struct {
	Option *Option
	Value  string
	Given  bool // there is a value
}

// Style is what programs differ in.
type Style struct {
	// LongOnly lets a long option begin with one hyphen, as getopt_long_only does.
	LongOnly bool
	// Ordered stops at the first operand, as a leading "+" does.
	Ordered bool
}

// Parse sorts args into options, in their order, and operands. With an error come the options before it.
func Parse(table []Option, style Style, args []string) (found []Found, operands []string, err error) {
	p := parser{table: table, style: style, args: args}
	for p.next < len(p.args) {
		arg := p.args[p.next]
		p.next++
		switch {
		case arg == "--":
			return p.found, append(operands, p.args[p.next:]...), nil
		case len(arg) < 2 || arg[0] != '-':
			if style.Ordered {
				return p.found, append(operands, p.args[p.next-1:]...), nil
			}
			operands = append(operands, arg)
		default:
			if err := p.option(arg); err != nil {
				return p.found, nil, err
			}
		}
	}
	return p.found, operands, nil
}

type parser struct {
	table []Option
	style Style
	args  []string
	next  int // index of the argument to be read next
	found []Found
}

func (p *parser) wrong(missing bool, format string, args ...any) error {
	e := &Error{Msg: fmt.Sprintf(format, args...), Missing: missing}
	if p.next > 0 {
		e.Arg = p.args[p.next-1]
	}
	return e
}

func (p *parser) option(arg string) error {
	if name, double := strings.CutPrefix(arg, "--"); double {
		return p.long("--", name)
	}
	name := arg[1:]
	if p.style.LongOnly && (len(name) > 1 || p.short(name[:1]) == nil) {
		o, _, err := p.lookup("-", name)
		// What is no long option, and begins with a short one's letter, is a cluster.
		if o != nil || err != nil || p.short(name[:1]) == nil {
			return p.long("-", name)
		}
	}
	return p.cluster(name)
}

// lookup finds a long option by its name or by an abbreviation that is unique.
func (p *parser) lookup(dashes, name string) (*Option, string, error) {
	name, value, _ := strings.Cut(name, "=")
	var near []*Option
	for i := range p.table {
		o := &p.table[i]
		if o.Long == name && name != "" {
			return o, value, nil
		}
		if o.Long != "" && !o.Exact && strings.HasPrefix(o.Long, name) {
			near = append(near, o)
		}
	}
	if len(near) == 1 {
		return near[0], value, nil
	}
	if len(near) > 1 {
		var names strings.Builder
		for _, o := range near {
			fmt.Fprintf(&names, " '%s%s'", dashes, o.Long)
		}
		return nil, "", p.wrong(false, "option '%s%s' is ambiguous; possibilities:%s", dashes, name, names.String())
	}
	return nil, "", nil
}

func (p *parser) long(dashes, name string) error {
	o, value, err := p.lookup(dashes, name)
	if err != nil {
		return err
	}
	given, _, equals := strings.Cut(name, "=")
	switch {
	case o == nil:
		return p.wrong(false, "unrecognized option '%s%s'", dashes, given)
	case o.Arg == "" && equals:
		return p.wrong(false, "option '%s%s' doesn't allow an argument", dashes, o.Long)
	case o.Arg == "" || equals || o.Optional:
	case p.next == len(p.args):
		return p.wrong(true, "option '%s%s' requires an argument", dashes, o.Long)
	default:
		value = p.args[p.next]
		p.next++
		equals = true
	}
	p.found = append(p.found, Found{Option: o, Value: value, Given: equals})
	return nil
}

func (p *parser) short(letter string) *Option {
	for i := range p.table {
		if p.table[i].Short == letter {
			return &p.table[i]
		}
	}
	return nil
}

// cluster takes short options until one has a value, which is the rest.
func (p *parser) cluster(letters string) error {
	for i := range len(letters) {
		letter := letters[i : i+1]
		o := p.short(letter)
		if o == nil {
			if i+1 < len(letters) {
				p.next-- // the argument is not done with
			}
			return p.wrong(false, "invalid option -- '%s'", letter)
		}
		f := Found{Option: o}
		if o.Arg == "" {
			p.found = append(p.found, f)
			continue
		}
		switch rest := letters[i+1:]; {
		case rest != "":
			f.Value, f.Given = rest, true
		case o.Optional:
		case p.next == len(p.args):
			return p.wrong(true, "option requires an argument -- '%s'", letter)
		default:
			f.Value, f.Given = p.args[p.next], true
			p.next++
		}
		p.found = append(p.found, f)
		return nil
	}
	return nil
}

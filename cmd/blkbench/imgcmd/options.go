package imgcmd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/engine/opts"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// setting is one key=value of -o.
type setting struct{ key, value string }

// settings are the arguments of -o: a key that comes again replaces the value and keeps its place.
type settings []setting

// parseSettings reads the arguments of all -o. A comma that is doubled is one. The error is the whole argument when it is no list.
func parseSettings(args []string) (settings, error) {
	var list settings
	for _, arg := range args {
		trailing := len(arg) - len(strings.TrimRight(arg, ","))
		if arg == "" || arg[0] == ',' || trailing%2 == 1 {
			return nil, fmt.Errorf("Invalid option list: %s", arg) //nolint:staticcheck // qemu-img's words
		}
		for rest := arg; rest != ""; {
			var key string
			value := "on"
			end := strings.IndexAny(rest, "=,")
			switch {
			case end < 0:
				key, rest = rest, ""
			case rest[end] == ',':
				key, rest = rest[:end], rest[end+1:]
			default:
				key = rest[:end]
				value, rest = cutValue(rest[end+1:])
			}
			list.set(key, value)
		}
	}
	return list, nil
}

// cutValue reads up to a single comma; a doubled one is one of the value's.
func cutValue(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == ',' {
			if i+1 == len(s) || s[i+1] != ',' {
				return b.String(), s[i+1:]
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// hasHelp reports whether -o asks for help.
func hasHelp(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		for rest := arg; rest != ""; {
			var item string
			if item, rest = cutValue(rest); item == "help" || item == "?" {
				return true
			}
		}
		return false
	})
}

func (s settings) get(key string) (string, bool) {
	for _, x := range s {
		if x.key == key {
			return x.value, true
		}
	}
	return "", false
}

func (s *settings) set(key, value string) {
	for i := range *s {
		if (*s)[i].key == key {
			(*s)[i].value = value
			return
		}
	}
	*s = append(*s, setting{key, value})
}

func (s *settings) remove(key string) {
	*s = slices.DeleteFunc(*s, func(x setting) bool { return x.key == key })
}

// tree makes a tree for a driver to bind.
func (s settings) tree() (*opts.Tree, error) {
	t := opts.NewTree()
	for _, x := range s {
		if err := t.Set(x.key, x.value); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// sizeHint is what follows a message on a size that is none.
const sizeHint = "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.\n"

// hintError is an error with lines that follow its message.
type hintError struct {
	error
	hint string
}

// unknownError is a key that no option has.
type unknownError struct{ key string }

func (e unknownError) Error() string { return fmt.Sprintf("Invalid parameter '%s'", e.key) }

// check verifies keys and values against the options that are there, and spells numbers and switches in one way.
func (s settings) check(list []formatOption, warn func(format string, args ...any)) (settings, error) {
	var out settings
	for _, x := range s {
		o := find(list, x.key)
		if o == nil && x.value == "on" && strings.HasPrefix(x.key, "no") {
			if o = find(list, x.key[2:]); o != nil {
				x.key, x.value = x.key[2:], "off"
			}
		}
		if o == nil {
			return nil, unknownError{x.key}
		}
		switch o.Type {
		case "size":
			n, hexSuffix, err := parseSize(x.value)
			if hexSuffix {
				warn("Using a multiplier suffix on hex numbers is deprecated: %s", x.value)
			}
			if err != nil {
				return nil, hintError{fmt.Errorf("Parameter '%s' expects a non-negative number below 2^64", x.key), sizeHint} //nolint:staticcheck // QEMU's words
			}
			x.value = strconv.FormatUint(n, 10)
		case "int":
			n, err := strconv.ParseUint(x.value, 0, 64)
			if err != nil {
				return nil, fmt.Errorf("Parameter '%s' expects a number", x.key) //nolint:staticcheck // QEMU's words
			}
			x.value = strconv.FormatUint(n, 10)
		case "bool":
			if !slices.Contains([]string{"on", "off", "yes", "no", "true", "false", "y", "n"}, x.value) {
				return nil, fmt.Errorf("Parameter '%s' expects 'on' or 'off'", x.key) //nolint:staticcheck // QEMU's words
			}
		default:
		}
		out.set(x.key, x.value)
	}
	return out, nil
}

// format is the list as "Formatting" shows it.
func (s settings) format(list []formatOption) string {
	var b strings.Builder
	printOne := func(name, value string) {
		fmt.Fprintf(&b, " %s=%s", name, value)
	}
	for _, o := range list {
		value, given := s.get(o.Name)
		if !given {
			value = o.shown
		}
		if !given && o.shown == "" {
			continue
		}
		printOne(o.Name, strings.ReplaceAll(value, ",", ",,"))
	}
	return b.String()
}

// typeWords are what help calls the types.
var typeWords = map[string]string{"size": "size", "int": "num", "bool": "bool (on/off)"}

// helpLines prints options as -o help does.
func helpLines(list []formatOption) string {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b formatOption) int { return cmp.Compare(a.Name, b.Name) })
	var b strings.Builder
	for _, o := range list {
		left := fmt.Sprintf("%s=<%s>", o.Name, cmp.Or(typeWords[o.Type], "str"))
		text := o.Help
		if len(o.Enum) > 0 && !strings.Contains(text, o.Enum[0]) {
			text += " (allowed values: " + strings.Join(o.Enum, ", ") + ")"
		}
		fmt.Fprintf(&b, "  %-22s - %s\n", left, text)
	}
	return b.String()
}

// valueNames are what QEMU calls some options in a message on their value.
var valueNames = map[string]string{"compat": "version", "encrypt.format": "format", "compression_type": "compression-type"}

// badValue finds the message on a value that a driver refused; empty when that was not the trouble.
func badValue(format string, err error) string {
	e, ok := errors.AsType[*opts.Error](err)
	if !ok || !errors.Is(e.Kind, opts.ErrValue) || e.Key == "" {
		return ""
	}
	if e.Key == "preallocation" && format != "qcow2" {
		if e.Value == "metadata" {
			return "Unsupported preallocation mode: metadata"
		}
		return "invalid parameter value: " + e.Value
	}
	return fmt.Sprintf("Parameter '%s' does not accept value '%s'", cmp.Or(valueNames[e.Key], e.Key), e.Value)
}

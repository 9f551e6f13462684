package getopt

import (
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
)

// Table makes the table of the struct that dst points to. Its fields are bool (an option without a value), string, *string
// (nil where the option is not given), []string (one element for each time it is given), or an unsigned integer, with
// the tags
//
//	long, short, arg, help    what Option has
//	default                   what Bind sets before it parses
//	exact:"true"              Option.Exact
//	kind:"size"               an integer that takes k, M, G, T, P, E and Ki, Mi … behind it, all powers of 1024
//
// Embedded structs add their options in place.
func Table(dst any) []Option {
	var table []Option
	for _, f := range fields(reflect.ValueOf(dst).Elem()) {
		table = append(table, f.option)
	}
	return table
}

// Bind parses args into the struct that dst points to and returns the operands.
func Bind(dst any, style Style, args []string) (operands []string, err error) {
	_, operands, err = BindFound(dst, style, args)
	return operands, err
}

// BindFound is Bind for programs to which the order of options matters: it returns them as they were given, too.
func BindFound(dst any, style Style, args []string) (found []Found, operands []string, err error) {
	list := fields(reflect.ValueOf(dst).Elem())
	table := make([]Option, len(list))
	for i, f := range list {
		table[i] = f.option
		if def, ok := f.tag.Lookup("default"); ok {
			if err := f.set(def); err != nil {
				return nil, nil, err
			}
		}
	}
	found, operands, err = Parse(table, style, args)
	if err != nil {
		return found, nil, err
	}
	for _, g := range found {
		for i := range table {
			if g.Option != &table[i] {
				continue
			}
			if err := list[i].set(g.Value); err != nil {
				return nil, nil, err
			}
		}
	}
	return found, operands, nil
}

type field struct {
	option Option
	tag    reflect.StructTag
	value  reflect.Value
}

func fields(v reflect.Value) []field {
	var list []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			list = append(list, fields(v.Field(i))...)
			continue
		}
		list = append(list, field{
			option: Option{Long: f.Tag.Get("long"), Short: f.Tag.Get("short"), Arg: f.Tag.Get("arg"), Help: f.Tag.Get("help"), Exact: f.Tag.Get("exact") != ""},
			tag:    f.Tag, value: v.Field(i),
		})
	}
	return list
}

// kinds are what messages call an integer, by its size in bytes.
var kinds = map[int]string{1: "byte", 2: "short", 4: "word", 8: "long"}

func (f *field) set(text string) error {
	switch f.value.Kind() {
	case reflect.Bool:
		f.value.SetBool(true)
		return nil
	case reflect.String:
		f.value.SetString(text)
		return nil
	case reflect.Pointer:
		f.value.Set(reflect.ValueOf(&text))
		return nil
	case reflect.Slice:
		f.value.Set(reflect.Append(f.value, reflect.ValueOf(text)))
		return nil
	default:
	}
	width := int(f.value.Type().Size())
	var v uint64
	var err error
	kind := kinds[width]
	if f.tag.Get("kind") == "size" {
		kind = "long suffixed integer"
		v, err = Size(text)
	} else {
		v, err = Number(text)
	}
	if err != nil || bits.Len64(v) > 8*width {
		return fmt.Errorf("Expected %s argument for '%s' but got '%s'!", kind, f.option.Long, text) //nolint:revive,staticcheck // nvme-cli's words
	}
	f.value.SetUint(v)
	return nil
}

// Number reads an unsigned integer as strtoul does: decimal, 0x and octal behind 0.
func Number(text string) (uint64, error) {
	text = strings.TrimSpace(text)
	digits, base := text, 10
	switch {
	case strings.HasPrefix(text, "0x"), strings.HasPrefix(text, "0X"):
		digits, base = text[2:], 16
	case len(text) > 1 && text[0] == '0':
		digits, base = text[1:], 8
	}
	v, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("'%s' is no number", text)
	}
	return v, nil
}

// Size is Number with a suffix for powers of 1024: "4k", "1Mi".
func Size(text string) (uint64, error) {
	const units = "kmgtpe"
	number := strings.TrimSuffix(text, "i")
	suffixed := number != text
	shift := 0
	if n := len(number); n > 0 && (!strings.HasPrefix(number, "0x") && !strings.HasPrefix(number, "0X")) {
		if i := strings.IndexByte(units, number[n-1]|0x20); i >= 0 {
			number, shift = number[:n-1], 10*(i+1)
		}
	}
	v, err := Number(number)
	if err != nil || suffixed && shift == 0 || v > math.MaxUint64>>shift {
		return 0, fmt.Errorf("'%s' is no size", text)
	}
	return v << shift, nil
}

// List reads numbers separated by commas.
func List(text string) ([]uint64, error) {
	if text == "" {
		return nil, nil
	}
	var list []uint64
	for part := range strings.SplitSeq(text, ",") {
		v, err := Number(part)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

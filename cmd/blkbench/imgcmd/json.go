package imgcmd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// keyOrder is the order in which qemu-img prints the keys of an object, whatever object it is: that of its hash table, which some scripts
// have come to depend on. Keys that are not here come last, sorted.
var keyOrder = rank(`ivgen-alg compat icount aes flags vm-clock-nsec detached-header image-end-offset name active compressed-clusters
	hash-alg backing-image iters compression-type compressed cid lazy-refcounts date-sec bitmaps cipher-alg refcount-bits parent-cid uuid
	total-clusters extent-size-hint offset corruptions data-file ivgen-hash-alg corruptions-fixed check-errors backing-filename-format
	luks date-nsec driver granularity required leaks create-type snapshots key-offset leaks-fixed allocated-clusters virtual-size filename
	cluster-size size fully-allocated format encrypt actual-size format-specific data-file-raw full-backing-filename cipher-mode stripes
	slots vm-clock-sec payload-offset encrypted type extents master-key-iters file backing-filename corrupt fragmented-clusters id
	vm-state-size key-secret dirty-flag extended-l2 data`)

func rank(list string) map[string]int {
	m := make(map[string]int)
	for i, key := range strings.Fields(list) {
		m[key] = i
	}
	return m
}

// object is a JSON object whose keys are printed in qemu-img's order.
type object map[string]any

func (o object) keys() []string {
	last := len(keyOrder)
	place := func(key string) int {
		if i, ok := keyOrder[key]; ok {
			return i
		}
		return last
	}
	return slices.SortedFunc(maps.Keys(o), func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b)) })
}

// generic turns a struct with JSON names into objects, lists, texts, numbers and switches.
func generic(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	return objects(out), nil
}

func objects(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := make(object, len(v))
		for key, x := range v {
			o[key] = objects(x)
		}
		return o
	case []any:
		for i := range v {
			v[i] = objects(v[i])
		}
		return v
	}
	return v
}

// writeJSON prints a value as qemu-img does: four spaces a level, and nothing but ASCII.
func writeJSON(w io.Writer, v any) error {
	b := appendJSON(nil, v, 0)
	_, err := w.Write(append(b, '\n'))
	return err
}

func appendJSON(b []byte, v any, level int) []byte {
	newline := func(level int) {
		b = append(b, '\n')
		for range level {
			b = append(b, "    "...)
		}
	}
	switch v := v.(type) {
	case object:
		b = append(b, '{')
		for i, key := range v.keys() {
			if i > 0 {
				b = append(b, ',')
			}
			newline(level + 1)
			b = append(appendText(b, key), ": "...)
			b = appendJSON(b, v[key], level+1)
		}
		newline(level)
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			newline(level + 1)
			b = appendJSON(b, x, level+1)
		}
		newline(level)
		return append(b, ']')
	case string:
		return appendText(b, v)
	case nil:
		return append(b, "null"...)
	default:
		return fmt.Append(b, v)
	}
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		if i := strings.IndexRune("\"\\\b\f\n\r\t", r); i >= 0 {
			b = append(b, '\\', `"\bfnrt`[i])
			continue
		}
		switch {
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04X\u%04X`, hi, lo)
		case r == utf8.RuneError:
			b = append(b, `\uFFFD`...)
		default:
			b = fmt.Appendf(b, `\u%04X`, r)
		}
	}
	return append(b, '"')
}

// writeTree prints a value as the human form of info does, one key or element a line.
func writeTree(w io.Writer, v any, level int) {
	line := func(label string, x any) {
		fmt.Fprintf(w, "%s%s:", strings.Repeat("    ", level), label)
		switch x.(type) {
		case object, []any:
			fmt.Fprintln(w)
			writeTree(w, x, level+1)
		default:
			fmt.Fprintf(w, " %v\n", x)
		}
	}
	switch v := v.(type) {
	case object:
		for _, key := range v.keys() {
			line(strings.ReplaceAll(key, "-", " "), v[key])
		}
	case []any:
		for i, x := range v {
			line(fmt.Sprintf("[%d]", i), x)
		}
	default:
		fmt.Fprintln(w, v)
	}
}

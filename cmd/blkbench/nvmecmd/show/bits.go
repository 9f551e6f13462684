package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// bitField is one line of an explanation of a register or field.
type bitField struct {
	label  string // as printed, with the bits in brackets
	hi, lo uint
	texts  []string // one for all values, or one per value
	hidden bool     // shown only when it is not 0
}

// bitTable explains a value, highest bits first.
type bitTable []bitField

// parseBits reads a table written as text, one line per field: the label with the bits in brackets, then the texts,
// separated by "|". A text that starts with "?" is shown only for a value that is not 0. In a text %d is the value, %p two
// to its power; a text that starts with "=" stands for the whole rest of the line, otherwise the value comes before it.
func parseBits(table string) bitTable {
	var t bitTable
	for line := range strings.Lines(strings.Trim(table, "\n")) {
		parts := strings.Split(strings.TrimRight(line, "\n"), "|")
		f := bitField{label: parts[0], texts: parts[1:]}
		if rest, ok := strings.CutPrefix(f.texts[0], "?"); ok {
			f.hidden, f.texts[0] = true, rest
		}
		inside, _, _ := strings.Cut(f.label[strings.IndexByte(f.label, '[')+1:], "]")
		hi, lo, _ := strings.Cut(inside, ":")
		f.hi, f.lo = number(hi), number(lo)
		t = append(t, f)
	}
	return t
}

func number(s string) uint {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic("bit table: " + s) // the tables are constants of this package
	}
	return uint(n)
}

func (f *bitField) value(v uint64) uint64 {
	return v >> f.lo & (1<<(f.hi-f.lo+1) - 1)
}

// text is the field's text for a value, the last for values beyond the texts.
func (f *bitField) text(v uint64) string {
	t := f.texts[min(v, uint64(len(f.texts)-1))]
	t = strings.ReplaceAll(t, "%d", decimal(v))
	return strings.ReplaceAll(t, "%p", decimal(1<<(v&63)))
}

// print explains v, and ends with an empty line.
func (t bitTable) print(w io.Writer, v uint64) {
	for i := range t {
		f := &t[i]
		n := f.value(v)
		if f.hidden && n == 0 {
			continue
		}
		text := f.text(n)
		if rest, ok := strings.CutPrefix(text, "="); ok {
			fmt.Fprintf(w, "%s %s\n", f.label, rest)
			continue
		}
		fmt.Fprintf(w, "%s %s\t%s\n", f.label, hex(n), text)
	}
	fmt.Fprintln(w)
}

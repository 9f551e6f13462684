package show

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Object is a JSON object whose keys have an order.
type Object []Member

// Array is a JSON array. Values are Object, Array, string and integers.
type Array []any

// Member is one key of an Object.
type Member struct {
	Key   string
	Value any
}

// add appends a member.
func (o *Object) add(key string, value any) { *o = append(*o, Member{key, value}) }

// JSON writes v as json-c's pretty format does: two spaces a level, no space behind the colon, empty containers on two
// lines.
func JSON(w io.Writer, v any) error {
	var b bytes.Buffer
	writeValue(&b, v, 0)
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func writeValue(b *bytes.Buffer, v any, depth int) {
	indent := func(n int) { b.WriteString("\n" + strings.Repeat("  ", n)) }
	switch v := v.(type) {
	case Object:
		b.WriteByte('{')
		for i, m := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			indent(depth + 1)
			writeString(b, m.Key)
			b.WriteByte(':')
			writeValue(b, m.Value, depth+1)
		}
		indent(depth)
		b.WriteByte('}')
	case Array:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			indent(depth + 1)
			writeValue(b, e, depth+1)
		}
		indent(depth)
		b.WriteByte(']')
	case string:
		writeString(b, v)
	default:
		fmt.Fprint(b, v)
	}
}

// writeString escapes what JSON forbids. Bytes that are no UTF-8 pass, as in json-c: text fields of controllers may
// hold anything.
func writeString(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\b':
			b.WriteString(`\b`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\f':
			b.WriteString(`\f`)
		default:
			if c < ' ' {
				b.WriteString(`\u00` + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]))
				continue
			}
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// signed is how nvme-cli puts a 32-bit field into JSON.
func signed(v uint32) int32 { return int32(v) }

// decimal is v in decimal.
func decimal(v uint64) string { return strconv.FormatUint(v, 10) }

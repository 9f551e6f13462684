package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/bench/internal/units"
)

// document writes JSON with its keys in the order of the calls, laid out as fio lays it out: two spaces a level and ` : ` after a key, which shell scripts match.
// An empty key writes an element of an array.
type document struct {
	w     *bufio.Writer
	used  []bool // for each open level: something has been written in it
	esc   bytes.Buffer
	quote *json.Encoder
	err   error
}

func newDocument(w io.Writer) *document {
	d := &document{w: bufio.NewWriterSize(w, 1<<16)}
	d.quote = json.NewEncoder(&d.esc)
	d.quote.SetEscapeHTML(false)
	return d
}

func (d *document) next(key string) {
	if n := len(d.used); n > 0 {
		if d.used[n-1] {
			_ = d.w.WriteByte(',')
		}
		d.used[n-1] = true
		d.newline()
	}
	if key != "" {
		d.quoted(key)
		_, _ = d.w.WriteString(" : ")
	}
}

func (d *document) newline() {
	_ = d.w.WriteByte('\n')
	_, _ = d.w.WriteString(strings.Repeat("  ", len(d.used)))
}

func (d *document) open(key string, bracket byte) {
	d.next(key)
	_ = d.w.WriteByte(bracket)
	d.used = append(d.used, false)
}

func (d *document) shut(bracket byte) {
	d.used = d.used[:len(d.used)-1]
	d.newline()
	_ = d.w.WriteByte(bracket)
}

func (d *document) object(key string, body func()) {
	d.open(key, '{')
	body()
	d.shut('}')
}

func (d *document) array(key string, body func()) {
	d.open(key, '[')
	body()
	d.shut(']')
}

// quoted writes s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func (d *document) quoted(s string) {
	d.esc.Reset()
	_ = d.quote.Encode(s) // a string always encodes
	_, _ = d.w.Write(bytes.TrimRight(d.esc.Bytes(), "\n"))
}

func (d *document) string(key, v string) {
	d.next(key)
	d.quoted(v)
}

func (d *document) uint(key string, v uint64) {
	d.next(key)
	_, _ = d.w.Write(strconv.AppendUint(d.w.AvailableBuffer(), v, 10))
}

func (d *document) int(key string, v int64) {
	d.next(key)
	_, _ = d.w.Write(strconv.AppendInt(d.w.AvailableBuffer(), v, 10))
}

func (d *document) float(key string, v float64) {
	d.next(key)
	_, _ = d.w.Write(strconv.AppendFloat(d.w.AvailableBuffer(), units.Finite(v), 'f', 6, 64))
}

// fields writes the fields of a struct into the open object.
func (d *document) fields(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		d.fail(err)
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace
	for dec.More() {
		key, err := dec.Token()
		var val json.RawMessage
		if err == nil {
			err = dec.Decode(&val)
		}
		if err != nil {
			d.fail(err)
			return
		}
		d.next(key.(string))
		d.esc.Reset()
		if err := json.Indent(&d.esc, val, strings.Repeat("  ", len(d.used)), "  "); err != nil {
			d.fail(err)
			return
		}
		_, _ = d.w.Write(d.esc.Bytes())
	}
}

// inline writes v on one line.
func (d *document) inline(key string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		d.fail(err)
		raw = []byte("null")
	}
	d.next(key)
	_, _ = d.w.Write(raw)
}

// fail keeps the first error of encoding.
func (d *document) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *document) finish() error {
	_ = d.w.WriteByte('\n')
	return errors.Join(d.err, d.w.Flush())
}

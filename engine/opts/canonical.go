package opts

import (
	"fmt"
	"slices"
	"strings"
)

// Canonical returns the json:{…} spelling of t: "driver" first, the other keys
// sorted, no spaces, keys as they were written, scalars of the kind they have.
// Two equal trees written with the same letters have the same one, and
// [ParseName] reads it back. Secrets are in the clear: it is for opening and
// for image headers, never for people.
func (t *Tree) Canonical() string { return string(t.appendJSON([]byte("json:"), false)) }

// Redacted is Canonical for people: passwords and the like become "***", also
// those within URIs.
func (t *Tree) Redacted() string { return string(t.appendJSON([]byte("json:"), true)) }

// Format prints a tree by any verb of fmt as Redacted does.
func (t *Tree) Format(f fmt.State, _ rune) {
	if t == nil {
		_, _ = f.Write([]byte("<nil>"))
		return
	}
	_, _ = f.Write([]byte(t.Redacted()))
}

// MarshalJSON returns the redacted object, so that reports hold no secrets.
func (t *Tree) MarshalJSON() ([]byte, error) {
	if t == nil {
		return []byte("null"), nil
	}
	return []byte(strings.ToValidUTF8(string(t.appendJSON(nil, true)), "\ufffd")), nil
}

// Format prints a value by any verb of fmt, redacted.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.shown())) }

// MarshalJSON returns the redacted value.
func (v Value) MarshalJSON() ([]byte, error) {
	return []byte(strings.ToValidUTF8(string(v.appendJSON(nil, true)), "\ufffd")), nil
}

// shown is a value as a message shows it.
func (v Value) shown() string {
	switch {
	case v.secret:
		return hidden
	case v.kind == KindObject || v.kind == KindArray:
		return string(v.appendJSON(nil, true))
	case v.kind == KindInvalid:
		return "absent"
	}
	return RedactName(v.text)
}

func (t *Tree) appendJSON(b []byte, redact bool) []byte {
	order := make([]int, len(t.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := t.entries[i].key, t.entries[j].key
		if (a == "driver") != (b == "driver") {
			if a == "driver" {
				return -1
			}
			return 1
		}
		return strings.Compare(normKey(a), normKey(b))
	})
	b = append(b, '{')
	for n, i := range order {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, t.entries[i].key)
		b = append(b, ':')
		b = t.entries[i].val.appendJSON(b, redact)
	}
	return append(b, '}')
}

func (v Value) appendJSON(b []byte, redact bool) []byte {
	if redact && v.secret && v.kind != KindNull {
		return appendString(b, hidden)
	}
	switch v.kind {
	case KindObject:
		return v.tree.appendJSON(b, redact)
	case KindArray:
		b = append(b, '[')
		for i := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.list[i].appendJSON(b, redact)
		}
		return append(b, ']')
	case KindString:
		if redact {
			return appendString(b, RedactName(v.text))
		}
		return appendString(b, v.text)
	case KindNumber, KindBool:
		return append(b, v.text...)
	default:
		return append(b, "null"...)
	}
}

// appendString quotes s; bytes that are not UTF-8 stay as they are.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

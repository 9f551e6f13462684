package opts

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON parses one JSON object (RFC 8259) and nothing after it. Duplicate
// keys are refused, also where they are the same only by underscore and
// hyphen; dotted keys nest as in [ParseKeyval], so {"file.driver":"nbd"} is
// {"file":{"driver":"nbd"}}. Bytes of a string that are not UTF-8 pass
// through: a Linux path is bytes.
func ParseJSON(b []byte) (*Tree, error) {
	p := jsonParser{s: string(b)}
	if len(p.s) > MaxInput {
		return nil, syntaxErr(-1, "%d bytes of JSON, at most %d are read", len(p.s), MaxInput)
	}
	p.space()
	if p.peek() != '{' {
		return nil, p.fail("want a JSON object")
	}
	root := &raw{}
	if err := p.value(root, 0); err != nil {
		return nil, err
	}
	p.space()
	if p.pos < len(p.s) {
		return nil, p.fail("text after the JSON object")
	}
	return root.tree()
}

type jsonParser struct {
	s   string
	pos int
}

// peek returns the next byte, 0 at the end (which no token begins with).
func (p *jsonParser) peek() byte {
	if p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

func (p *jsonParser) space() {
	for p.pos < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *jsonParser) fail(msg string) *Error { return syntaxErr(p.pos, "%s", msg) }

// value parses one value into an empty node.
func (p *jsonParser) value(dst *raw, level int) error {
	p.space()
	start := p.pos
	scalar := func(k Kind, text string) error {
		dst.val = Value{kind: k, text: text, pos: start}
		return nil
	}
	switch c := p.peek(); {
	case c == '{' || c == '[':
		if level >= MaxDepth {
			return tooDeep("", p.pos)
		}
		p.pos++
		if c == '{' {
			dst.val, dst.braces = Value{kind: KindObject, pos: start}, true
			return p.members(dst, level)
		}
		dst.val = Value{kind: KindArray, pos: start}
		return p.elements(dst, level)
	case c == '"':
		s, err := p.str()
		if err != nil {
			return err
		}
		return scalar(KindString, s)
	case c == '-' || c >= '0' && c <= '9':
		n, err := p.number()
		if err != nil {
			return err
		}
		return scalar(KindNumber, n)
	}
	for _, lit := range [...]struct {
		word string
		kind Kind
	}{{"true", KindBool}, {"false", KindBool}, {"null", KindNull}} {
		if strings.HasPrefix(p.s[p.pos:], lit.word) {
			p.pos += len(lit.word)
			return scalar(lit.kind, lit.word)
		}
	}
	return p.fail("want a JSON value")
}

func (p *jsonParser) members(dst *raw, level int) error {
	p.space()
	if p.peek() == '}' {
		p.pos++
		return nil
	}
	for {
		p.space()
		pos := p.pos
		if p.peek() != '"' {
			return p.fail("want a key in double quotes")
		}
		key, err := p.str()
		if err != nil {
			return err
		}
		segs, err := splitPath(key, pos)
		if err != nil {
			return err
		}
		if p.space(); p.peek() != ':' {
			return p.fail("want ':' after a key")
		}
		p.pos++
		node, created, err := dst.reach(segs, pos)
		if err != nil {
			return err
		}
		p.space()
		if !created && (node.val.kind != KindObject || node.braces || p.peek() != '{') {
			return &Error{Key: key, Pos: pos, Msg: "given twice", Kind: ErrConflict}
		}
		if err := p.value(node, level+len(segs)); err != nil {
			return in(err, key, -1)
		}
		switch p.space(); p.peek() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return nil
		default:
			return p.fail("want ',' or '}' after a member")
		}
	}
}

func (p *jsonParser) elements(dst *raw, level int) error {
	if p.space(); p.peek() == ']' {
		p.pos++
		return nil
	}
	for {
		if len(dst.kids) >= MaxKeys {
			return p.fail("more than " + strconv.Itoa(MaxKeys) + " elements in a list")
		}
		p.space()
		node, idx := &raw{}, strconv.Itoa(len(dst.kids))
		dst.keys, dst.poss, dst.kids = append(dst.keys, idx), append(dst.poss, p.pos), append(dst.kids, node)
		if err := p.value(node, level+1); err != nil {
			return in(err, idx, -1)
		}
		switch p.space(); p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return nil
		default:
			return p.fail("want ',' or ']' after an element")
		}
	}
}

// number scans a number by RFC 8259 §6 and keeps its text.
func (p *jsonParser) number() (string, error) {
	start := p.pos
	digits := func() bool {
		from := p.pos
		for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
			p.pos++
		}
		return p.pos > from
	}
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if !digits() {
		return "", p.fail("want a digit")
	}
	if p.peek() == '.' {
		p.pos++
		if !digits() {
			return "", p.fail("want a digit after the point")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !digits() {
			return "", p.fail("want a digit in the exponent")
		}
	}
	return p.s[start:p.pos], nil
}

// str parses a string by RFC 8259 §7.
func (p *jsonParser) str() (string, error) {
	p.pos++
	start := p.pos
	for p.pos < len(p.s) && p.s[p.pos] != '"' && p.s[p.pos] != '\\' && p.s[p.pos] >= ' ' {
		p.pos++
	}
	if p.peek() == '"' {
		p.pos++
		return p.s[start : p.pos-1], nil
	}
	b := []byte(p.s[start:p.pos])
	for p.pos < len(p.s) {
		switch c := p.s[p.pos]; {
		case c == '"':
			p.pos++
			return string(b), nil
		case c < ' ':
			return "", p.fail("control character in a string")
		case c != '\\':
			b = append(b, c)
			p.pos++
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
		}
	}
	return "", p.fail("string without an end")
}

// escapes maps the letter after a backslash to its character.
var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *jsonParser) escape() (rune, error) {
	p.pos++
	c := p.peek()
	if r, ok := escapes[c]; ok {
		p.pos++
		return r, nil
	}
	if c != 'u' {
		return 0, p.fail("unknown escape in a string")
	}
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !strings.HasPrefix(p.s[p.pos:], `\u`) {
		return 0, p.fail("half a surrogate pair")
	}
	p.pos++
	low, err := p.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, p.fail("half a surrogate pair")
	}
	return r, nil
}

// hex4 reads "uXXXX".
func (p *jsonParser) hex4() (rune, error) {
	if p.pos+5 > len(p.s) {
		return 0, p.fail("escape without an end")
	}
	var r rune
	for _, c := range []byte(p.s[p.pos+1 : p.pos+5]) {
		d, ok := unhex(c)
		if !ok {
			return 0, p.fail("want four hexadecimal digits")
		}
		r = r<<4 | rune(d)
	}
	if r == 0 {
		return 0, p.fail("zero byte in a string")
	}
	p.pos += 5
	return r, nil
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

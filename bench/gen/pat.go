package gen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Pat is a byte pattern that repeats over a buffer, possibly with the offset of
// the block in it.
type Pat struct {
	bytes   []byte
	offsets []int // where in bytes the eight bytes of a %o begin
}

// maxPat bounds a pattern, as it bounds fio's.
const maxPat = 512

// ParsePat reads fio's grammar for buffer_pattern and verify_pattern: any
// sequence of 0x… (bytes in the order written), a decimal number (its bytes,
// lowest first, as many as it needs; four for a negative one), "text", 'file'
// and %o (the block's offset, eight bytes, lowest first). readFile opens 'file';
// nil refuses it.
func ParsePat(s string, readFile func(name string) ([]byte, error)) (*Pat, error) {
	p := new(Pat)
	for len(s) > 0 {
		var part []byte
		var err error
		switch {
		case s[0] == '"' || s[0] == '\'':
			part, s, err = quoted(s, readFile)
		case strings.HasPrefix(s, "%o"):
			p.offsets = append(p.offsets, len(p.bytes))
			part, s = make([]byte, 8), s[2:]
		case strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X"):
			part, s, err = hexBytes(s)
		default:
			part, s, err = decimal(s)
		}
		if err != nil {
			return nil, err
		}
		p.bytes = append(p.bytes, part...)
		if len(p.bytes) > maxPat {
			return nil, fmt.Errorf("pattern is longer than %d bytes", maxPat)
		}
	}
	if len(p.bytes) == 0 {
		return nil, errors.New("empty pattern")
	}
	return p, nil
}

func quoted(s string, readFile func(string) ([]byte, error)) (part []byte, rest string, err error) {
	end := strings.IndexByte(s[1:], s[0])
	if end < 0 {
		return nil, "", fmt.Errorf("pattern: %s has no end", s)
	}
	text, rest := s[1:end+1], s[end+2:]
	if s[0] == '"' {
		return []byte(text), rest, nil
	}
	if readFile == nil {
		return nil, "", fmt.Errorf("pattern: reading file %q is not allowed", text)
	}
	part, err = readFile(text)
	if err != nil {
		return nil, "", fmt.Errorf("pattern: %w", err)
	}
	return part[:min(len(part), maxPat)], rest, nil
}

func hexBytes(s string) (part []byte, rest string, err error) {
	end := 2
	for end < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[end]) >= 0 {
		end++
	}
	digits := s[2:end]
	if digits == "" {
		return nil, "", fmt.Errorf("pattern: no digits in %q", s)
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	for i := 0; i < len(digits); i += 2 {
		b, err := strconv.ParseUint(digits[i:i+2], 16, 8)
		if err != nil {
			return nil, "", fmt.Errorf("pattern: %w", err)
		}
		part = append(part, byte(b))
	}
	return part, s[end:], nil
}

func decimal(s string) (part []byte, rest string, err error) {
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && s[end] == '-') {
		end++
	}
	v, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil || v < -1<<31 || v > 1<<32-1 {
		return nil, "", fmt.Errorf("pattern: %q is no number of 32 bits", s)
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(v))
	n := 4
	for v >= 0 && n > 1 && b[n-1] == 0 {
		n--
	}
	return b[:n], s[end:], nil
}

// HasOffset says whether the content depends on the block's offset.
func (p *Pat) HasOffset() bool { return len(p.offsets) > 0 }

// Fill repeats the pattern over buf, the block at off.
func (p *Pat) Fill(buf []byte, off int64) {
	n := copy(buf, p.bytes)
	for _, at := range p.offsets {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(off))
		if at < n {
			copy(buf[at:n], b[:])
		}
	}
	for n < len(buf) { // doubling keeps the phase: n is a multiple of the length
		n += copy(buf[n:], buf[:n])
	}
}

// Mismatch is the first byte of buf, the block at off, that is not the
// pattern's, or -1.
func (p *Pat) Mismatch(buf []byte, off int64) int {
	var one [maxPat]byte
	want := one[:len(p.bytes)]
	p.Fill(want, off)
	for at := 0; at < len(buf); at += len(want) {
		part := buf[at:min(at+len(want), len(buf))]
		if string(part) == string(want[:len(part)]) {
			continue
		}
		for i := range part {
			if part[i] != want[i] {
				return at + i
			}
		}
	}
	return -1
}

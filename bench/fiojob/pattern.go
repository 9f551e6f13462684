package fiojob

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxPattern bounds a pattern, as in fio; a file in one is read no further.
const maxPattern = 512

// offsetLen is the room a %o takes: the offset, 64 bits in host order.
const offsetLen = 8

// Pattern is bytes that fill a buffer, over and over. At each position in
// Offsets the eight bytes are the offset of the block in its file.
type Pattern struct {
	Bytes   []byte
	Offsets []int
}

// IsZero reports whether no pattern was given.
func (p Pattern) IsZero() bool { return len(p.Bytes) == 0 }

// parsePattern reads parts that follow one another without a separator:
// 0x and hexadecimal digits (bytes in the order written), a decimal number
// (its bytes from the lowest, as many as it needs), "text", 'file', and %o
// where offsets are allowed. readFile may be nil: then files are not.
func parsePattern(s string, offsets bool, readFile func(name string, limit int) ([]byte, error)) (Pattern, error) {
	var p Pattern
	if s == "" {
		return p, errors.New("the pattern is empty")
	}
	for s != "" {
		var part []byte
		var err error
		switch {
		case s[0] == '"':
			part, s, err = quoted(s, '"')
		case s[0] == '\'':
			var name []byte
			if name, s, err = quoted(s, '\''); err == nil {
				part, err = patternFile(string(name), maxPattern-len(p.Bytes), readFile)
			}
		case s[0] == '%':
			if !offsets {
				return p, errors.New("%o is for verify_pattern")
			}
			if !strings.HasPrefix(s, "%o") {
				return p, fmt.Errorf("unknown format %.2q: there is %%o", s)
			}
			p.Offsets = append(p.Offsets, len(p.Bytes))
			part, s = make([]byte, offsetLen), s[2:]
		case hasHexPrefix(s):
			part, s, err = hexPart(s)
		default:
			part, s, err = decimalPart(s)
		}
		if err != nil {
			return p, err
		}
		if len(part) == 0 {
			return p, errors.New("a part of the pattern is empty")
		}
		if p.Bytes = append(p.Bytes, part...); len(p.Bytes) > maxPattern {
			return p, fmt.Errorf("pattern longer than %d bytes", maxPattern)
		}
	}
	return p, nil
}

func quoted(s string, quote byte) (in []byte, rest string, err error) {
	end := strings.IndexByte(s[1:], quote)
	if end < 0 {
		return nil, "", fmt.Errorf("a closing %c is missing", quote)
	}
	return []byte(s[1 : 1+end]), s[end+2:], nil
}

func patternFile(name string, limit int, readFile func(string, int) ([]byte, error)) ([]byte, error) {
	if readFile == nil {
		return nil, errors.New("files are not read here")
	}
	return readFile(name, limit)
}

func hasHexPrefix(s string) bool {
	return len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && isHex(s[2])
}

// hexPart reads 0x and pairs of digits. Of an odd number the first stands
// alone. A digit 0 before another x belongs to the next part: 0xff0x14.
func hexPart(s string) (part []byte, rest string, err error) {
	end := 2
	for end < len(s) && isHex(s[end]) {
		end++
	}
	if end < len(s) && s[end]|0x20 == 'x' && s[end-1] == '0' {
		end--
	}
	digits, rest := s[2:end], s[end:]
	if len(digits)%2 != 0 {
		digits = "0" + digits
	}
	for i := 0; i < len(digits); i += 2 {
		b, err := strconv.ParseUint(digits[i:i+2], 16, 8)
		if err != nil {
			return nil, "", fmt.Errorf("%q is not hexadecimal", digits[i:i+2])
		}
		part = append(part, byte(b))
	}
	return part, rest, nil
}

func decimalPart(s string) (part []byte, rest string, err error) {
	end := 0
	if s[0] == '-' || s[0] == '+' {
		end++
	}
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	if end < len(s) && s[end]|0x20 == 'x' && end > 0 && s[end-1] == '0' {
		end-- // the 0 of a following 0x
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
		return nil, "", fmt.Errorf("%q: not a pattern; text goes in double quotes, large numbers are hexadecimal", s)
	}
	if n == 0 {
		return []byte{0}, s[end:], nil
	}
	for u := uint32(n); u != 0; u >>= 8 {
		part = append(part, byte(u))
	}
	return part, s[end:], nil
}

func setVerifyPattern(d *draft, v value) error {
	p, err := parsePattern(v.raw, true, d.res.readSmall)
	d.Verify.Pattern = p
	return err
}

func setBufferPattern(d *draft, v value) error {
	p, err := parsePattern(v.raw, false, d.res.readSmall)
	d.Buffer.Pattern = p
	return err
}

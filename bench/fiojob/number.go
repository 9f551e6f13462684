package fiojob

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// unit says what a number without a suffix counts.
type unit uint8

const (
	unitBytes unit = iota
	unitMicros
	unitMillis
	unitSeconds
)

var unitDurations = [...]time.Duration{unitMicros: time.Microsecond, unitMillis: time.Millisecond, unitSeconds: time.Second}

var (
	errEmpty    = errors.New("a number is missing")
	errTooLarge = errors.New("too large")
)

// sizePowers are the prefixes of sizes; the exponent is of 1024 or 1000.
const sizePowers = "kmgtp"

// splitNumber cuts s after its number: a sign, decimal digits or 0x and
// hexadecimal ones, or an expression in parentheses.
func splitNumber(s string) (num, suffix string) {
	i := 0
	if strings.HasPrefix(s, "(") {
		return cutParens(s)
	}
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	if rest := s[i:]; len(rest) > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X') {
		i += 2
		for i < len(s) && isHex(s[i]) {
			i++
		}
		return s[:i], s[i:]
	}
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// cutParens cuts s, which starts with '(', after the parenthesis that closes it.
func cutParens(s string) (in, rest string) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:]
			}
		}
	}
	return s, ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// number reads the number part of a value.
func number(s string, u unit, kbBase int) (int64, error) {
	if s == "" {
		return 0, errEmpty
	}
	if s[0] == '(' {
		return evalExpr(s, u, kbBase)
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), base(s), 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, errTooLarge
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

// base is 0, so that strconv reads the 0x, or 10, so that 010 is ten.
func base(s string) int {
	if strings.ContainsAny(s, "xX") {
		return 0
	}
	return 10
}

// parseSize reads a number of bytes, or of anything else that takes the same
// suffixes.
func parseSize(s string, kbBase int) (int64, error) {
	num, suffix := splitNumber(s)
	n, err := number(num, unitBytes, kbBase)
	if err != nil {
		return 0, err
	}
	if suffix == "" {
		return n, nil
	}
	if strings.ContainsAny(num, "xX") {
		return 0, fmt.Errorf("suffix %q after a hexadecimal number", suffix)
	}
	mult, err := sizeMultiplier(suffix, kbBase)
	if err != nil {
		return 0, err
	}
	return mul(n, mult)
}

// sizeMultiplier reads a size suffix. With kb_base=1024, k, kb and ki are 1024
// and only kib is 1000; with 1000, k and kb are 1000 and kib is 1024. fio's
// manual would have ki be like kib, fio takes it for k; so does this.
func sizeMultiplier(suffix string, kbBase int) (int64, error) {
	low := strings.ToLower(suffix)
	if low == "b" {
		return 1, nil
	}
	power := strings.IndexByte(sizePowers, low[0])
	if power < 0 || len(low) > 3 {
		return 0, unknownSuffix(suffix)
	}
	base := kbBase
	switch low[1:] {
	case "", "b", "i":
	case "ib":
		base = 1024 + 1000 - kbBase
	default:
		return 0, unknownSuffix(suffix)
	}
	mult := int64(1)
	for range power + 1 {
		mult *= int64(base)
	}
	return mult, nil
}

func unknownSuffix(suffix string) error {
	if suffix[0] == '.' {
		return errors.New("fractions are not allowed: use a smaller unit")
	}
	return fmt.Errorf("unknown suffix %q", suffix)
}

func mul(a, b int64) (int64, error) {
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(absInt(a), absInt(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, errTooLarge
	}
	if neg {
		return -int64(lo), nil
	}
	return int64(lo), nil
}

func absInt(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// parseAmount reads bytes, N% or Nz.
func parseAmount(s string, kbBase int) (Amount, error) {
	num, suffix := splitNumber(s)
	switch suffix {
	case "%":
		n, err := number(num, unitBytes, kbBase)
		if err != nil {
			return Amount{}, err
		}
		if n < 0 || n > 100 {
			return Amount{}, fmt.Errorf("%d%% is not between 0%% and 100%%", n)
		}
		return Amount{Percent: int(n)}, nil
	case "z":
		n, err := number(num, unitBytes, kbBase)
		if err != nil {
			return Amount{}, err
		}
		if n < 0 || n > math.MaxUint32 {
			return Amount{}, fmt.Errorf("%d is no number of zones", n)
		}
		return Amount{Zones: int(n)}, nil
	}
	n, err := parseSize(s, kbBase)
	if err != nil {
		return Amount{}, err
	}
	if n < 0 {
		return Amount{}, errors.New("negative")
	}
	return Amount{Bytes: n}, nil
}

// timeUnits are the suffixes of durations, in lower case.
var timeUnits = map[string]time.Duration{
	"us": time.Microsecond, "usec": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second,
	"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// parseTime reads a duration; u is the unit of a bare number.
func parseTime(s string, u unit) (time.Duration, error) {
	num, suffix := splitNumber(s)
	isExpr := strings.HasPrefix(num, "(")
	n, err := number(num, u, 1024)
	if err != nil {
		return 0, err
	}
	scale := unitDurations[u]
	switch {
	case isExpr && suffix != "":
		return 0, fmt.Errorf("suffix %q after an expression: put it inside", suffix)
	case isExpr:
		scale = time.Microsecond // what expressions of time are in
	case suffix != "":
		var ok bool
		if scale, ok = timeUnits[strings.ToLower(suffix)]; !ok {
			if suffix[0] == '.' {
				return 0, unknownSuffix(suffix)
			}
			return 0, fmt.Errorf("unknown unit of time %q: us, ms, s, m, h and d are known", suffix)
		}
	}
	if n < 0 {
		return 0, errors.New("negative")
	}
	d, err := mul(n, int64(scale))
	return time.Duration(d), err
}

// parseFloat reads a number with a fraction.
func parseFloat(s string) (float64, error) {
	if strings.HasPrefix(s, "(") {
		v, err := evalFloat(s)
		return v, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return f, nil
}

package imgcmd

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Errors of sizes; messages depend on which it is.
var (
	errSizeSyntax = errors.New("not a size")
	errSizeRange  = errors.New("size out of range")
)

// parseSize reads a size as QEMU does: decimal with an optional fraction and a suffix b, k, M, G, T, P or E, or hexadecimal. hexSuffix says
// that a hexadecimal number has a suffix, which QEMU warns of. The error is errSizeSyntax or errSizeRange.
func parseSize(text string) (n uint64, hexSuffix bool, err error) {
	s := strings.TrimLeft(text, " \t\n\v\f\r")
	s = strings.TrimPrefix(s, "+")
	hex := len(s) > 2 && (strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X"))
	base, digits := 10, "0123456789"
	if hex {
		base, digits, s = 16, "0123456789abcdefABCDEF", s[2:]
	}
	whole := s[:len(s)-len(strings.TrimLeft(s, digits))]
	s = s[len(whole):]
	if whole == "" {
		return 0, false, errSizeSyntax
	}
	frac := ""
	if strings.HasPrefix(s, ".") {
		if hex {
			return 0, false, errSizeSyntax
		}
		s = s[1:]
		frac = s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
		s = s[len(frac):]
	}
	// A suffix scales; an e that digits follow is an exponent, which is none.
	shift := 0
	if s != "" {
		if shift = strings.IndexByte("bkmgtpe", s[0]|0x20); shift < 0 || s[0] < 'A' {
			return 0, false, errSizeSyntax
		}
		hexSuffix = hex
		s = s[1:]
	}
	if s != "" {
		return 0, false, errSizeSyntax
	}
	frac = strings.TrimRight(frac, "0")
	if frac != "" && shift == 0 {
		return 0, false, errSizeSyntax
	}
	if _, err := strconv.ParseUint(whole, base, 64); err != nil {
		return 0, hexSuffix, errSizeRange
	}
	v, _ := new(big.Int).SetString(whole+frac, base)
	v.Lsh(v, uint(10*shift))
	if frac != "" {
		// Half and more rounds up.
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(frac))), nil)
		v.Add(v.Lsh(v, 1), unit)
		v.Quo(v, unit.Lsh(unit, 1))
	}
	if !v.IsUint64() {
		return 0, hexSuffix, errSizeRange
	}
	return v.Uint64(), hexSuffix, nil
}

// number reads a size of the command line; what is its name in messages. It prints what is wrong.
func (c *call) number(what, text string) (int64, bool) {
	return c.numberIn(what, text, 0, math.MaxInt64)
}

func (c *call) numberIn(what, text string, low, high int64) (int64, bool) {
	n, hexSuffix, err := parseSize(text)
	if hexSuffix {
		c.warnf("Using a multiplier suffix on hex numbers is deprecated: %s", text)
	}
	switch {
	case errors.Is(err, errSizeSyntax):
		c.errorf("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what)
		c.errorf("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.")
		return 0, false
	case err != nil, n > uint64(high), int64(n) < low:
		c.errorf("Invalid %s specified. Must be between %d and %d.", what, low, high)
		return 0, false
	}
	return int64(n), true
}

// humanSize prints a size as `info` does: three digits and a binary unit, the next one from 1000 on.
func humanSize(n int64) string {
	units := [...]string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
	_, exp := math.Frexp(float64(n) * 1024 / 1000)
	i := max(0, (exp-1)/10)
	return strconv.FormatFloat(math.Ldexp(float64(n), -10*i), 'g', 3, 64) + " " + units[i] + "B"
}

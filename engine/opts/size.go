package opts

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

const (
	sizeSuffixes = "bkmgtpe" // each 1024 times the one before
	sizeExamples = " such as 512, 64k, 1.5G or 1T"
	sizeWant     = "a size" + sizeExamples
	maxNumber    = 80 // bytes of a number's text
)

// ParseSize parses a number of bytes by QEMU's rules: decimal with an optional
// fraction and one binary suffix b, k, M, G, T, P or E of either case, or
// hexadecimal without a suffix. A fraction is exact and rounds down; a byte has
// none. Negative sizes and those from 8E on are refused.
func ParseSize(s string) (int64, error) {
	bad := func(msg, want string) (int64, error) {
		return 0, &Error{Value: s, Pos: -1, Msg: msg, Want: want, Kind: ErrValue}
	}
	// Leading spaces and a plus are what strtoull takes.
	num := strings.TrimPrefix(strings.TrimLeft(s, " \t\n"), "+")
	switch {
	case s == "":
		return bad(emptyValue(s), sizeWant)
	case len(num) > maxNumber:
		return bad("", sizeWant)
	case strings.HasPrefix(num, "-"):
		return bad("negative", sizeWant)
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(num), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 64)
		switch {
		case errors.Is(err, strconv.ErrRange) || (err == nil && n > math.MaxInt64):
			return bad("too large", "a size below 8E")
		case err != nil:
			return bad("", "a hexadecimal size without a suffix")
		}
		return int64(n), nil
	}
	shift := uint(0)
	if n := len(num); n > 0 {
		if i := strings.IndexByte(sizeSuffixes, num[n-1]|0x20); i >= 0 && num[n-1] >= 'A' {
			shift = uint(10 * i)
			num = num[:n-1]
		}
	}
	whole, frac, _ := strings.Cut(num, ".")
	if !isIndex(whole) || (frac != "" && !isIndex(frac)) {
		return bad("", sizeWant)
	}
	frac = strings.TrimRight(frac, "0")
	if shift == 0 && frac != "" {
		return bad("fraction of a byte", sizeWant)
	}
	n, _ := new(big.Int).SetString(whole+frac, 10)
	n.Lsh(n, shift)
	n.Quo(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(frac))), nil))
	if !n.IsInt64() {
		return bad("too large", "a size below 8E")
	}
	return n.Int64(), nil
}

// FormatSize spells n so that [ParseSize] reads exactly n back: in the largest
// unit of which it is a whole number of quarters, else in bytes.
func FormatSize(n int64) string {
	const letters = "kMGTPE"
	quarters := [...]string{"", ".25", ".5", ".75"}
	for i := len(letters) - 1; i >= 0; i-- {
		unit := int64(1) << (10 * (i + 1))
		if n >= unit && n%(unit/4) == 0 {
			return strconv.FormatInt(n/unit, 10) + quarters[n%unit/(unit/4)] + letters[i:i+1]
		}
	}
	return strconv.FormatInt(n, 10)
}

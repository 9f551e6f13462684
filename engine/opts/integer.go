package opts

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// plainNumber reports whether s is spelled without the extras of Go's syntax:
// no hexadecimal floats, no underscores, no words.
func plainNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.eE+-") == ""
}

// parseInt parses a decimal number, in which leading zeros mean nothing, or a
// hexadecimal one after 0x.
func parseInt(s string) (int64, error) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok && isHex(hex) {
		return strconv.ParseInt(hex, 16, 64)
	}
	return strconv.ParseInt(s, 10, 64)
}

func parseUint(s string) (uint64, error) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok && isHex(hex) {
		return strconv.ParseUint(hex, 16, 64)
	}
	return strconv.ParseUint(s, 10, 64)
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// setInteger sets sizes, integers and durations.
func (f *field) setInteger(dst reflect.Value, kind Kind, text string) error {
	if kind == KindBool {
		return errRefused
	}
	if f.class == classUint {
		n, err := parseUint(text)
		if err != nil || dst.OverflowUint(n) || (f.pow2 && (n == 0 || n&(n-1) != 0)) {
			return errRefused
		}
		dst.SetUint(n)
		return f.inBounds(float64(n))
	}
	var n int64
	var err error
	switch f.class {
	case classSize:
		n, err = ParseSize(text)
	case classDuration:
		var d time.Duration
		d, err = ParseDuration(text, f.unit)
		n = int64(d)
	default:
		if n, err = parseInt(text); err != nil {
			return errRefused
		}
	}
	switch unsigned := dst.CanUint(); {
	case err != nil:
		return err
	case f.pow2 && (n <= 0 || n&(n-1) != 0):
		return errRefused
	case unsigned && dst.OverflowUint(uint64(n)), !unsigned && dst.OverflowInt(n):
		return errRefused
	case unsigned:
		dst.SetUint(uint64(n))
	default:
		dst.SetInt(n)
	}
	return f.inBounds(float64(n))
}

// inBounds compares with min and max, which [planOf] has parsed once.
func (f *field) inBounds(x float64) error {
	if f.minText != "" {
		if low, err := f.order(f.minText); err != nil || x < low {
			return errRefused
		}
	}
	if f.maxText != "" {
		if high, err := f.order(f.maxText); err != nil || x > high {
			return errRefused
		}
	}
	return nil
}

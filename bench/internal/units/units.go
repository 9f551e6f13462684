// Package units writes figures for people and in fio's way, into buffers that the caller owns: the live display must not allocate.
package units

import (
	"math"
	"strconv"
)

var (
	si  = [...]string{"", "k", "M", "G", "T", "P", "E"}
	iec = [...]string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
)

// Finite replaces what is no number by 0.
func Finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// AppendThree appends f with three significant digits, without zeroes at the end of a fraction.
func AppendThree(b []byte, f float64) []byte {
	f = Finite(f)
	prec := 0
	switch a := math.Abs(f); {
	case a < 0.005:
		return append(b, '0')
	case a < 9.995:
		prec = 2
	case a < 99.95:
		prec = 1
	}
	b = strconv.AppendFloat(b, f, 'f', prec, 64)
	if prec > 0 {
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
		if b[len(b)-1] == '.' {
			b = b[:len(b)-1]
		}
	}
	return b
}

// AppendCount appends a number in powers of 1000: 155 k.
func AppendCount(b []byte, f float64) []byte { return appendPrefixed(b, f, 1000, si[:], "") }

// AppendBytes appends a number of bytes in powers of 1024: 608 MiB.
func AppendBytes(b []byte, f float64) []byte { return appendPrefixed(b, f, 1024, iec[:], "B") }

// AppendRate appends bytes a second.
func AppendRate(b []byte, f float64) []byte { return append(AppendBytes(b, f), "/s"...) }

func appendPrefixed(b []byte, f, base float64, prefix []string, unit string) []byte {
	f = Finite(f)
	i := 0
	for ; math.Abs(f) >= 999.5 && i < len(prefix)-1; i++ {
		f /= base
	}
	b = AppendThree(b, f)
	if prefix[i] == "" && unit == "" {
		return b
	}
	return append(append(append(b, ' '), prefix[i]...), unit...)
}

// AppendNs appends a time given in nanoseconds: 850 ns, 12.5 µs, 3 ms, 1.2 s.
func AppendNs(b []byte, ns float64) []byte {
	ns = Finite(ns)
	switch {
	case ns < 999.5:
		return append(AppendThree(b, ns), " ns"...)
	case ns < 999.5e3:
		return append(AppendThree(b, ns/1e3), " µs"...)
	case ns < 999.5e6:
		return append(AppendThree(b, ns/1e6), " ms"...)
	}
	return append(AppendThree(b, ns/1e9), " s"...)
}

// Strings of the same, for who may allocate.

// Three is AppendThree.
func Three(f float64) string { return string(AppendThree(nil, f)) }

// Count is AppendCount.
func Count(f float64) string { return string(AppendCount(nil, f)) }

// Bytes is AppendBytes.
func Bytes(f float64) string { return string(AppendBytes(nil, f)) }

// Rate is AppendRate.
func Rate(f float64) string { return string(AppendRate(nil, f)) }

// Ns is AppendNs.
func Ns(ns float64) string { return string(AppendNs(nil, ns)) }

// FioDigits is fio's default of significant_figures.
const FioDigits = 4

// AppendFio appends n as fio does: at most digits digits, divided by 1000 or 1024 until it fits, with the rest as a fraction where
// there is room for a point and at least one digit. The fraction is that of the last division only.
func AppendFio(b []byte, n uint64, digits int, binary bool, unit string) []byte {
	k, prefix := uint64(1000), si[:]
	if binary {
		k, prefix = 1024, iec[:]
	}
	rest, exp := uint64(0), 0
	for Decimals(n) > digits && exp < len(prefix)-1 {
		n, rest, exp = n/k, n%k, exp+1
	}
	room := digits - Decimals(n) - 1
	switch {
	case exp == 0:
		b = strconv.AppendUint(b, n, 10)
	case room <= 0:
		if rest >= k/2 {
			n++
		}
		b = strconv.AppendUint(b, n, 10)
	default:
		frac := float64(rest) / float64(k)
		if frac+0.5*math.Pow10(-room) >= 1 {
			n, frac = n+1, 0
		}
		b = strconv.AppendUint(b, n, 10)
		at := len(b)
		b = strconv.AppendFloat(b, frac, 'f', room, 64)
		b = append(b[:at], b[at+1:]...) // without the zero before the point
	}
	return append(append(b, prefix[exp]...), unit...)
}

// Fio is AppendFio.
func Fio(n uint64, digits int, binary bool, unit string) string {
	return string(AppendFio(nil, n, digits, binary, unit))
}

// Decimals is how many digits n has.
func Decimals(n uint64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

var sparks = [...]string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// AppendSpark appends a bar of the height f/top, in eighths of a line; what is not zero shows at least the lowest.
func AppendSpark(b []byte, f, top float64) []byte {
	f, top = Finite(f), Finite(top)
	level := 0
	if top > 0 && f > 0 {
		level = 1 + int(f/top*float64(len(sparks)-2)+0.5)
	}
	return append(b, sparks[min(level, len(sparks)-1)]...)
}

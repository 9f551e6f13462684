package iocmd

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

var sizeUnits = []struct {
	shift  uint
	suffix string
}{{60, " EiB"}, {50, " PiB"}, {40, " TiB"}, {30, " GiB"}, {20, " MiB"}, {10, " KiB"}}

// sizeText prints a number of bytes in the largest binary unit, with decimals only where the first three are not all zero.
func sizeText(v float64) string {
	number, suffix := fmt.Sprintf("%f", v), " bytes"
	for _, u := range sizeUnits {
		if unit := float64(uint64(1) << u.shift); v >= unit {
			number, suffix = fmt.Sprintf("%.3f", v/unit), u.suffix
			break
		}
	}
	if whole, _, zero := strings.Cut(number, ".000"); zero {
		number = whole
	}
	return number + suffix
}

// timeText prints a duration: hours and minutes only where there are whole seconds, or where they are asked for.
func timeText(d time.Duration, long bool) string {
	seconds := d.Seconds()
	if !long && d < time.Second {
		return fmt.Sprintf("%05.2f sec", seconds)
	}
	whole := int64(d / time.Second)
	rest := seconds - float64(whole-whole%60)
	return fmt.Sprintf("%d:%02d:%05.2f", whole/3600, whole/60%60, rest)
}

// report is what a request prints when it is done.
type report struct {
	op     string
	took   time.Duration
	off    int64
	count  int64 // bytes asked for
	total  int64 // bytes done
	terse  bool  // -C: one line of numbers
	dump   []byte
	dumpAt int64
}

func (r *report) String() string {
	seconds := r.took.Seconds()
	if r.terse {
		return fmt.Sprintf("%s%d,1,%s,%.3f,%.3f\n", r.hex(), r.total, timeText(r.took, true), float64(r.total)/seconds, 1/seconds)
	}
	return fmt.Sprintf("%s%s %d/%d bytes at offset %d\n%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n",
		r.hex(), r.op, r.total, r.count, r.off, sizeText(float64(r.total)), timeText(r.took, false), sizeText(float64(r.total)/seconds), 1/seconds)
}

// hex prints the buffer of -v: 16 bytes a line, in hexadecimal and as letters and digits.
func (r *report) hex() string {
	const columns = 16
	var b strings.Builder
	for at := 0; at < len(r.dump); at += columns {
		line := r.dump[at:min(at+columns, len(r.dump))]
		fmt.Fprintf(&b, "%08x:  ", r.dumpAt+int64(at))
		for _, c := range line {
			fmt.Fprintf(&b, "%02x ", c)
		}
		b.WriteByte(' ')
		for _, c := range line {
			if !unicode.IsLetter(rune(c)) && !unicode.IsDigit(rune(c)) || c > unicode.MaxASCII {
				c = '.'
			}
			b.WriteByte(c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// reason is the C library's text for what went wrong.
func reason(err error) string {
	text := engine.Errno(err).Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// errOutside is what QEMU answers for a range outside the image.
var errOutside error = unix.EIO

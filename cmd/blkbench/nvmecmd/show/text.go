package show

import (
	"bytes"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/blkbench/blkbench/nvme"
)

// big128 is a 128-bit counter in decimal.
func big128(u nvme.Uint128) string {
	v := new(big.Int).SetUint64(u.Hi)
	v.Lsh(v, 64)
	return v.Or(v, new(big.Int).SetUint64(u.Lo)).String()
}

// hex is printf's %#x: 0 has no prefix.
func hex(v uint64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}

// hex32 is printf's %#010x: 0 has no prefix.
func hex32(v uint32) string {
	if v == 0 {
		return "00000000"
	}
	return fmt.Sprintf("0x%08x", v)
}

// hex8 is printf's %#04x.
func hex8(v uint8) string {
	if v == 0 {
		return "0000"[:2]
	}
	return fmt.Sprintf("0x%02x", v)
}

// celsius is a temperature in kelvin as nvme-cli prints it.
func celsius(kelvin uint16) string { return fmt.Sprintf("%d°C (%d Kelvin)", int(kelvin)-273, kelvin) }

// cstring is a fixed text field: everything up to a NUL, padding included.
func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// uuid is 16 bytes with hyphens.
func uuid(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// Hex dumps b, 16 bytes a line, with the printable characters behind.
func Hex(w io.Writer, b []byte) {
	fmt.Fprint(w, "       0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f")
	for off := 0; off < len(b); off += 16 {
		line := b[off:min(off+16, len(b))]
		fmt.Fprintf(w, "\n%04x:", off)
		for _, c := range line {
			fmt.Fprintf(w, " %02x", c)
		}
		fmt.Fprintf(w, "%s \"%s\"", strings.Repeat(" ", (16*3+1-3*len(line))*min(1, 16-len(line))), printable(line))
	}
	fmt.Fprintln(w)
}

// printable replaces what has no glyph by a dot, a blank as well.
func printable(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if c < '!' || c > '~' {
			c = '.'
		}
		out[i] = c
	}
	return string(out)
}

// siSize is bytes with two decimals and a decimal prefix: "67.11 MB", the number and its unit.
func siSize(v float64) (number, unit string) {
	units := []string{"", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"}
	i := 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1000
	}
	return fmt.Sprintf("%.2f", v), units[i] + "B"
}

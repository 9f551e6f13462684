package nvme

import (
	"encoding/binary"
	"strings"
)

// le is the byte order of everything in NVMe.
var le = binary.LittleEndian

// Uint128 is a 16-byte little-endian counter, as SMART has them.
type Uint128 struct{ Lo, Hi uint64 }

func uint128(b []byte) Uint128 { return Uint128{le.Uint64(b), le.Uint64(b[8:])} }

// Float64 is the value with a double's precision, which is how nvme-cli prints it in JSON.
func (u Uint128) Float64() float64 { return float64(u.Hi)*(1<<64) + float64(u.Lo) }

// ascii is a space-padded text field as text.
func ascii(b []byte) string { return strings.TrimRight(string(b), " \x00") }

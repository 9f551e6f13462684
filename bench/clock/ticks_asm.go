//go:build amd64 || arm64

package clock

// ticks reads the cycle counter. It is not ordered against earlier or later
// instructions.
//
//go:noescape
func ticks() uint64

// Package raw is the format without metadata: guest byte n is byte n of the child, plus a fixed shift.
//
// It is a pure shift, so that a Path walks through it to the leaf. An image whose format was found by probing is different: a guest that
// writes another format's header into its first sector would be opened as that format the next time. Such an image refuses those writes,
// as QEMU does; for that it is a mapper that hands writes of the first sector to the slow lane.
package raw

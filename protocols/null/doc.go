// Package null is a target that is not there: it takes every request and completes it, at once or after a latency. It measures whatever
// is above it. Names and options are QEMU's null-co and null-aio, which mean the same here; latency-jitter-ns and its kin are ours.
//
// With read-zeroes=on (the default; QEMU's is off) reads give zeroes. Off, a read leaves the buffer as it is, which is what a
// measurement wants.
package null

// Package mem is a target in memory: real data, no storage. Memory is taken in chunks as they are written, so that a large size costs
// nothing; discarding gives chunks back. Nothing survives the close.
package mem

// Package verify writes blocks that tell what they are, and finds out what is
// wrong with those that come back.
//
// # Layout
//
// The layout is our own, not fio's; fio can not check our blocks, nor we fio's.
// A request is cut into blocks of Config.Interval bytes (its whole length by
// default). Each has a header, at Config.HeaderOffset, all numbers little-endian:
//
//	 0  8  magic "blkbVRF1"
//	 8  1  kind of checksum     9  1  its length
//	10  2  length of the header, checksum included
//	12  4  job
//	16  8  seed of the run
//	24  8  offset of the block in the target
//	32  4  length of the block  36  4  zero
//	40  8  sequence: which write of the job this is, from 1
//	48  8  time of the write, Unix nanoseconds
//	56  4  zero
//	60  4  crc32c of bytes 0 … 59
//	64  …  checksum over the rest of the block
//
// The rest of the block is, unless a pattern or the caller's own data is asked
// for, made sector by sector (512 bytes) from seed, sequence and offset. Each
// sector begins with its sequence, masked with its offset, so every sector of a
// block says which write it is from: a block put together from two writes can
// be told from one with a flipped bit. With a pattern or the caller's data only
// the checksum can tell, and some of what is torn is called corrupt.
//
// # Faults
//
//	never written     an acknowledged write left no trace: zeroes, or nothing of ours
//	stale             an intact older write
//	ahead             an intact newer write than expected
//	misplaced         an intact block that belongs to another offset
//	foreign           an intact block of another run (seed) or another job
//	torn              sectors of different writes, or zeroes, in one block
//	header destroyed  the header is not readable, the rest is ours
//	corrupt           bytes that no write explains
//	not zero          a trimmed block that had to read as zeroes
//
// # What has to be remembered
//
// To know a stale block one must know the last sequence of each block.
//
// Nothing need be remembered where the writes can be made again from their
// seed: a sequential workload, or a random one that covers each block once,
// with one block size, at most one pass between a write and its check, and no
// trims. The i-th write has sequence i; the same generator, reset, tells offset
// and sequence of each ([NeedsLedger]).
//
// Otherwise a [Ledger] keeps eight bytes per block of Interval bytes, bounded
// by a limit that the caller gives; memory for parts of the range that are
// never written is never touched. A [Backlog] keeps what was written recently
// for verify_backlog. A [State] is what a later run needs, as a file.
package verify

// Package qcow2 reads and writes QEMU's image format, versions 2 and 3, after docs/interop/qcow2.txt of QEMU 9.
//
// The model in five nouns:
//
//   - A header names two roots: the L1 table (guest cluster → host cluster, by way of L2 tables) and the refcount table (host cluster →
//     how many references, by way of refcount blocks).
//   - A slice is the part of an L2 table that is read, cached and written at once: a whole table, or 64 KiB of a larger one. Slices hang
//     in a directory of atomic pointers, so that look-ups take no lock ([Image.Map]).
//   - A run is a stretch of guest bytes of one kind: unallocated, zero, normal, compressed.
//   - A pending free is a host range that nothing refers to any more in memory. It is reused when the disk says so too and a grace period
//     has passed.
//   - The gate keeps verbs that rebuild the mapping (snapshots, shrinking, amending) apart from writes.
//
// On-disk types (header.go, entry.go, refcount.go, snaptable.go, bitmapdir.go) are pure; each verb has a file.
//
// # Locks
//
// In this order: gate (shared by every write, exclusive for verbs), mu (metadata), the child's own. Data moves without mu. An allocating
// write marks its guest clusters in flight under mu, writes data and copy-on-write edges without it, and publishes under it; who wants
// the same clusters waits. Writes of allocated clusters that are referenced once go in place, from any thread; a verb that is about to
// make such clusters shared unpublishes them, and waits for the Paths with the gate held: a Path's thread never takes it.
//
// # Durability
//
// Metadata is written back at Flush, at Close, and when the cache is full of changes. Always in this order, with a flush of the file
// between the steps that are not empty:
//
//  1. refcount blocks that count new clusters, then refcount table entries that lead to new blocks
//  2. (data, and data file) then L2 tables
//  3. L1 entries
//  4. only then the refcounts of what was freed go down
//
// So a crash leaves clusters that are counted and not used: leaks, which check repairs. Snapshots, amending and lazy refcounts set the
// dirty bit first where the version has one.
//
// An entry shows to look-ups after the generation has moved that says "not durable" (Map's NeedFlush): a write with FUA never rests on a
// mapping that a crash would lose.
//
// # Differences from QEMU
//
//   - A cluster is reused after the change that freed it has reached the disk, not before.
//   - Unaligned parts of a discard are ignored, and whole clusters inside it are discarded.
//   - A compressed write over an allocated cluster replaces it; QEMU refuses.
//   - Enabled bitmaps are marked in use at the first write, not at open.
//   - A version 2 image without a backing file unmaps what is zeroed, as QEMU does; with one, zeroes are written.
//   - Holes are left inside new clusters at the end of the file, where QEMU provides the space.
//   - Amending and resizing wait for writes, not for Paths: no Path may be under way in what goes.
//   - Refcount blocks are placed in the range that they describe where that is possible.
package qcow2

// Package convert moves the content of images at the speed of the machine: copy, compare, and what rebase and commit need of both.
//
// The model in four nouns:
//
//   - A side is what is read: one node, or several put one behind the other.
//   - A planner walks the extents of the sides, ahead of everybody and in big steps, and makes chunks of what has to travel. Holes, zeroes
//     and unallocated ranges never do.
//   - A mover is one locked OS thread with a [engine.Path] of its own over each side and over the target. It keeps several chunks in flight:
//     read, judge (look for zeroes, compare), write. Nothing is shared between movers but the list of chunks.
//   - A packer is a goroutine that compresses chunks, one per core. Packers never wait for movers.
//
// Buffers are arena memory and bounded by Options.Memory, whatever the images' sizes.
//
// # Order
//
// Chunks are written as they come unless Options.InOrder asks for the order of the source: then there is one mover, and a chunk's write
// starts when the one before it has ended. Compression goes on on all cores either way; only the storing waits for its turn.
//
// # Errors
//
// The first error ends the run: no chunk is begun after it, what is in flight is awaited. It is an [Error], which says whether reading,
// writing or the look at the extents failed, and where.
package convert

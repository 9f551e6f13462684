// Package zstd compresses buffers of at most 64 KiB, the clusters of image formats, to Zstandard frames by RFC 8878.
//
// A buffer becomes one frame of a single segment with its content size, without a checksum and without a dictionary, and the frame has one
// block. That allows what a stream cannot: positions of 16 bits, tables that need no state from one buffer to the next, and an end to the
// work as soon as the result is known not to get shorter.
//
//   - match.go finds the sequences: literals and then a match. Two levels: [Default] looks for long and short matches side by side, as
//     the reference library's level 3 does; [Fast] looks at one candidate, and at fewer places the longer there was none.
//   - entropy.go guesses what literals cost, and so how long a match has to be: the reference library takes five bytes always.
//   - literals.go codes the literals by Huffman, huffman.go makes the code and its description.
//   - sequences.go codes the sequences by FSE, fse.go makes the tables.
//
// Frames are read by any decoder of the format; this package has none.
package zstd

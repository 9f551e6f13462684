// Package deflate compresses and decompresses whole buffers by the DEFLATE format of RFC 1951, without the zlib or gzip wrapper.
//
// Image formats compress clusters one by one: source and destination are in memory, and their sizes are known. That allows what a stream
// cannot: matches are copied inside the destination, the window is the buffer itself, and bounds are checked once for several symbols.
//
//   - [Inflate] fills a buffer of known size.
//   - [Deflater.Deflate] appends a stream whose matches reach back no further than a window that the reader can hold: QEMU's readers of
//     compressed qcow2 clusters have one of 4 KiB.
package deflate

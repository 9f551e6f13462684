// Package iocmd is the disk exerciser: the command language of qemu-io, as `blkbench io` and through a link named qemu-io.
//
// A command is a row of the table in table.go. run.go reads the command line and the loop of commands, image.go opens, closes and reopens,
// rw.go reads and writes in one piece, vec.go in several pieces and asynchronously, space.go is everything about sizes and allocation,
// break.go holds requests, process.go is the program itself.
//
// Words, output lines, short diagnostics and exit codes are those of qemu-io 7.2, since scripts match them; help texts are our own. What
// differs on purpose:
//
//   - Under our own name the prompt is shown only where a person types, no reference from inside an image is followed without
//     --references, and an image whose format was probed is opened for reading only. Through the link all three are as in QEMU.
//   - An asynchronous request reports when it is done, not at the next command that polls.
//   - A reopen that fails leaves the image open as it was, and nobody gets at the image in between: its locks are held all the while.
//   - write -c goes over what is allocated already; QEMU answers with an I/O error.
//   - The VM state (read -b, write -b) is not reached: the answer is "Operation not supported".
//   - -m (misaligned buffers) is taken and has no effect: the engine bounces what does not fit.
package iocmd

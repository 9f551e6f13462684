// Package imgcmd is the image tools: qemu-img's sub-commands, each a verb of blkbench, and all of them as qemu-img through a link of that
// name.
//
// A verb is a row of the table in table.go: its name, what help says, a struct whose tags are its options, and a function in the file of
// its name. Words, options, output, JSON, short diagnostics and exit codes are those of qemu-img 7.2, since scripts match them; help and
// longer text are our own. What differs on purpose:
//
//   - Under our own name no reference from inside an image is followed unless --references says so, and a format is probed only for
//     reading: what writes to an image wants -f. Through the link both are as in QEMU.
//   - --references is an option of every verb that opens images, through the link too. It is never abbreviated, nor does it make
//     abbreviations of other options ambiguous.
//   - --allow-destroy=DEVICE is wanted under our own name before a block device is written to; through the link naming it will do.
package imgcmd

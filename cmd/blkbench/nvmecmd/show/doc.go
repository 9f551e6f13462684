// Package show prints what an NVMe controller says of itself as nvme-cli 2.3 does: for people, with every bit explained
// (nvme-cli's -H), and as JSON with its keys. It takes the types of package nvme and does no I/O but to the Writer.
//
// Where nvme-cli prints a 32-bit field as a signed number, so does this package: scripts compare. Bits that are
// reserved are shown as they are; nvme-cli 2.3 masks a few of them wrongly. Status codes come with their names, not
// with a sentence.
package show

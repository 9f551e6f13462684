// Package inspectcmd is `blkbench inspect`: a verdict on an image that a stranger made, for scripts that decide whether it is used.
//
// It opens the named file and nothing else, for reading, without locks, and follows no reference. The format is found by signatures alone,
// never by the name. A qcow2 image is examined down to its L2 tables, by the on-disk types of formats/qcow2; of other formats the header
// says what they claim and what they refer to, as far as that takes no more than a header.
//
// # Verdict
//
//	safe        nothing was found that a reader could be hurt by
//	suspicious  something was: a reference to another file, metadata that contradicts itself or the file, a second format in the same bytes
//	unexamined  the format is known by its signature only, so that nothing can be promised
//
// The exit code is 0 for safe, 1 when the file could not be read, 2 for a wrong command line, 3 for every other verdict.
//
// # Bounds
//
// Holes are skipped, every metadata table is read once, and no table is read that overlaps another: what is read is at most what the file
// has in real blocks. Memory is a few words per metadata table. A sparse file may claim any size.
package inspectcmd

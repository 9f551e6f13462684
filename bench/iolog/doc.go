// Package iolog reads and writes traces in fio's text format, versions 2 and 3.
//
// The first line names the version. Each further line is one action on one file, in version 3 after its time in microseconds from the
// start of the run:
//
//	fio version 3 iolog
//	0 /dev/vda add
//	12 /dev/vda open
//	90 /dev/vda write 4096 8192
//	411 /dev/vda close
//
// add, open and close manage files. read, write, trim, sync and datasync have offset and length in bytes; syncs may leave them out. wait,
// of version 2 only, has microseconds in the place of the offset; less than 100 of them are no wait, as with fio.
//
// Two things are easier than with fio: I/O may come before its file was opened, and a file that was not added is an error that says so.
package iolog

// Package layout makes the files a job needs, and clears them away: what fio
// calls laying out. It works on paths with plain system calls, before the engine
// opens them and after it has closed them. Only regular files are touched;
// devices and the engine's own targets are somebody else's.
//
// The order of calls for each clone, one clone after another:
//
//	l, err := layout.New(job, seed)    // what there is, what is needed; stat only
//	err = l.Prepare(ctx, options)      // make, extend, fill, fsync
//	err = l.Ready(ctx)                 // write_hint; then pre_read or invalidate
//	... l.Files says where in each file the job's I/O goes ...
//	err = l.EndLoop(ctx, options)      // unlink_each_loop: after every loop but the last
//	err = l.Finish()                   // unlink
//
// A job that reads, or that writes with overwrite=1, finds its files whole: they
// are written with what the job's buffer keys say, random data by default. A job
// that only writes finds them empty, with the space that fallocate= reserves. A
// file that is there and large enough is used as it is.
//
// Differences from fio, by intent: a symbolic link to a file that is too short is
// truncated, not replaced by a file; a range of file sizes gives the same sizes
// for the same seed; what cannot be made is an error with the reason.
package layout

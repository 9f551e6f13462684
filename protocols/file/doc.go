// Package file is the protocol driver of files and block devices of the host: drivers file and
// host_device.
//
// The blocking plane is system calls (pread, pwritev2, fallocate, the block ioctls, lseek for holes). The
// polled plane has three engines: io_uring through the reactor of the poller, shared with every other leaf
// of that thread; a pool of threads with pread and pwrite; and psync, which does the I/O inside Submit.
// Where this process may not have io_uring, the threads take over and say so once.
//
// # Cache modes
//
// They are QEMU's: none and directsync open with O_DIRECT, writethrough and directsync make every write
// durable (RWF_DSYNC), unsafe ignores flushes. A flush is fdatasync. After a flush of cached data has failed
// every later one fails too: the kernel reports the loss once and forgets it.
//
// # Locks
//
// Two programs that would disturb each other are kept apart by QEMU's protocol: a byte per permission that is used, and one per permission
// that others may not use. locking=auto takes locks of the open file description, or none where the kernel or the file system has none;
// locking=on falls back to locks of the process, with a warning. share-rw=on shares a file that is used as it is; a format's metadata has
// one writer all the same. While a graph is closed and opened again its locks are held by engine.Exchange.
//
// # Block devices
//
// A writable open claims the device exclusively, for the whole process, and needs the user's consent by
// name; see consent.go. What is mounted, swap or below another device is refused whatever was named.
//
// # Differences from QEMU 7.2
//
//   - aio=native is served by io_uring; there is no Linux AIO here.
//   - driver=file takes block devices, and host_device takes files.
//   - preallocation=full writes zeroes.
//   - Where the kernel says what O_DIRECT needs (STATX_DIOALIGN), that is believed instead of tried out.
package file

package iocmd

// What help says of a command below its line.
const (
	readHelp = `
Reads a range and reports how long it took.

  -P BYTE  what the data has to consist of
  -s OFF   with -P: the first byte of the range that is compared
  -l LEN   with -P: how many bytes are compared
  -v       prints the data in hexadecimal
  -q       reports nothing
  -C       reports one line: bytes,requests,time,bytes per second,requests per second
  -b       reads the state of the machine instead of the disk (not here)
  -p       is ignored

Example: read -v 512 1k

`
	writeHelp = `
Writes a range and reports how long it took. The data is one byte, 0xcd where nothing else is said, over and over.

  -P BYTE  the byte
  -s FILE  the data is a file's content, over and over
  -z       writes zeroes without sending them
  -u       with -z: may deallocate
  -n       with -z: only where that is faster than writing them
  -c       writes compressed clusters
  -f       durable before it is reported
  -q       reports nothing
  -C       reports one line: bytes,requests,time,bytes per second,requests per second
  -b       writes the state of the machine instead of the disk (not here)
  -p       is ignored

Example: write -P 0x17 512 1k

`
	readvHelp = `
Reads a range into several buffers, which are given by their lengths.

  -P BYTE  what the data has to consist of
  -v       prints the data in hexadecimal
  -q       reports nothing
  -C       reports one line of numbers

Example: readv -v 512 1k 1k

`
	writevHelp = `
Writes a range from several buffers, which are given by their lengths.

  -P BYTE  what they are filled with; 0xcd by default
  -f       durable before it is reported
  -q       reports nothing
  -C       reports one line of numbers

Example: writev 512 1k 1k

`
	aioReadHelp = `
Starts a read and goes on with the next command; the report follows when it is done, and aio_flush waits for it. A failure is
reported, and is none of the command.

  -P BYTE  what the data has to consist of
  -v       prints the data in hexadecimal
  -i       counts as an invalid request, and reads nothing
  -q       reports nothing
  -C       reports one line of numbers

Example: aio_read -v 512 1k 1k

`
	aioWriteHelp = `
Starts a write and goes on with the next command; the report follows when it is done, and aio_flush waits for it. A failure is
reported, and is none of the command.

  -P BYTE  what the buffers are filled with; 0xcd by default
  -z       writes zeroes without sending them
  -u       with -z: may deallocate
  -f       durable before it is reported
  -i       counts as an invalid request, and writes nothing
  -q       reports nothing
  -C       reports one line of numbers

Example: aio_write 512 1k 1k

`
	discardHelp = `
Tells the image that a range is not needed any more.

  -q       reports nothing
  -C       reports one line of numbers

Example: discard 512 1k

`
	openHelp = `
Opens an image, which all other commands then work on.

  -r          for reading only
  -s          writes go to a temporary overlay
  -C          copies what is read from a backing file
  -n          the cache mode none
  -k          the aio mode native
  -i MODE     aio: threads, native or io_uring
  -t MODE     cache: none, writeback, writethrough, directsync or unsafe
  -d MODE     discard: ignore or unmap
  -U          reads although somebody else writes
  -o OPTIONS  options of the driver, driver=FORMAT among them

Example: open -n -o driver=raw /tmp/data

`
	reopenHelp = `
Changes how the open image is opened. When that does not work the image stays as it was.

  -r          for reading only
  -w          for writing
  -c MODE     the cache mode
  -o OPTIONS  options of the driver

Example: reopen -o lazy-refcounts=on

`
	sigraiseHelp = `
Raises a signal in this process, with its default effect.

Example: sigraise 9

`
)

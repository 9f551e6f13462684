package engine

// DetectZeroes says what is done with writes of zeroes.
type DetectZeroes uint8

// The modes of detect-zeroes=.
const (
	DetectOff   DetectZeroes = iota // write them
	DetectOn                        // write zeroes without sending them
	DetectUnmap                     // and deallocate where discard is on
)

// Cache is the cache mode of a graph, as QEMU's cache.direct, cache.no-flush and cache.writeback (inverted) have it.
type Cache struct {
	Direct       bool // O_DIRECT: the host's page cache is bypassed
	NoFlush      bool // flushes are ignored
	WriteThrough bool // every write is durable when it completes
}

// CacheModes maps the names of cache modes.
var CacheModes = map[string]Cache{
	"writeback":    {},
	"none":         {Direct: true},
	"off":          {Direct: true},
	"writethrough": {WriteThrough: true},
	"directsync":   {Direct: true, WriteThrough: true},
	"unsafe":       {NoFlush: true},
}

// OpenFlags say how a node is opened.
type OpenFlags struct {
	Write        bool
	AutoReadOnly bool // writing was asked for, but reading only will do
	Cache        Cache
	Discard      bool // discards are passed on (discard=unmap)
	DetectZeroes DetectZeroes
	NoBacking    bool // leave the backing file closed
	NoIO         bool // only metadata is wanted: data files and keys may stay away
	Check        bool // opened to be checked or repaired: tolerate what a check would report
	ForceShare   bool // -U: read although somebody writes
	Snapshot     bool // writes go to a temporary overlay that is gone at the end (-snapshot)
	// ShareWrites: others may write to the image meanwhile, and its size is claimed only when it is changed, as QEMU's tools have it. A
	// format's metadata has one writer all the same.
	ShareWrites bool
	AIO         string // io_uring, threads or native; empty: the driver's choice
	// Polled plane: what the leaves are asked for (ioengine options).
	Leaf LeafOptions
}

// LeafOptions are wishes of a workload to the leaf's queue.
type LeafOptions struct {
	Engine          string // io_uring, threads, psync, io_uring_cmd; empty: the driver's choice
	NoFixedBufs     bool   // do not register buffers
	NoRegisterFiles bool   // do not register files
	SQThreadPoll    bool   // a kernel thread submits
	SQThreadCPU     int    // its core; negative: anywhere
	Uncached        bool   // what is read or written is dropped from the page cache at once (RWF_DONTCACHE)
	NoWait          bool   // requests that would have to wait fail with EAGAIN (RWF_NOWAIT)
	ForceAsync      int    // every so-manieth request goes straight to a kernel worker; 0: none
}

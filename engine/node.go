package engine

import (
	"context"

	"github.com/blkbench/blkbench/engine/opts"
)

// Node is one layer of a graph: a protocol's file or device, an image format over it, or a filter. Data calls are all-or-error: on an
// error the content of p, or of the range written, is undefined between old and new. All methods may be called from many goroutines at
// once. Drivers call the nodes below them through a [Ref] only, and are called through one: ranges are not empty, inside the node and
// aligned to Info().Limits, and writes never reach a read-only node. The last block of a node whose size is no multiple of RequestAlign
// is read and written whole: what lies beyond the end reads as zeroes, and is dropped from a write unless the node is growable; that
// one grows, and is cut back by its Resizer.
type Node interface {
	// Info is what does not change while the node is open.
	Info() Info
	// Size returns the size in bytes. It may change: files grow, exports are resized.
	Size() int64
	// ReadAt fills p from off.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// WriteAt writes p at off.
	WriteAt(ctx context.Context, p []byte, off int64, flags WriteFlags) error
	// Flush makes everything that was completed before durable, in this node and below.
	Flush(ctx context.Context) error
	// Extents appends what is known of the range [off, off+n) to dst: contiguous from off, at least one extent, as far as is
	// cheap; the caller asks again for the rest. It never reads data.
	Extents(ctx context.Context, off, n int64, dst []Extent) ([]Extent, error)
	// Close gives everything back; children are closed by the node that opened them. Metadata is flushed.
	Close() error
}

// WriteFlags modify a write, a write of zeroes or a discard.
type WriteFlags uint8

const (
	// FUA means: durable before the call returns.
	FUA WriteFlags = 1 << iota
	// MayUnmap means: zeroes may be made by deallocating.
	MayUnmap
	// NoFallback means: zeroes only where that is faster than writing them, else ErrUnsupported.
	NoFallback
	// Compressed means: store compressed, for nodes that are CompressedWriters.
	Compressed
	// FlushMetadata means, of a flush in the polled plane: the file's own metadata too (fsync rather than fdatasync). With FUA, of a write:
	// O_SYNC rather than O_DSYNC.
	FlushMetadata
)

// Caps are what a node can do beyond reading.
type Caps uint32

const (
	// CapWritable means: opened for writing.
	CapWritable Caps = 1 << iota
	// CapGrowable means: writes and writes of zeroes past the end extend the node (regular files).
	CapGrowable
	// CapFUA means: WriteAt with FUA costs less than a write and a flush.
	CapFUA
	// CapDiscard means: has Discarder and something comes of it.
	CapDiscard
	// CapZero means: has ZeroWriter and it is cheaper than writing.
	CapZero
	// CapUnmapZero means: zeroes may be written by unmapping.
	CapUnmapZero
	// CapBlockDevice means: the node is a block device of the host.
	CapBlockDevice
	// CapVolatile means: nothing survives the process (mem, null).
	CapVolatile
	// CapSharedBuffers means: another process moves the data, so the polled plane's arenas have to be Shared ones ([dma.Config]).
	CapSharedBuffers
)

// Has reports whether all of want are there.
func (c Caps) Has(want Caps) bool { return c&want == want }

// Limits are what requests must keep to. Zero values mean 1 for alignments and "no limit" for sizes.
type Limits struct {
	RequestAlign  uint32 // offset and length of reads and writes, bytes, a power of two, at most 1 MiB
	MemAlign      uint32 // address of buffers, bytes, a power of two, at most 4096
	MaxTransfer   uint32 // bytes per request
	OptTransfer   uint32 // bytes per request for best throughput
	DiscardAlign  uint32 // bytes; smaller parts are rounded inwards
	MaxDiscard    int64  // bytes per discard
	ZeroAlign     uint32 // bytes; smaller parts are written
	MaxZero       int64  // bytes per write of zeroes
	ClusterSize   uint32 // allocation unit of a format, bytes; 0 where there is none
	LogicalBlock  uint32 // of a device, bytes; 0 when unknown
	PhysicalBlock uint32 // of a device, bytes; 0 when unknown
}

// Info is what a node says of itself; immutable while it is open.
type Info struct {
	Driver   string // registered name
	Filename string // what a user would write to open it again, without secrets
	Caps     Caps
	Limits   Limits
	Notes    []string // what the user should know: a fallback taken, an option mapped to another
	Detail   any      // the driver's own facts, for `info`
}

// ExtentFlags describe a run of an image.
type ExtentFlags uint8

const (
	// ExtentData means: reading touches stored data (else the run reads as zeroes or comes from below).
	ExtentData ExtentFlags = 1 << iota
	// ExtentZero means: reads as zeroes.
	ExtentZero
	// ExtentAllocated means: this layer, not a backing file, decides the content.
	ExtentAllocated
	// ExtentOffset means: HostOff in File is valid.
	ExtentOffset
	// ExtentCompressed means: stored compressed.
	ExtentCompressed
	// ExtentEOF means: the run lies beyond the end of the layer that decides it.
	ExtentEOF
)

// Extent is a run of one status.
type Extent struct {
	Off, Len int64 // bytes, in the node asked
	Flags    ExtentFlags
	HostOff  int64 // bytes, in File
	File     *Ref  // the child that HostOff is in; nil for the node itself
	Depth    int   // how many backing files below the node asked
}

// Discarder deallocates. What a discarded range reads as afterwards is the node's Extents' word.
type Discarder interface {
	Discard(ctx context.Context, off, n int64) error
}

// ZeroWriter writes zeroes without sending them. Flags: FUA, MayUnmap, NoFallback.
type ZeroWriter interface {
	WriteZeroes(ctx context.Context, off, n int64, flags WriteFlags) error
}

// Prealloc says how space is provided for a new or grown image.
type Prealloc string

// The modes of preallocation, as -o preallocation= spells them.
const (
	PreallocOff      Prealloc = "off"
	PreallocMetadata Prealloc = "metadata"
	PreallocFalloc   Prealloc = "falloc"
	PreallocFull     Prealloc = "full"
)

// ResizeOptions go with a change of size.
type ResizeOptions struct {
	Prealloc Prealloc
	Exact    bool // the size must be met exactly, not rounded up
	ReadZero bool // what is added must read as zeroes even over a backing file
}

// Resizer changes the size. Shrinking discards what lies beyond.
type Resizer interface {
	Resize(ctx context.Context, size int64, o ResizeOptions) error
}

// AllocatedSizer knows how many bytes of storage it takes, which is less than its size where it has holes. Ask by [Ref.AllocatedSize].
type AllocatedSizer interface {
	AllocatedSize(ctx context.Context) (int64, error)
}

// CompressedWriter stores one allocation unit compressed; p is a whole cluster, or the tail of the image.
type CompressedWriter interface {
	WriteCompressed(ctx context.Context, p []byte, off int64) error
}

// Child is a named edge of the graph.
type Child struct {
	Name string // file, backing, data-file, …
	Ref  *Ref
}

// Parent is a node with children; the order is what Mapping.Child counts in.
type Parent interface {
	Children() []Child
}

// Copier copies a range from another node inside the kernel or the device (copy_file_range, reflink, NVMe Copy). It answers
// ErrUnsupported when it cannot for this pair.
type Copier interface {
	CopyFrom(ctx context.Context, src Node, srcOff, off, n int64, reflink bool) error
}

// Snapshot is an internal snapshot.
type Snapshot struct {
	ID, Name    string
	VMStateSize int64 // bytes
	DateSec     int64 // Unix seconds
	DateNsec    int32
	VMClockNsec int64
	Icount      int64 // -1 when unknown
	DiskSize    int64 // bytes
}

// Snapshotter has internal snapshots. Names and IDs are searched the way qemu-img does: ID first, then name.
type Snapshotter interface {
	Snapshots(ctx context.Context) ([]Snapshot, error)
	CreateSnapshot(ctx context.Context, s Snapshot) error
	DeleteSnapshot(ctx context.Context, idOrName string) error
	ApplySnapshot(ctx context.Context, idOrName string) error
	// OpenSnapshot makes the node read the snapshot's content from now on; read-only nodes only.
	OpenSnapshot(ctx context.Context, idOrName string) error
}

// Bitmap describes a persistent dirty bitmap.
type Bitmap struct {
	Name         string
	Granularity  int64 // bytes
	Enabled      bool  // it records writes
	Inconsistent bool  // it was not saved properly: it can only be removed
}

// Bitmapper has persistent dirty bitmaps. A name that is not there is ErrNotFound, one that is taken ErrExist.
type Bitmapper interface {
	Size() int64
	Bitmaps() []Bitmap
	// AddBitmap makes an empty bitmap; granularity is in bytes, a power of two, 0 for the format's choice.
	AddBitmap(ctx context.Context, name string, granularity int64, disabled bool) error
	RemoveBitmap(ctx context.Context, name string) error
	ClearBitmap(ctx context.Context, name string) error
	EnableBitmap(ctx context.Context, name string) error
	DisableBitmap(ctx context.Context, name string) error
	// MergeBitmap adds what a bitmap of src, which may be this image, has set.
	MergeBitmap(ctx context.Context, name string, src Bitmapper, srcName string) error
	// DirtyRanges calls f for every range of guest bytes that a bitmap has set, in order.
	DirtyRanges(ctx context.Context, name string, f func(off, n int64) error) error
}

// MeasureRequest asks how large the file of a new image would be.
type MeasureRequest struct {
	Opts *opts.Tree // create options, without size
	Size int64      // bytes
	// Data counts the guest bytes in those units of the given size that hold data, whole units; nil where there is no source and
	// nothing is data.
	Data func(ctx context.Context, unit int64) (int64, error)
	// Source has bitmaps that are copied; nil where there is none.
	Source Bitmapper
}

// Measurement is what comes of it, in bytes.
type Measurement struct {
	Required, FullyAllocated int64
	Bitmaps                  int64 // of the source's bitmaps; -1 where the format or the source has none
}

// Description is what `info` prints of an image beside its size: it may change while the image is open.
type Description struct {
	ClusterSize int64 // bytes; 0 where there is none
	Encrypted   bool
	Dirty       bool // it was not closed properly
	// Specific is the format's own part: a struct whose JSON has the names of `qemu-img info --output=json`; nil where there is none.
	Specific any
}

// Describer describes itself for `info`.
type Describer interface {
	Describe() Description
}

// Checker verifies and repairs metadata.
type Checker interface {
	Check(ctx context.Context, o CheckOptions) (CheckResult, error)
}

// CheckOptions say what to repair.
type CheckOptions struct {
	FixLeaks, FixErrors bool
	Progress            func(done, total int64)
	Report              func(line string) // one finding
}

// CheckResult counts findings; the names are those of `check --output=json`.
type CheckResult struct {
	Corruptions, CorruptionsFixed int64
	Leaks, LeaksFixed             int64
	CheckErrors                   int64
	ImageEndOffset                int64 // bytes
	TotalClusters, Allocated      int64
	Fragmented, CompressedCount   int64
}

// Backed is an image with a backing file.
type Backed interface {
	Backing() *Ref // nil when there is none, or it was not opened
	// BackingName returns what the image itself says: name and format, empty when it has no backing file.
	BackingName() (name, format string)
	// ChangeBacking rewrites the reference in the image.
	ChangeBacking(ctx context.Context, name, format string) error
	// SetBacking replaces the opened child, for rebase and commit.
	SetBacking(ref *Ref)
}

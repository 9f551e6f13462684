package enginetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// DiskConfig describes a Disk.
type DiskConfig struct {
	Size     int64 // bytes
	Limits   engine.Limits
	ReadOnly bool
	Growable bool // writes past the end extend it; also Resizer
	FUA      bool
	Discard  bool // discards leave the byte 0xDD or the old content, as the offset has it
	Zero     bool // writes zeroes without data
	NoQueue  bool // blocking only
	Queue    QueueBehaviour
}

// Disk is a leaf in memory, blocking and polled, that checks how it is called: ranges and memory keep to its limits, and nothing writes
// to it when it is read-only.
type Disk struct {
	t    testing.TB
	cfg  DiskConfig
	size atomic.Int64

	mu       sync.RWMutex
	data     []byte
	closed   bool
	flushes  int
	discards int
	zeroings int
	open     []*diskQueue

	journal func(e entry) // told of every change, locked; nil: nobody

	failFlush atomic.Pointer[unix.Errno]
	queues    atomic.Int32
}

// maxDisk is how far a disk grows, in bytes.
const maxDisk = 1 << 32

// NewDisk makes a disk full of zeroes.
func NewDisk(t testing.TB, cfg DiskConfig) *Disk {
	d := &Disk{t: t, cfg: cfg}
	d.cfg.Limits.RequestAlign = max(1, cfg.Limits.RequestAlign)
	d.cfg.Limits.MemAlign = max(1, cfg.Limits.MemAlign)
	d.size.Store(cfg.Size)
	d.data = make([]byte, d.whole(cfg.Size))
	return d
}

// Open makes a disk and a reference to it.
func (cfg DiskConfig) Open(t testing.TB) (*Disk, *engine.Ref) {
	d := NewDisk(t, cfg)
	return d, engine.NewRef(d, engine.OpenFlags{Write: !cfg.ReadOnly, Discard: true})
}

func (d *Disk) whole(n int64) int64 {
	a := int64(d.cfg.Limits.RequestAlign)
	return (n + a - 1) / a * a
}

// Info implements engine.Node.
func (d *Disk) Info() engine.Info {
	caps := engine.CapVolatile
	for c, on := range map[engine.Caps]bool{
		engine.CapWritable: !d.cfg.ReadOnly, engine.CapGrowable: d.cfg.Growable, engine.CapFUA: d.cfg.FUA,
		engine.CapDiscard: d.cfg.Discard, engine.CapZero: d.cfg.Zero,
	} {
		if on {
			caps |= c
		}
	}
	return engine.Info{Driver: "toy-disk", Filename: "toy", Caps: caps, Limits: d.cfg.Limits}
}

// Size implements engine.Node.
func (d *Disk) Size() int64 { return d.size.Load() }

// Flushes returns how many flushes there were.
func (d *Disk) Flushes() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.flushes
}

// Discards returns how many discards there were.
func (d *Disk) Discards() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.discards
}

// Zeroings returns how many writes of zeroes without data there were.
func (d *Disk) Zeroings() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.zeroings
}

// FailFlush makes the next flush fail, by either plane.
func (d *Disk) FailFlush(errno unix.Errno) { d.failFlush.Store(&errno) }

// Bytes returns a copy of the content, as far as it is inside the disk.
func (d *Disk) Bytes() []byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return append([]byte(nil), d.data[:d.Size()]...)
}

// Fill puts content into the disk, outside of any accounting.
func (d *Disk) Fill(p []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.data[off:d.Size()], p)
}

// fault reports a caller that does not keep to the contract.
func (d *Disk) fault(format string, args ...any) error {
	err := fmt.Errorf("toy disk: "+format, args...)
	d.t.Error(err)
	return err
}

func (d *Disk) check(op string, p []byte, off, n int64) error {
	align, mem := int64(d.cfg.Limits.RequestAlign), uintptr(d.cfg.Limits.MemAlign)
	switch {
	case d.closed:
		return d.fault("%s after close", op)
	case n <= 0 || off < 0 || (off|n)&(align-1) != 0:
		return d.fault("%s at %#x+%d: not aligned to %d", op, off, n, align)
	case d.cfg.Limits.MaxTransfer > 0 && n > int64(d.cfg.Limits.MaxTransfer):
		return d.fault("%s of %d bytes: at most %d", op, n, d.cfg.Limits.MaxTransfer)
	case mem > 1 && uintptr(unsafe.Pointer(unsafe.SliceData(p)))&(mem-1) != 0:
		return d.fault("%s: memory is not aligned to %d", op, mem)
	}
	return nil
}

// ReadAt implements engine.Node.
func (d *Disk) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := int64(len(p))
	if err := d.check("read", p, off, n); err != nil {
		return err
	}
	if off+n > d.whole(d.Size()) {
		return d.fault("read at %#x+%d: the end is at %#x", off, n, d.Size())
	}
	d.read(p, off)
	return nil
}

// read copies what there is and clears the rest; locked.
func (d *Disk) read(p []byte, off int64) int64 {
	n := int64(copy(p, d.data[min(off, d.Size()):d.Size()]))
	clear(p[n:])
	return n
}

// WriteAt implements engine.Node.
func (d *Disk) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := int64(len(p))
	if err := d.check("write", p, off, n); err != nil {
		return err
	}
	if flags&engine.FUA != 0 && !d.cfg.FUA {
		return d.fault("write with FUA, which it has not")
	}
	return d.write(p, off, flags)
}

// write copies p and grows the disk where it may; locked.
func (d *Disk) write(p []byte, off int64, flags engine.WriteFlags) error {
	end := off + int64(len(p))
	switch {
	case d.cfg.ReadOnly:
		return d.fault("write to a read-only disk")
	case end > maxDisk && d.cfg.Growable:
		return engine.Errf(engine.ErrNoSpace, "a disk in memory")
	case end > d.Size() && d.cfg.Growable:
		d.resize(end)
	case end > d.whole(d.Size()):
		return d.fault("write at %#x+%d: the end is at %#x", off, len(p), d.Size())
	}
	n := copy(d.data[off:d.Size()], p)
	d.note(entry{off: off, data: p[:n], durable: flags&engine.FUA != 0})
	return nil
}

// note tells the journal, if there is one.
func (d *Disk) note(e entry) {
	if d.journal != nil {
		d.journal(e)
	}
}

func (d *Disk) resize(size int64) {
	old := d.Size()
	if need := d.whole(size); need > int64(len(d.data)) {
		d.data = append(d.data, make([]byte, need-int64(len(d.data)))...)
	}
	if size < old {
		clear(d.data[size:])
	}
	d.size.Store(size)
}

// Resize implements engine.Resizer for growable disks.
func (d *Disk) Resize(_ context.Context, size int64, _ engine.ResizeOptions) error {
	if !d.cfg.Growable {
		return engine.Errf(engine.ErrUnsupported, "a disk of a fixed size")
	}
	if size > maxDisk {
		return engine.Errf(engine.ErrRange, "size %d: a disk in memory", size)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resize(size)
	d.note(entry{kind: entryResize, off: size})
	return nil
}

// Flush implements engine.Node.
func (d *Disk) Flush(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return d.fault("flush after close")
	}
	d.flushes++
	return d.flushed()
}

// flushed ends a flush; locked.
func (d *Disk) flushed() error {
	if e := d.failFlush.Swap(nil); e != nil {
		return *e
	}
	d.note(entry{kind: entryFlush})
	return nil
}

// Discard implements engine.Discarder.
func (d *Disk) Discard(_ context.Context, off, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.discard(off, n)
}

func (d *Disk) discard(off, n int64) error {
	d.discards++
	unit := int64(max(d.cfg.Limits.DiscardAlign, d.cfg.Limits.RequestAlign))
	switch {
	case !d.cfg.Discard || d.cfg.ReadOnly:
		return d.fault("discard, which it has not")
	case n <= 0 || off%unit != 0 || (n%unit != 0 && off+n != d.Size()) || off+n > d.Size():
		return d.fault("discard at %#x+%d: not in units of %d inside %#x", off, n, unit, d.Size())
	case d.cfg.Limits.MaxDiscard > 0 && n > max(unit, d.cfg.Limits.MaxDiscard):
		return d.fault("discard of %d bytes: at most %d", n, d.cfg.Limits.MaxDiscard)
	}
	for at := off; at < off+n; at++ {
		if at/4096%2 == 0 {
			d.data[at] = 0
		}
	}
	d.note(entry{off: off, data: d.data[off : off+n]})
	return nil
}

// WriteZeroes implements engine.ZeroWriter.
func (d *Disk) WriteZeroes(_ context.Context, off, n int64, flags engine.WriteFlags) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if flags&engine.FUA != 0 && !d.cfg.FUA {
		return d.fault("write of zeroes with FUA, which it has not")
	}
	return d.zero(off, n, flags)
}

func (d *Disk) zero(off, n int64, flags engine.WriteFlags) error {
	d.zeroings++
	unit := int64(max(d.cfg.Limits.ZeroAlign, d.cfg.Limits.RequestAlign))
	switch {
	case !d.cfg.Zero || d.cfg.ReadOnly:
		return d.fault("write of zeroes, which it has not")
	case n <= 0 || off%unit != 0 || (n%unit != 0 && off+n != d.Size()) || (off+n > d.Size() && !d.cfg.Growable):
		return d.fault("write of zeroes at %#x+%d: not in units of %d inside %#x", off, n, unit, d.Size())
	case d.cfg.Limits.MaxZero > 0 && n > max(unit, d.cfg.Limits.MaxZero):
		return d.fault("write of %d zeroes: at most %d", n, d.cfg.Limits.MaxZero)
	}
	if off+n > maxDisk {
		return engine.Errf(engine.ErrNoSpace, "a disk in memory")
	}
	if off+n > d.Size() {
		d.resize(off + n)
	}
	clear(d.data[off : off+n])
	d.note(entry{off: off, data: d.data[off : off+n], durable: flags&engine.FUA != 0})
	return nil
}

// Extents implements engine.Node: all of it is data.
func (d *Disk) Extents(_ context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{
		Off: off, Len: n, Flags: engine.ExtentData | engine.ExtentAllocated | engine.ExtentOffset, HostOff: off,
	}), nil
}

// Close implements engine.Node.
func (d *Disk) Close() error {
	if n := d.queues.Load(); n > 0 {
		return d.fault("closed while %d queues are open", n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return d.fault("closed twice")
	}
	d.closed = true
	return nil
}

// Closed reports whether the last reference was given back.
func (d *Disk) Closed() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.closed
}

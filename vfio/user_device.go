package vfio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// userTimeout bounds every reply. A server that polls answers in about a millisecond; one that is serving another
// client answers not at all until that one leaves.
const userTimeout = 5 * time.Second

// userMaxMaps is what libvfio-user keeps room for, whatever the protocol says.
const userMaxMaps = 64

// UserDevice is a PCI function that a vfio-user server implements.
type UserDevice struct {
	name      string
	conn      *userConn
	regions   []region
	files     []int // by region; -1 when nothing is mappable
	vectors   int
	maxFDs    int // descriptors in one message
	requestFD int
	iova      *iovaSpace

	mu       sync.Mutex
	mappings map[mapKey][]byte
	dma      map[uint64]uint64 // size by IOVA
}

// Dial connects to a vfio-user server: the path of its socket, or of the folder that holds it as "cntrl" (SPDK's
// traddr).
func Dial(path string) (*UserDevice, error) { return DialTimeout(path, userTimeout) }

// DialTimeout is Dial with a bound of one's own on every reply.
func DialTimeout(path string, timeout time.Duration) (*UserDevice, error) {
	d, err := dial(path, timeout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func dial(path string, timeout time.Duration) (_ *UserDevice, err error) {
	fd, err := connectUnix(path)
	if err != nil {
		return nil, err
	}
	d := &UserDevice{
		name:      path,
		conn:      &userConn{fd: fd, timeout: timeout},
		requestFD: -1,
		mappings:  map[mapKey][]byte{},
		dma:       map[uint64]uint64{},
		// Addresses are a free choice. They start above 4 GiB so that a truncated one is noticed.
		iova: newIOVASpace([]span{{1 << 32, 1<<47 - 1}}),
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.negotiate(); err != nil {
		if errors.Is(err, ErrTimeout) {
			return nil, fmt.Errorf("%w (another client may be connected: a server serves one at a time)", err)
		}
		return nil, err
	}
	return d, d.readInfo()
}

func connectUnix(path string) (int, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, "cntrl")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	switch {
	case errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("%w: there is no socket", ErrNoDevice)
	case errors.Is(err, unix.ECONNREFUSED):
		return -1, fmt.Errorf("%w: nobody listens on the socket (a server that was killed leaves it behind)", ErrNoDevice)
	case errors.Is(err, unix.EAGAIN):
		return -1, fmt.Errorf("%w: other clients are connected and waiting", ErrBusy)
	case errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("%w: connect: %w", ErrPermission, err)
	default:
		return -1, fmt.Errorf("connect: %w", err)
	}
}

// userCapabilities is the JSON of the VERSION exchange, as far as it matters here. vfio-user "VFIO_USER_VERSION"
type userCapabilities struct {
	Capabilities struct {
		MaxMsgFDs int `json:"max_msg_fds,omitempty"`
	} `json:"capabilities"`
}

func (d *UserDevice) negotiate() error {
	const major, minor = 0, 1
	req := binary.LittleEndian.AppendUint16(nil, major)
	req = binary.LittleEndian.AppendUint16(req, minor)
	req = append(req, `{"capabilities":{"max_msg_fds":8}}`...)
	req = append(req, 0) // the NUL is part of the message
	reply, fds, err := d.conn.call(userVersion, req, nil)
	closeAll(fds)
	if err != nil {
		return err
	}
	d.maxFDs, err = parseVersion(reply)
	return err
}

// parseVersion checks the server's version and returns how many descriptors it takes in a message.
func parseVersion(reply []byte) (maxFDs int, err error) {
	if len(reply) < 4 {
		return 0, fmt.Errorf("%w: VERSION reply of %d bytes", ErrProtocol, len(reply))
	}
	major, minor := binary.LittleEndian.Uint16(reply), binary.LittleEndian.Uint16(reply[2:])
	if major != 0 {
		return 0, fmt.Errorf("%w: server speaks version %d.%d, want 0.1", ErrProtocol, major, minor)
	}
	text := bytes.TrimRight(reply[4:], "\x00")
	if len(text) == 0 {
		return 1, nil
	}
	var caps userCapabilities
	if err := json.Unmarshal(text, &caps); err != nil {
		return 0, fmt.Errorf("%w: VERSION capabilities: %w", ErrProtocol, err)
	}
	return min(max(caps.Capabilities.MaxMsgFDs, 1), userMaxFDs), nil
}

func (d *UserDevice) readInfo() error {
	le := binary.LittleEndian
	req := make([]byte, 16)
	le.PutUint32(req, 16)
	info, fds, err := d.conn.call(userGetInfo, req, nil)
	closeAll(fds)
	if err != nil {
		return err
	}
	if len(info) < 16 || le.Uint32(info[4:])&deviceFlagPCI == 0 || le.Uint32(info[8:]) <= regionConfig {
		return fmt.Errorf("%w: DEVICE_GET_INFO % x is no PCI function", ErrProtocol, info)
	}
	irqs := le.Uint32(info[12:])
	for i := range uint32(regionConfig + 1) {
		if err := d.readRegion(i); err != nil {
			return fmt.Errorf("region %d: %w", i, err)
		}
	}
	if irqs > irqMSIX {
		if d.vectors, err = d.irqCount(irqMSIX); err != nil {
			return err
		}
	}
	if irqs > irqRequest {
		return d.armRequest()
	}
	return nil
}

// readRegion asks with room for capabilities at once: with less, the server sends no descriptor.
func (d *UserDevice) readRegion(index uint32) error {
	le := binary.LittleEndian
	req := make([]byte, regionInfoSize)
	le.PutUint32(req, 4096)
	le.PutUint32(req[8:], index)
	info, fds, err := d.conn.call(userGetRegion, req, nil)
	if err != nil {
		return err
	}
	file := -1
	if len(fds) > 0 {
		file = fds[0]
		closeAll(fds[1:])
	}
	d.files = append(d.files, file)
	r, err := parseRegion(info)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if file < 0 {
		r.areas = nil
	}
	d.regions = append(d.regions, r)
	return nil
}

func (d *UserDevice) irqCount(index uint32) (int, error) {
	le := binary.LittleEndian
	req := make([]byte, 16)
	le.PutUint32(req, 16)
	le.PutUint32(req[8:], index)
	info, fds, err := d.conn.call(userGetIRQ, req, nil)
	closeAll(fds)
	if err != nil {
		return 0, err
	}
	if len(info) < 16 {
		return 0, fmt.Errorf("%w: DEVICE_GET_IRQ_INFO of %d bytes", ErrProtocol, len(info))
	}
	return int(min(le.Uint32(info[12:]), 2048)), nil // PCI allows 2048 vectors
}

// armRequest is best effort: a server need not offer the interrupt.
func (d *UserDevice) armRequest() error {
	n, err := d.irqCount(irqRequest)
	if err != nil || n == 0 {
		return nil //nolint:nilerr // it does not
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if err := d.setIRQs(irqRequest, 0, []int{fd}); err != nil {
		unix.Close(fd)
		return nil //nolint:nilerr // it does not
	}
	d.requestFD = fd
	return nil
}

// Name is the path that was dialled.
func (d *UserDevice) Name() string { return d.name }

// RequestFD is an eventfd that becomes readable when the server wants the device back, or -1.
func (d *UserDevice) RequestFD() int { return d.requestFD }

// Gone says whether the server has closed the connection.
func (d *UserDevice) Gone() bool { return d.conn.hungUp() }

// BARSize is the size of a BAR in bytes, 0 for one that is not there.
func (d *UserDevice) BARSize(bar int) uint64 {
	if bar < 0 || bar > 5 {
		return 0
	}
	return d.regions[bar].size
}

// Window maps size bytes of a BAR at off, if the server shares them: the doorbells, as a rule. A whole sparse area is
// mapped and nothing beyond it, since the file may end there.
func (d *UserDevice) Window(bar int, off, size uint64) (mmio.Window, error) {
	if d.BARSize(bar) == 0 {
		return mmio.Window{}, fmt.Errorf("%s: %w: no BAR %d", d.name, ErrNoDevice, bar)
	}
	r := &d.regions[bar]
	a, ok := r.contains(off, size)
	if !ok {
		return mmio.Window{}, fmt.Errorf("%s: %w: BAR %d %#x+%#x", d.name, ErrNotMappable, bar, off, size)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(d.files[bar], &st); err != nil {
		return mmio.Window{}, fmt.Errorf("%s: BAR %d: %w", d.name, bar, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && uint64(st.Size) < r.offset+a.offset+a.size {
		return mmio.Window{}, fmt.Errorf("%s: %w: BAR %d %#x+%#x lies beyond the end of its file (%#x)",
			d.name, ErrProtocol, bar, a.offset, a.size, st.Size)
	}
	m, err := mapArea(d.mappings, d.files[bar], bar, r, a)
	if err != nil {
		return mmio.Window{}, fmt.Errorf("%s: %w", d.name, err)
	}
	return mmio.NewWindow(m[off-a.offset : off-a.offset+size]), nil
}

// regionRead and regionWrite are the messages. vfio-user "VFIO_USER_REGION_READ"
func (d *UserDevice) regionRead(index int, off uint64, p []byte) error {
	reply, fds, err := d.conn.call(userRegionRead, regionAccess(index, off, len(p)), nil)
	closeAll(fds)
	if err != nil {
		return fmt.Errorf("%s: region %d at %#x: %w", d.name, index, off, err)
	}
	if len(reply) != 16+len(p) {
		return fmt.Errorf("%s: region %d at %#x: %w: reply of %d bytes for %d", d.name, index, off, ErrProtocol, len(reply), len(p))
	}
	copy(p, reply[16:])
	return nil
}

func (d *UserDevice) regionWrite(index int, off uint64, p []byte) error {
	_, fds, err := d.conn.call(userRegionWrite, append(regionAccess(index, off, len(p)), p...), nil)
	closeAll(fds)
	if err != nil {
		return fmt.Errorf("%s: region %d at %#x: %w", d.name, index, off, err)
	}
	return nil
}

func regionAccess(index int, off uint64, n int) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 16+n), off)
	b = binary.LittleEndian.AppendUint32(b, uint32(index))
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

// Load32 reads a register by message, even in a mapped BAR: only what the server declares mappable is live there.
func (d *UserDevice) Load32(bar int, off uint64) (uint32, error) {
	var b [4]byte
	err := d.regionRead(bar, off, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// Load64 reads a 64-bit register in one message.
func (d *UserDevice) Load64(bar int, off uint64) (uint64, error) {
	var b [8]byte
	err := d.regionRead(bar, off, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// Store32 writes a register. That it returns nil proves nothing: servers accept writes to read-only registers.
func (d *UserDevice) Store32(bar int, off uint64, v uint32) error {
	return d.regionWrite(bar, off, binary.LittleEndian.AppendUint32(nil, v))
}

// Store64 writes a 64-bit register in one message.
func (d *UserDevice) Store64(bar int, off uint64, v uint64) error {
	return d.regionWrite(bar, off, binary.LittleEndian.AppendUint64(nil, v))
}

// ReadConfig reads configuration space.
func (d *UserDevice) ReadConfig(off uint64, p []byte) error {
	return d.regionRead(regionConfig, off, p)
}

// WriteConfig writes configuration space; a write must cover exactly one header register.
func (d *UserDevice) WriteConfig(off uint64, p []byte) error {
	return d.regionWrite(regionConfig, off, p)
}

// Reset is the device reset of the protocol. It need not reset the controller behind the function (SPDK's does not).
func (d *UserDevice) Reset() error {
	_, fds, err := d.conn.call(userReset, nil, nil)
	closeAll(fds)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	return nil
}

// MapDMA shares mem, which is the mapping of the file fd at fdOffset, with the server and returns the address that
// stands for mem[0]. Shared memory is always readable and writable for the server: SPDK needs that of every region,
// and crashes on a submission queue in a read-only one. Memory in multiples of 2 MiB from a hugetlb file is what
// SPDK registers for real hardware; any file will do for the rest.
func (d *UserDevice) MapDMA(mem []byte, fd int, fdOffset int64) (uint64, error) {
	if fd < 0 {
		return 0, fmt.Errorf("%s: map %d bytes for DMA: memory without a file cannot be shared with a vfio-user server", d.name, len(mem))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.dma) >= userMaxMaps {
		return 0, fmt.Errorf("%s: map %d bytes for DMA: %d regions are mapped, which is all a server has room for", d.name, len(mem), userMaxMaps)
	}
	const huge = 2 << 20
	iova, err := d.iova.alloc(uint64(len(mem)), huge)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", d.name, err)
	}
	le := binary.LittleEndian
	req := le.AppendUint32(make([]byte, 0, 32), 32)
	req = le.AppendUint32(req, dmaFlagRead|dmaFlagWrite)
	req = le.AppendUint64(req, uint64(fdOffset))
	req = le.AppendUint64(req, iova)
	req = le.AppendUint64(req, uint64(len(mem)))
	_, fds, err := d.conn.call(userDMAMap, req, []int{fd})
	closeAll(fds)
	if err != nil {
		d.iova.free(iova, uint64(len(mem)))
		return 0, fmt.Errorf("%s: map %d bytes for DMA: %w", d.name, len(mem), err)
	}
	d.dma[iova] = uint64(len(mem))
	return iova, nil
}

// UnmapDMA takes back what MapDMA gave. Unlike an IOMMU a server may hold on to what it is working on, and SPDK reads
// a queue after it was unmapped: the controller must be disabled first.
func (d *UserDevice) UnmapDMA(iova uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	size, ok := d.dma[iova]
	if !ok {
		return fmt.Errorf("%s: unmap %#x: not mapped", d.name, iova)
	}
	delete(d.dma, iova)
	le := binary.LittleEndian
	req := le.AppendUint32(make([]byte, 0, 24), 24)
	req = le.AppendUint32(req, 0)
	req = le.AppendUint64(req, iova)
	req = le.AppendUint64(req, size)
	_, fds, err := d.conn.call(userDMAUnmap, req, nil)
	closeAll(fds)
	if err != nil {
		return fmt.Errorf("%s: unmap %#x: %w", d.name, iova, err)
	}
	d.iova.free(iova, size)
	return nil
}

// ReserveIOVA sets aside addresses that no mapping will use.
func (d *UserDevice) ReserveIOVA(size, align uint64) (uint64, error) {
	return d.iova.alloc(size, align)
}

// Vectors is the number of MSI-X vectors.
func (d *UserDevice) Vectors() int { return d.vectors }

// SetVectors makes MSI-X vector i signal the eventfd fds[i]; nil switches them off. A message carries a limited
// number of descriptors, so a large set takes several.
func (d *UserDevice) SetVectors(fds []int) error {
	if len(fds) > d.vectors {
		return fmt.Errorf("%s: %d interrupt vectors, the device has %d", d.name, len(fds), d.vectors)
	}
	if len(fds) == 0 {
		_, got, err := d.conn.call(userSetIRQs, irqSet(irqDataNone|irqActionTrigger, irqMSIX, 0, 0, nil), nil)
		closeAll(got)
		return err
	}
	for start := 0; start < len(fds); start += d.maxFDs {
		part := fds[start:min(start+d.maxFDs, len(fds))]
		if err := d.setIRQs(irqMSIX, uint32(start), part); err != nil {
			return fmt.Errorf("%s: enable MSI-X vectors %d to %d: %w", d.name, start, start+len(part)-1, err)
		}
	}
	return nil
}

// setIRQs sends the descriptors beside the message, not in it.
func (d *UserDevice) setIRQs(index, start uint32, fds []int) error {
	b := irqSet(irqDataEventFD|irqActionTrigger, index, start, len(fds), nil)
	_, got, err := d.conn.call(userSetIRQs, b, fds)
	closeAll(got)
	return err
}

// Close disconnects. The server then drops every mapping of this client and deletes its queues.
func (d *UserDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, m := range d.mappings {
		retire(m)
		delete(d.mappings, k)
	}
	for i, fd := range d.files {
		if fd >= 0 {
			unix.Close(fd)
			d.files[i] = -1
		}
	}
	if d.requestFD >= 0 {
		unix.Close(d.requestFD)
		d.requestFD = -1
	}
	d.conn.mu.Lock()
	defer d.conn.mu.Unlock()
	if d.conn.fd >= 0 {
		unix.Close(d.conn.fd)
		d.conn.fd = -1
		d.conn.dead = os.ErrClosed
	}
	return nil
}

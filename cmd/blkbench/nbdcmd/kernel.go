package nbdcmd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// checkDevice finds a wrong device before anything is opened.
func checkDevice(dev string) error {
	if _, err := deviceIndex(dev); err != nil {
		return err
	}
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("Failed to open %s: %s", dev, reason(err)) //nolint:staticcheck // qemu-nbd's words
	}
	return f.Close()
}

// deviceIndex is the number of /dev/nbdN.
func deviceIndex(dev string) (uint32, error) {
	digits, ok := strings.CutPrefix(filepath.Base(dev), "nbd")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil {
		if _, serr := os.Stat(dev); serr != nil {
			return 0, fmt.Errorf("Cannot open %s: %s", dev, reason(serr)) //nolint:staticcheck // qemu-nbd's words
		}
		return 0, fmt.Errorf("%s is no device of the nbd driver (/dev/nbd0, /dev/nbd1, …)", dev)
	}
	return uint32(n), nil
}

// Commands and attributes of the generic netlink family "nbd". Source: include/uapi/linux/nbd-netlink.h
const (
	nbdConnect    = 1
	nbdDisconnect = 2

	nbdIndex       = 1
	nbdSizeBytes   = 2
	nbdBlockSize   = 3
	nbdServerFlags = 5
	nbdSockets     = 7
	nbdSockItem    = 1
	nbdSockFD      = 1
)

// disconnect is -d.
func disconnect(dev string) error {
	if _, err := os.Stat(dev); err != nil {
		return fmt.Errorf("Cannot open %s: %s", dev, reason(err)) //nolint:staticcheck // qemu-nbd's words
	}
	index, err := deviceIndex(dev)
	if err != nil {
		return err
	}
	n, err := openNetlink("nbd")
	if err != nil {
		return err
	}
	defer n.close()
	return n.call(nbdDisconnect, attrU32(nil, nbdIndex, index))
}

// connectKernel makes the kernel's driver a client of the server.
func (c *call) connectKernel(p *place, export string) error {
	dev := *c.o.Connect
	index, err := deviceIndex(dev)
	if err != nil {
		return err
	}
	conn, err := net.Dial(p.l.Addr().Network(), p.l.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	a, err := newAsker(conn)
	if err != nil {
		return err
	}
	f, err := a.info(wire.OptGo, export)
	if err != nil {
		return err
	}
	sc, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return errors.New("the kernel's driver takes a plain socket only")
	}
	sock, err := sc.File()
	if err != nil {
		return err
	}
	defer sock.Close()
	n, err := openNetlink("nbd")
	if err != nil {
		return err
	}
	defer n.close()
	block := uint64(512)
	if f.blocks != nil {
		block = uint64(max(512, min(4096, f.blocks.Min)))
	}
	req := attrU32(nil, nbdIndex, index)
	req = attrU64(req, nbdSizeBytes, f.export.Size&^(block-1))
	req = attrU64(req, nbdBlockSize, block)
	req = attrU64(req, nbdServerFlags, uint64(f.export.Flags))
	req = attr(req, nbdSockets|unix.NLA_F_NESTED, attr(nil, nbdSockItem|unix.NLA_F_NESTED, attrU32(nil, nbdSockFD, uint32(sock.Fd()))))
	if err := n.call(nbdConnect, req); err != nil {
		return fmt.Errorf("Failed to connect %s: %s", dev, reason(err)) //nolint:staticcheck // qemu-nbd's words
	}
	if c.o.Verbose {
		c.errorf("NBD device %s is now connected to %s", dev, c.images[0])
	}
	return nil
}

// awaitKernel returns when the kernel has let go of the device. It says in sysfs while it has it.
func awaitKernel(dev string) {
	for {
		time.Sleep(100 * time.Millisecond)
		if _, err := os.Stat("/sys/block/" + filepath.Base(dev) + "/pid"); err != nil {
			return
		}
	}
}

// netlink is a generic netlink socket to one family.
type netlink struct {
	fd     int
	family uint16
	seq    uint32
}

var ne = binary.NativeEndian

func attr(b []byte, kind uint16, data []byte) []byte {
	b = ne.AppendUint16(b, uint16(4+len(data)))
	b = ne.AppendUint16(b, kind)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func attrU32(b []byte, kind uint16, v uint32) []byte { return attr(b, kind, ne.AppendUint32(nil, v)) }

func attrU64(b []byte, kind uint16, v uint64) []byte { return attr(b, kind, ne.AppendUint64(nil, v)) }

// openNetlink finds a family by its name.
func openNetlink(name string) (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	n := &netlink{fd: fd, family: unix.GENL_ID_CTRL}
	reply, err := n.exchange(unix.CTRL_CMD_GETFAMILY, attr(nil, unix.CTRL_ATTR_FAMILY_NAME, append([]byte(name), 0)))
	if err != nil {
		n.close()
		if errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("this kernel has no driver %s (modprobe %s)", name, name)
		}
		return nil, err
	}
	id, ok := findAttr(reply, unix.CTRL_ATTR_FAMILY_ID)
	if !ok || len(id) < 2 {
		n.close()
		return nil, fmt.Errorf("netlink family %s without a number", name)
	}
	n.family = ne.Uint16(id)
	return n, nil
}

func (n *netlink) close() { unix.Close(n.fd) }

// call sends a command and waits for its end.
func (n *netlink) call(cmd uint8, attrs []byte) error {
	_, err := n.exchange(cmd, attrs)
	return err
}

// Sizes of netlink's headers in bytes: nlmsghdr and genlmsghdr.
const (
	nlHeader   = 16
	genlHeader = 4
)

// exchange sends a command and returns the attributes of the answer, if there is one before the acknowledgement.
func (n *netlink) exchange(cmd uint8, attrs []byte) ([]byte, error) {
	n.seq++
	b := ne.AppendUint32(nil, uint32(nlHeader+genlHeader+len(attrs)))
	b = ne.AppendUint16(b, n.family)
	b = ne.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = ne.AppendUint32(b, n.seq)
	b = ne.AppendUint32(b, 0)
	b = append(b, cmd, 1, 0, 0)
	b = append(b, attrs...)
	if err := unix.Sendto(n.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var answer []byte
	buf := make([]byte, 64<<10)
	for {
		k, _, err := unix.Recvfrom(n.fd, buf, 0)
		if err != nil {
			return nil, err
		}
		for msg := buf[:k]; len(msg) >= nlHeader; {
			size := int(ne.Uint32(msg))
			if size < nlHeader || size > len(msg) {
				return nil, errors.New("netlink: a message of a wrong length")
			}
			body := msg[nlHeader:size]
			switch {
			case ne.Uint32(msg[8:]) != n.seq:
			case ne.Uint16(msg[4:]) == unix.NLMSG_ERROR && len(body) >= 4:
				if e := int32(ne.Uint32(body)); e != 0 {
					return nil, unix.Errno(-e)
				}
				return answer, nil
			case len(body) >= genlHeader:
				answer = append(answer, body[genlHeader:]...)
			}
			msg = msg[min(len(msg), (size+3)&^3):]
		}
	}
}

// findAttr looks for an attribute.
func findAttr(b []byte, kind uint16) ([]byte, bool) {
	for len(b) >= 4 {
		size := int(ne.Uint16(b))
		if size < 4 || size > len(b) {
			return nil, false
		}
		if ne.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return b[4:size], true
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil, false
}

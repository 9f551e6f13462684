package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// vfio-user commands. vfio-user "Commands"
type userCommand uint16

const (
	userVersion     userCommand = 1
	userDMAMap      userCommand = 2
	userDMAUnmap    userCommand = 3
	userGetInfo     userCommand = 4
	userGetRegion   userCommand = 5
	userGetIRQ      userCommand = 7
	userSetIRQs     userCommand = 8
	userRegionRead  userCommand = 9
	userRegionWrite userCommand = 10
	userReset       userCommand = 13
)

var userCommandNames = map[userCommand]string{
	userVersion: "VERSION", userDMAMap: "DMA_MAP", userDMAUnmap: "DMA_UNMAP", userGetInfo: "DEVICE_GET_INFO",
	userGetRegion: "DEVICE_GET_REGION_INFO", userGetIRQ: "DEVICE_GET_IRQ_INFO", userSetIRQs: "DEVICE_SET_IRQS",
	userRegionRead: "REGION_READ", userRegionWrite: "REGION_WRITE", userReset: "DEVICE_RESET",
}

func (c userCommand) String() string { return userCommandNames[c] }

// Header. vfio-user "Header"
const (
	userHeaderSize = 16
	userTypeMask   = 0xf
	userTypeReply  = 1
	userFlagError  = 0x20

	// userMaxMessage bounds what a server may make the client allocate.
	userMaxMessage = 1<<20 + 4096
	userMaxFDs     = 16
)

// userHeader is the 16 bytes before every message.
type userHeader struct {
	id      uint16
	command userCommand
	size    uint32
	flags   uint32
	errno   uint32
}

func (h userHeader) encode(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, h.id)
	b = le.AppendUint16(b, uint16(h.command))
	b = le.AppendUint32(b, h.size)
	b = le.AppendUint32(b, h.flags)
	return le.AppendUint32(b, h.errno)
}

func parseUserHeader(b []byte) (userHeader, error) {
	if len(b) < userHeaderSize {
		return userHeader{}, fmt.Errorf("%w: header of %d bytes", ErrProtocol, len(b))
	}
	le := binary.LittleEndian
	h := userHeader{
		id: le.Uint16(b), command: userCommand(le.Uint16(b[2:])), size: le.Uint32(b[4:]),
		flags: le.Uint32(b[8:]), errno: le.Uint32(b[12:]),
	}
	if h.size < userHeaderSize || h.size > userMaxMessage {
		return userHeader{}, fmt.Errorf("%w: message of %d bytes", ErrProtocol, h.size)
	}
	return h, nil
}

// userConn is one stream to a vfio-user server: one request at a time, each answered before the next. The server
// may answer an error reply's request and leave the stream usable; anything that could have put the two ends out of
// step ends the connection, since the bytes that follow cannot be trusted.
type userConn struct {
	mu      sync.Mutex
	fd      int
	next    uint16
	timeout time.Duration
	dead    error
}

// call sends one request and returns the reply's payload and descriptors. Header, payload and descriptors leave in
// one sendmsg: a server that reads the header reads the rest at once, and would block its whole reactor for a late
// payload.
func (c *userConn) call(cmd userCommand, payload []byte, fds []int) (reply []byte, got []int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return nil, nil, c.dead
	}
	c.next++
	h := userHeader{id: c.next, command: cmd, size: uint32(userHeaderSize + len(payload))}
	msg := append(h.encode(make([]byte, 0, h.size)), payload...)
	if err := c.send(msg, fds); err != nil {
		return nil, nil, c.kill(fmt.Errorf("%v: %w", cmd, err))
	}
	r, reply, got, err := c.receive(time.Now().Add(c.timeout))
	if err != nil {
		return nil, nil, c.kill(fmt.Errorf("%v: %w", cmd, err))
	}
	if r.flags&userTypeMask != userTypeReply || r.id != h.id || r.command != cmd {
		closeAll(got)
		return nil, nil, c.kill(fmt.Errorf("%w: %v answered by command %d, id %d for %d, flags %#x",
			ErrProtocol, cmd, r.command, r.id, h.id, r.flags))
	}
	if r.flags&userFlagError != 0 {
		closeAll(got)
		return nil, nil, fmt.Errorf("%v: %w", cmd, unix.Errno(r.errno))
	}
	return reply, got, nil
}

// kill ends the connection for good. The first cause stays.
func (c *userConn) kill(err error) error {
	c.dead = err
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // it may have been shut down from the other end
	return err
}

func (c *userConn) send(msg []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, err := unix.SendmsgN(c.fd, msg, oob, nil, unix.MSG_NOSIGNAL)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.SendmsgN(c.fd, msg, oob, nil, unix.MSG_NOSIGNAL)
	}
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case err != nil:
		return err
	case n != len(msg):
		return fmt.Errorf("%w: %d of %d bytes sent", ErrProtocol, n, len(msg))
	}
	return nil
}

// receive reads the header with a control buffer, where descriptors arrive, then the payload.
func (c *userConn) receive(deadline time.Time) (h userHeader, payload []byte, fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
		}
	}()
	head := make([]byte, userHeaderSize)
	oob := make([]byte, unix.CmsgSpace(4*userMaxFDs))
	for got := 0; got < len(head); {
		n, more, err := c.recv(head[got:], oob, deadline)
		fds = append(fds, more...)
		if err != nil {
			return h, nil, fds, err
		}
		got += n
	}
	if h, err = parseUserHeader(head); err != nil {
		return h, nil, fds, err
	}
	if h.flags&userFlagError != 0 {
		// An error reply has no payload, whatever its size says.
		return h, nil, fds, nil
	}
	payload = make([]byte, h.size-userHeaderSize)
	for got := 0; got < len(payload); {
		n, more, err := c.recv(payload[got:], oob, deadline)
		fds = append(fds, more...)
		if err != nil {
			return h, nil, fds, err
		}
		got += n
	}
	return h, payload, fds, nil
}

func (c *userConn) recv(p, oob []byte, deadline time.Time) (int, []int, error) {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return 0, nil, fmt.Errorf("%w: %v", ErrTimeout, c.timeout)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, nil, err
		}
		if ready <= 0 {
			continue
		}
		n, oobn, _, _, err := unix.Recvmsg(c.fd, p, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ECONNRESET):
			return 0, nil, fmt.Errorf("%w: %w", ErrGone, err)
		case err != nil:
			return 0, nil, err
		case n == 0:
			return 0, nil, fmt.Errorf("%w: the server closed the connection", ErrGone)
		}
		fds, err := rights(oob[:oobn])
		return n, fds, err
	}
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control message: %w", ErrProtocol, err)
	}
	var fds []int
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // not descriptors
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// hungUp says whether the server has closed its end.
func (c *userConn) hungUp() bool {
	p := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

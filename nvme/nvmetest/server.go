package nvmetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Server offers a Controller on a Unix socket in the vfio-user protocol: one client at a time, memory mapped from the
// descriptors that the client sends, doorbells shared. It is as strict as libvfio-user about what it takes.
type Server struct {
	f    *Controller
	l    *net.UnixListener
	done chan struct{}
}

// Serve listens on folder/cntrl, the place where SPDK puts its socket.
func (f *Controller) Serve(folder string) (*Server, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "cntrl"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	s := &Server{f: f, l: l, done: make(chan struct{})}
	go s.accept()
	return s, nil
}

// Close stops listening and waits for the client's connection to end.
func (s *Server) Close() {
	s.l.Close()
	<-s.done
}

func (s *Server) accept() {
	defer close(s.done)
	for {
		c, err := s.l.AcceptUnix()
		if err != nil {
			return
		}
		s.serve(c)
	}
}

// serve answers one client until it leaves, then forgets it.
func (s *Server) serve(c *net.UnixConn) {
	defer func() {
		c.Close()
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		if s.f.regs.cc&1 != 0 {
			s.f.regs.cc = 0
			s.f.disable()
		}
		s.f.dropMaps()
		s.f.vectors = nil
		s.f.note("client left")
	}()
	for first := true; ; first = false {
		if s.f.gone.Load() {
			return
		}
		head, payload, fds, err := readMessage(c)
		if err != nil {
			return
		}
		le := binary.LittleEndian
		cmd := le.Uint16(head[2:])
		if first && cmd != 1 {
			return
		}
		reply, out, errno := s.answer(cmd, payload, fds)
		for _, fd := range fds {
			unix.Close(fd)
		}
		if err := writeReply(c, head, reply, out, errno); err != nil || (cmd == 1 && errno != 0) {
			return
		}
	}
}

// readMessage takes header and payload; the descriptors come with the header.
func readMessage(c *net.UnixConn) (head, payload []byte, fds []int, err error) {
	head = make([]byte, 16)
	oob := make([]byte, unix.CmsgSpace(4*16))
	n, oobn, _, _, err := c.ReadMsgUnix(head, oob)
	if err != nil {
		return nil, nil, nil, err
	}
	if n != 16 {
		return nil, nil, nil, errors.New("nvmetest: part of a header") // a real server drops the client as well
	}
	if oobn > 0 {
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return nil, nil, nil, err
		}
		for i := range msgs {
			got, err := unix.ParseUnixRights(&msgs[i])
			if err != nil {
				return nil, nil, nil, err
			}
			fds = append(fds, got...)
		}
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size < 16 || size > 1<<20 {
		return nil, nil, nil, fmt.Errorf("nvmetest: message of %d bytes", size)
	}
	payload = make([]byte, size-16)
	_, err = io.ReadFull(c, payload)
	return head, payload, fds, err
}

func writeReply(c *net.UnixConn, head, payload []byte, fds []int, errno unix.Errno) error {
	le := binary.LittleEndian
	msg := make([]byte, 16, 16+len(payload))
	copy(msg, head[:4])
	flags := uint32(1)
	if errno != 0 {
		flags |= 0x20
		payload = nil
	}
	le.PutUint32(msg[4:], uint32(16+len(payload)))
	le.PutUint32(msg[8:], flags)
	le.PutUint32(msg[12:], uint32(errno))
	msg = append(msg, payload...)
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(msg, oob, nil)
	return err
}

// answer executes one command.
func (s *Server) answer(cmd uint16, p []byte, fds []int) (reply []byte, out []int, errno unix.Errno) {
	le := binary.LittleEndian
	switch cmd {
	case 1:
		if len(p) < 4 || le.Uint16(p) != 0 || (len(p) > 4 && p[len(p)-1] != 0) {
			return nil, nil, unix.EINVAL
		}
		return append([]byte{0, 0, 1, 0}, "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}\x00"...), nil, 0
	case 2:
		return nil, nil, s.mapDMA(p, fds)
	case 3:
		if len(p) != 24 || s.f.UnmapDMA(le.Uint64(p[8:])) != nil {
			return nil, nil, unix.ENOENT
		}
		return p, nil, 0
	case 4:
		b := le.AppendUint32(nil, 16)
		b = le.AppendUint32(b, 3)
		b = le.AppendUint32(b, 9)
		return le.AppendUint32(b, 5), nil, 0
	case 5:
		if len(p) != 32 {
			return nil, nil, unix.EINVAL
		}
		return s.regionInfo(le.Uint32(p), le.Uint32(p[8:]))
	case 7:
		counts := []uint32{1, 0, uint32(s.f.cfg.Vectors), 1, 1}
		if len(p) != 16 || le.Uint32(p[8:]) > 4 {
			return nil, nil, unix.EINVAL
		}
		return append(append([]byte{}, p[:12]...), le.AppendUint32(nil, counts[le.Uint32(p[8:])])...), nil, 0
	case 8:
		return nil, nil, s.setIRQs(p, fds)
	case 9:
		return s.regionRead(p)
	case 10:
		return s.regionWrite(p)
	case 13:
		return nil, nil, 0
	}
	return nil, nil, unix.EINVAL
}

func (s *Server) mapDMA(p []byte, fds []int) unix.Errno {
	le := binary.LittleEndian
	if len(p) != 32 || len(fds) != 1 || le.Uint32(p[4:]) != 3 {
		return unix.EINVAL
	}
	off, iova, size := le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[24:])
	b, err := unix.Mmap(fds[0], int64(off), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return unix.EINVAL
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	for _, m := range s.f.maps {
		if iova < m.iova+uint64(len(m.mem)) && m.iova < iova+size {
			unix.Munmap(b)
			return unix.EINVAL
		}
	}
	s.f.maps = append(s.f.maps, mapping{iova: iova, mem: b, own: true})
	return 0
}

// regionInfo describes BAR 0 with one sparse area for the doorbells. The descriptor comes only when the client has
// room for the capability.
func (s *Server) regionInfo(argsz, index uint32) ([]byte, []int, unix.Errno) {
	le := binary.LittleEndian
	size, flags := uint64(0), uint32(0)
	switch index {
	case 0:
		size, flags = 0x2000, 3
	case 7:
		size, flags = 4096, 3
	}
	var fds []int
	capOffset, need := uint32(0), uint32(32)
	if index == 0 && !s.f.cfg.Unmapped {
		need = 64
		flags |= 4
		if argsz >= need {
			flags |= 8
			capOffset = 32
			fds = []int{s.f.bellFD}
		}
	}
	b := le.AppendUint32(nil, need)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, index)
	b = le.AppendUint32(b, capOffset)
	b = le.AppendUint64(b, size)
	b = le.AppendUint64(b, 0) // where the region starts in the file
	if capOffset != 0 {
		b = append(b, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
		b = le.AppendUint64(b, 0x1000)
		b = le.AppendUint64(b, 0x1000)
	}
	return b, fds, 0
}

func (s *Server) setIRQs(p []byte, fds []int) unix.Errno {
	le := binary.LittleEndian
	if len(p) < 20 || int(le.Uint32(p[16:])) != len(fds) {
		return unix.EINVAL
	}
	index, start := le.Uint32(p[8:]), int(le.Uint32(p[12:]))
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	switch index {
	case 2:
		if len(fds) == 0 {
			s.f.vectors = nil
		}
		for i, fd := range fds {
			for len(s.f.vectors) <= start+i {
				s.f.vectors = append(s.f.vectors, -1)
			}
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return unix.EINVAL
			}
			s.f.vectors[start+i] = own
		}
	case 4:
		if len(fds) == 1 {
			own, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return unix.EINVAL
			}
			unix.Close(s.f.request)
			s.f.request = own
		}
	default:
		return unix.EINVAL
	}
	return 0
}

func (s *Server) regionRead(p []byte) ([]byte, []int, unix.Errno) {
	le := binary.LittleEndian
	if len(p) != 16 {
		return nil, nil, unix.EINVAL
	}
	off, index, n := le.Uint64(p), le.Uint32(p[8:]), le.Uint32(p[12:])
	b := append([]byte{}, p...)
	switch {
	case index == 7 && n <= 4096:
		c := make([]byte, n)
		if s.f.ReadConfig(off, c) != nil {
			return nil, nil, unix.EINVAL
		}
		return append(b, c...), nil, 0
	case index == 0 && off >= 0x1000:
		return nil, nil, unix.EPERM
	case index == 0 && n == 4:
		v, err := s.f.Load32(0, off)
		if err != nil {
			return nil, nil, unix.EINVAL
		}
		return le.AppendUint32(b, v), nil, 0
	case index == 0 && n == 8:
		v, err := s.f.Load64(0, off)
		if err != nil {
			return nil, nil, unix.EINVAL
		}
		return le.AppendUint64(b, v), nil, 0
	}
	return nil, nil, unix.EINVAL
}

func (s *Server) regionWrite(p []byte) ([]byte, []int, unix.Errno) {
	le := binary.LittleEndian
	if len(p) < 16 || int(le.Uint32(p[12:])) != len(p)-16 {
		return nil, nil, unix.EINVAL
	}
	off, index, data := le.Uint64(p), le.Uint32(p[8:]), p[16:]
	var err error
	switch {
	case index == 7:
		err = s.f.WriteConfig(off, data)
	case index == 0 && len(data) == 4:
		err = s.f.Store32(0, off, le.Uint32(data))
	case index == 0 && len(data) == 8 && off < 0x1000:
		err = s.f.Store64(0, off, le.Uint64(data))
	default:
		err = os.ErrInvalid
	}
	if err != nil {
		return nil, nil, unix.EINVAL
	}
	return p[:16], nil, 0
}

package nvmetest

import (
	"bytes"
	"encoding/binary"
)

const (
	opFlush              = 0x00
	opWrite              = 0x01
	opRead               = 0x02
	opWriteUncorrectable = 0x04
	opCompare            = 0x05
	opWriteZeroes        = 0x08
	opDSM                = 0x09
	opVerify             = 0x0c
	opCopy               = 0x19
)

type namespace struct {
	blocks    uint64
	blockSize int
	metadata  int
	noiob     uint16
	data      []byte
	meta      []byte
	bad       map[uint64]bool // written uncorrectable
}

func newNamespace(c NamespaceConfig) *namespace {
	def(&c.BlockSize, 512)
	return &namespace{
		blocks: c.Blocks, blockSize: c.BlockSize, metadata: c.Metadata, noiob: c.NOIOB,
		data: make([]byte, c.Blocks*uint64(c.BlockSize)), meta: make([]byte, c.Blocks*uint64(c.Metadata)),
		bad: map[uint64]bool{},
	}
}

func (f *Controller) namespace(nsid uint32) *namespace {
	if nsid == 0 || nsid > uint32(len(f.ns)) {
		return nil
	}
	return f.ns[nsid-1]
}

// Data is a copy of the contents of a namespace.
func (f *Controller) Data(nsid uint32) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.ns[nsid-1].data)
}

// Edit lets a test change the contents of a namespace.
func (f *Controller) Edit(nsid uint32, change func(data []byte)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.ns[nsid-1].data)
}

func (n *namespace) span(c *Command) (slba, count uint64) {
	return uint64(c.Dword(10)) | uint64(c.Dword(11))<<32, uint64(c.Dword(12)&0xffff) + 1
}

func (n *namespace) bytes(c *Command) int {
	_, count := n.span(c)
	return int(count) * n.blockSize
}

// execute runs a command and completes it.
func (f *Controller) execute(sq *subQueue, c *Command) {
	if f.sqs[sq.id] != sq {
		return // the queue has been deleted in the meantime
	}
	f.finishSanitize()
	if c.Queue == 0 {
		status, dw0, later := f.admin(c)
		if !later {
			f.complete(sq, c.CID, status, dw0)
		}
		return
	}
	f.complete(sq, c.CID, f.io(c), 0)
}

func (f *Controller) io(c *Command) uint16 {
	if f.sani.running {
		return sanitizing
	}
	n := f.namespace(c.NSID)
	if n == nil && (c.Opcode != opFlush || c.NSID != 0xffffffff) {
		return invalidNS
	}
	switch c.Opcode {
	case opFlush:
		return ok
	case opDSM:
		return f.dsm(n, c)
	case opCopy:
		return f.copy(n, c)
	case opRead, opWrite, opCompare, opWriteZeroes, opVerify, opWriteUncorrectable:
	default:
		return invalidOpcode
	}
	slba, count := n.span(c)
	if slba >= n.blocks || count > n.blocks-slba {
		return lbaRange
	}
	if c.Opcode != opWriteZeroes && c.Opcode != opVerify && c.Opcode != opWriteUncorrectable &&
		int(count)*n.blockSize > 4096<<f.cfg.MDTS {
		return invalidField
	}
	return f.readWrite(n, c, slba, count)
}

func (f *Controller) readWrite(n *namespace, c *Command, slba, count uint64) uint16 {
	at := n.data[slba*uint64(n.blockSize):][:int(count)*n.blockSize]
	switch c.Opcode {
	case opWriteZeroes:
		clear(at)
		n.mark(slba, count, false)
		return ok
	case opWriteUncorrectable:
		n.mark(slba, count, true)
		return ok
	case opVerify:
		return n.readable(slba, count)
	case opRead:
		if s := n.readable(slba, count); s != ok {
			return s
		}
		if s := f.moveMeta(n, c, slba, count, false); s != ok {
			return s
		}
		return f.sendData(c, at)
	case opWrite:
		if s := f.moveMeta(n, c, slba, count, true); s != ok {
			return s
		}
		n.mark(slba, count, false)
		return f.receiveData(c, at)
	default: // compare
		if s := n.readable(slba, count); s != ok {
			return s
		}
		got := make([]byte, len(at))
		if s := f.receiveData(c, got); s != ok {
			return s
		}
		if !bytes.Equal(got, at) {
			return compareFailure
		}
		return ok
	}
}

// moveMeta moves the separate metadata, at MPTR.
func (f *Controller) moveMeta(n *namespace, c *Command, slba, count uint64, write bool) uint16 {
	if n.metadata == 0 {
		return ok
	}
	size := int(count) * n.metadata
	b := f.translate(binary.LittleEndian.Uint64(c.raw[16:]), size)
	if b == nil {
		return transferError
	}
	at := n.meta[slba*uint64(n.metadata):][:size]
	if write {
		copy(at, b)
	} else {
		copy(b, at)
	}
	return ok
}

func (n *namespace) mark(slba, count uint64, bad bool) {
	for i := range count {
		if bad {
			n.bad[slba+i] = true
		} else {
			delete(n.bad, slba+i)
		}
	}
}

func (n *namespace) readable(slba, count uint64) uint16 {
	if len(n.bad) == 0 {
		return ok
	}
	for i := range count {
		if n.bad[slba+i] {
			return unrecoveredRead
		}
	}
	return ok
}

func (f *Controller) dsm(n *namespace, c *Command) uint16 {
	count := int(c.Dword(10)&0xff) + 1
	list := make([]byte, 16*count)
	if s := f.receiveData(c, list); s != ok {
		return s
	}
	for i := range count {
		r := list[16*i:]
		blocks, slba := uint64(binary.LittleEndian.Uint32(r[4:])), binary.LittleEndian.Uint64(r[8:])
		if slba >= n.blocks || blocks > n.blocks-slba {
			return lbaRange
		}
		if c.Dword(11)&4 != 0 {
			clear(n.data[slba*uint64(n.blockSize):][:int(blocks)*n.blockSize])
			n.mark(slba, blocks, false)
		}
	}
	return ok
}

func (f *Controller) copy(n *namespace, c *Command) uint16 {
	count := int(c.Dword(12)&0xff) + 1
	list := make([]byte, 32*count)
	if s := f.receiveData(c, list); s != ok {
		return s
	}
	to := uint64(c.Dword(10)) | uint64(c.Dword(11))<<32
	var all []byte
	for i := range count {
		r := list[32*i:]
		slba, blocks := binary.LittleEndian.Uint64(r[8:]), uint64(binary.LittleEndian.Uint16(r[16:]))+1
		if slba >= n.blocks || blocks > n.blocks-slba {
			return lbaRange
		}
		if s := n.readable(slba, blocks); s != ok {
			return s
		}
		all = append(all, n.data[slba*uint64(n.blockSize):][:int(blocks)*n.blockSize]...)
	}
	blocks := uint64(len(all) / n.blockSize)
	if to >= n.blocks || blocks > n.blocks-to {
		return lbaRange
	}
	copy(n.data[to*uint64(n.blockSize):], all)
	n.mark(to, blocks, false)
	return ok
}

// dataPointers walks PRPs or the one SGL descriptor and returns the pieces of memory.
func (f *Controller) dataPointers(c *Command, n int) ([][]byte, bool) {
	le := binary.LittleEndian
	first, second := le.Uint64(c.raw[24:]), le.Uint64(c.raw[32:])
	if c.raw[1]>>6 != 0 {
		// SGL data block: length in the low dword, type in the top byte.
		if !f.cfg.SGL || second>>56 != 0 || int(uint32(second)) != n {
			return nil, false
		}
		b := f.translate(first, n)
		f.parts = append(f.parts[:0], b)
		return f.parts, b != nil
	}
	parts := f.parts[:0]
	defer func() { f.parts = parts }()
	add := func(iova uint64, k int) bool {
		b := f.translate(iova, k)
		parts = append(parts, b)
		n -= k
		return b != nil
	}
	if !add(first, min(n, 4096-int(first%4096))) {
		return nil, false
	}
	if n == 0 {
		return parts, true
	}
	if n <= 4096 {
		return parts, second%4096 == 0 && second != 0 && add(second, n)
	}
	for list := second; ; {
		page := f.translate(list, 4096-int(list%4096))
		if page == nil || list%8 != 0 {
			return nil, false
		}
		for i := 0; i+8 <= len(page); i += 8 {
			e := le.Uint64(page[i:])
			if i+16 > len(page) && n > 4096 {
				list = e // the last entry of a full page points to the next list
				break
			}
			if e%4096 != 0 || !add(e, min(n, 4096)) {
				return nil, false
			}
			if n == 0 {
				return parts, true
			}
		}
	}
}

// sendData moves b to the host.
func (f *Controller) sendData(c *Command, b []byte) uint16 {
	parts, good := f.dataPointers(c, len(b))
	if !good {
		return transferError
	}
	for _, p := range parts {
		b = b[copy(p, b):]
	}
	return ok
}

// receiveData moves data from the host.
func (f *Controller) receiveData(c *Command, b []byte) uint16 {
	parts, good := f.dataPointers(c, len(b))
	if !good {
		return transferError
	}
	for _, p := range parts {
		b = b[copy(b, p):]
	}
	return ok
}

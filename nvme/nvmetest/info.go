package nvmetest

import (
	"encoding/binary"
	"time"
)

// identify fills the structures byte by byte, at the offsets of the specification.
func (f *Controller) identify(c *Command) uint16 {
	le := binary.LittleEndian
	b := make([]byte, 4096)
	switch uint8(c.Dword(10)) {
	case 0x00:
		n := f.namespace(c.NSID)
		if n == nil {
			return invalidNS
		}
		n.identify(b)
	case 0x01:
		f.identifyController(b)
	case 0x02:
		i := 0
		for id := range uint32(len(f.ns)) {
			if id+1 > c.NSID {
				le.PutUint32(b[4*i:], id+1)
				i++
			}
		}
	case 0x03:
		if f.namespace(c.NSID) == nil {
			return invalidNS
		}
		b[0], b[1] = 1, 8 // EUI64
		le.PutUint64(b[4:], 0x1122334455667700+uint64(c.NSID))
		b[12], b[13] = 3, 16 // UUID
		for i := range 16 {
			b[16+i] = byte(i) + byte(c.NSID)
		}
	default:
		return invalidField
	}
	return f.sendData(c, b)
}

func (f *Controller) identifyController(b []byte) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], 0x1b36)
	le.PutUint16(b[2:], 0x1af4)
	copy(b[4:24], pad(f.cfg.Serial, 20))
	copy(b[24:64], pad("nvmetest controller", 40))
	copy(b[64:72], pad("1.0", 8))
	b[77] = f.cfg.MDTS
	le.PutUint16(b[78:], 1)
	le.PutUint32(b[80:], 0x20000)
	le.PutUint32(b[92:], 1<<8) // OAES: namespace attribute changed
	b[111] = 1
	oacs := uint16(1 << 1)
	if f.cfg.Shadow {
		oacs |= 1 << 8
	}
	le.PutUint16(b[256:], oacs)
	b[258], b[259] = 3, 3 // ACL, AERL
	b[260] = 2            // one firmware slot
	b[261] = 1 << 1       // effects log
	b[262] = 3            // four error log entries
	le.PutUint16(b[266:], 343)
	le.PutUint16(b[268:], 373)
	le.PutUint32(b[272:], f.cfg.HMPRE)
	le.PutUint32(b[276:], f.cfg.HMMIN)
	le.PutUint32(b[328:], 3) // SANICAP: crypto and block erase
	le.PutUint16(b[336:], f.cfg.HMMAXD)
	b[512], b[513] = 0x66, 0x44
	le.PutUint32(b[516:], uint32(len(f.ns)))
	le.PutUint16(b[520:], 1|2|4|8|1<<7|1<<8) // compare, write uncorrectable, DSM, write zeroes, verify, copy
	b[525] = 1                               // VWC
	if f.cfg.SGL {
		le.PutUint32(b[536:], 1)
	}
	copy(b[768:], "nqn.2014-08.org.example:fake:"+f.cfg.Serial)
}

func (n *namespace) identify(b []byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], n.blocks)
	le.PutUint64(b[8:], n.blocks)
	le.PutUint64(b[16:], n.blocks)
	b[33] = 1 // deallocated blocks read as zeroes
	le.PutUint16(b[46:], n.noiob)
	le.PutUint16(b[74:], 128) // MSSRL
	le.PutUint32(b[76:], 512) // MCL
	b[80] = 15                // MSRC
	shift := byte(0)
	for 1<<shift < n.blockSize {
		shift++
	}
	le.PutUint16(b[128:], uint16(n.metadata))
	b[130] = shift
}

func pad(s string, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = ' '
	}
	copy(b, s)
	return b
}

func (f *Controller) getLog(c *Command) uint16 {
	le := binary.LittleEndian
	n := (int(c.Dword(10)>>16) | int(c.Dword(11)&0xffff)<<16) + 1
	n *= 4
	if n > 4096<<f.cfg.MDTS {
		return invalidField
	}
	page := make([]byte, 8192)
	switch uint8(c.Dword(10)) {
	case 0x01:
		le.PutUint64(page, 0)
	case 0x02:
		le.PutUint16(page[1:], 310)
		page[3], page[4] = 100, 10
		le.PutUint64(page[112:], 7)
	case 0x03:
		page[0] = 1
		copy(page[8:], "1.0     ")
	case 0x05:
		for _, op := range []int{0, 1, 2, 4, 5, 6, 8, 9, 0xa, 0xc, 0x80, 0x84} {
			le.PutUint32(page[4*op:], 1)
		}
		for _, op := range []int{0, 1, 2, 4, 5, 8, 9, 0xc, 0x19} {
			le.PutUint32(page[1024+4*op:], 1)
		}
	case 0x81:
		f.sanitizeLog(page)
	default:
		return badLogPage
	}
	off := int(c.Dword(12))
	if off+n > len(page) {
		return invalidField
	}
	return f.sendData(c, page[off:off+n])
}

// sanitizeTime is how long a sanitize operation takes.
const sanitizeTime = 60 * time.Millisecond

func (f *Controller) sanitize(c *Command) uint16 {
	if f.sani.running {
		return sanitizing
	}
	switch c.Dword(10) & 7 {
	case 1: // exit failure mode
		return ok
	case 2, 4: // block erase, crypto erase
	default:
		return invalidField
	}
	for _, n := range f.ns {
		clear(n.data)
		n.bad = map[uint64]bool{}
	}
	f.sani = sanitizeState{running: true, started: time.Now(), took: sanitizeTime, dw10: c.Dword(10)}
	f.note("sanitize %d", c.Dword(10)&7)
	return ok
}

func (f *Controller) finishSanitize() {
	if f.sani.running && time.Since(f.sani.started) >= f.sani.took {
		f.sani.running = false
		f.sani.status = 1 | 1<<8
		f.eventNow = append(f.eventNow, 6|1<<8|0x81<<16)
		f.deliverEvents()
	}
}

func (f *Controller) sanitizeLog(page []byte) {
	le := binary.LittleEndian
	f.finishSanitize()
	progress, status := uint16(0xffff), f.sani.status
	if f.sani.running {
		progress = uint16(65535 * int64(time.Since(f.sani.started)) / int64(f.sani.took))
		status = 2
	}
	le.PutUint16(page, progress)
	le.PutUint16(page[2:], status)
	le.PutUint32(page[4:], f.sani.dw10)
	for i := range 6 {
		le.PutUint32(page[8+4*i:], 0xffffffff)
	}
}

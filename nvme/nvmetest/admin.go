package nvmetest

import (
	"encoding/binary"
	"time"
)

// Status values: SCT in bits 10:8, SC in 7:0, Do Not Retry in bit 14.
const (
	ok              = 0
	dnr             = 0x4000
	invalidOpcode   = dnr | 0x001
	invalidField    = dnr | 0x002
	transferError   = 0x004
	abortRequested  = 0x007
	sqDeleted       = 0x008
	invalidNS       = dnr | 0x00b
	sanitizing      = 0x01d
	lbaRange        = dnr | 0x080
	badCQ           = dnr | 0x100
	badQueueID      = dnr | 0x101
	badQueueSize    = dnr | 0x102
	eventLimit      = dnr | 0x105
	badLogPage      = dnr | 0x109
	badDeletion     = dnr | 0x10c
	unrecoveredRead = 0x281
	compareFailure  = 0x285
	sequenceError   = dnr | 0x00c
)

// state is what a controller reset forgets.
type state struct {
	features   map[uint8]uint32
	shadow     uint64
	eventPage  uint64
	rings      int
	hostMemory []mapping // as the driver described it: address and length only
	hmEnabled  bool
}

// sanitizeState outlives a reset.
type sanitizeState struct {
	running bool
	started time.Time
	took    time.Duration
	status  uint16
	dw10    uint32
}

func (f *Controller) initState() {
	f.state = state{features: map[uint8]uint32{
		0x01: 0, 0x02: 0, 0x04: 353, 0x05: 0, 0x06: 1, 0x07: 0, 0x08: 0, 0x09: 0, 0x0a: 0, 0x0b: 0,
	}}
}

// admin executes an admin command and says how it ends; later is true when it has no completion now.
func (f *Controller) admin(c *Command) (status uint16, dw0 uint32, later bool) {
	switch c.Opcode {
	case 0x00:
		return f.deleteSQ(c)
	case 0x01:
		return f.createSQ(c), 0, false
	case 0x04:
		return f.deleteCQ(c), 0, false
	case 0x05:
		return f.createCQ(c), 0, false
	case 0x02:
		return f.getLog(c), 0, false
	case 0x06:
		return f.identify(c), 0, false
	case 0x08:
		return f.abort(c)
	case 0x09:
		s, d := f.setFeature(c)
		return s, d, false
	case 0x0a:
		s, d := f.getFeature(c)
		return s, d, false
	case 0x0c:
		if len(f.events) >= 4 {
			return eventLimit, 0, false
		}
		f.events = append(f.events, *c)
		f.deliverEvents()
		return 0, 0, true
	case 0x7c:
		if !f.cfg.Shadow {
			return invalidOpcode, 0, false
		}
		return f.shadowConfig(c), 0, false
	case 0x80:
		return f.format(c), 0, false
	case 0x84:
		return f.sanitize(c), 0, false
	}

	return invalidOpcode, 0, false
}

func (f *Controller) createCQ(c *Command) uint16 {
	id, size := uint16(c.Dword(10)), c.Dword(10)>>16+1
	switch {
	case id == 0 || int(id) > f.cfg.MaxQueues || f.cqs[id] != nil:
		return badQueueID
	case size < 2 || size > uint32(f.cfg.MQES)+1:
		return badQueueSize
	case c.Dword(11)&1 == 0:
		return invalidField // CAP.CQR
	}
	base := binary.LittleEndian.Uint64(c.raw[24:])
	if f.translate(base, int(size)*16) == nil {
		return transferError
	}
	f.cqs[id] = &compQueue{
		id: id, base: base, size: size, phase: 1, interrupt: c.Dword(11)&2 != 0, vector: uint16(c.Dword(11) >> 16),
	}
	f.setBell(2*uint32(id)+1, 0)
	f.note("create cq %d", id)
	return ok
}

func (f *Controller) createSQ(c *Command) uint16 {
	id, size := uint16(c.Dword(10)), c.Dword(10)>>16+1
	cq := uint16(c.Dword(11) >> 16)
	switch {
	case id == 0 || int(id) > f.cfg.MaxQueues || f.sqs[id] != nil:
		return badQueueID
	case size < 2 || size > uint32(f.cfg.MQES)+1:
		return badQueueSize
	case cq == 0 || f.cqs[cq] == nil:
		return badCQ
	}
	base := binary.LittleEndian.Uint64(c.raw[24:])
	if f.translate(base, int(size)*64) == nil {
		return transferError
	}
	f.sqs[id] = &subQueue{id: id, cq: cq, base: base, size: size}
	f.setBell(2*uint32(id), 0)
	f.note("create sq %d", id)
	return ok
}

// deleteSQ aborts what the queue still holds, then is done.
func (f *Controller) deleteSQ(c *Command) (uint16, uint32, bool) {
	id := uint16(c.Dword(10))
	sq := f.sqs[id]
	if id == 0 || sq == nil {
		return badQueueID, 0, false
	}
	if f.knobs.IgnoreDelete {
		f.held = append(f.held, &held{cmd: *c, sq: f.sqs[0]})
		f.note("delete sq %d ignored", id)
		return 0, 0, true
	}
	var keep []*held
	for _, h := range f.held {
		if h.sq != sq {
			keep = append(keep, h)
			continue
		}
		f.complete(sq, h.cmd.CID, sqDeleted, 0)
	}
	f.held = keep
	sq.gone = true
	delete(f.sqs, id)
	f.note("delete sq %d", id)
	return ok, 0, false
}

func (f *Controller) deleteCQ(c *Command) uint16 {
	id := uint16(c.Dword(10))
	if id == 0 || f.cqs[id] == nil {
		return badQueueID
	}
	for _, sq := range f.sqs {
		if sq.cq == id {
			return badDeletion
		}
	}
	delete(f.cqs, id)
	f.note("delete cq %d", id)
	return ok
}

// abort ends a held command. Dword 0 bit 0 says that nothing was aborted.
func (f *Controller) abort(c *Command) (uint16, uint32, bool) {
	sqid, cid := uint16(c.Dword(10)), uint16(c.Dword(10)>>16)
	f.note("abort sq %d", sqid)
	if f.knobs.IgnoreAbort {
		return ok, 1, false
	}
	for i, h := range f.held {
		if h.sq.id == sqid && h.cmd.CID == cid {
			f.held = append(f.held[:i], f.held[i+1:]...)
			f.complete(h.sq, cid, abortRequested, 0)
			return ok, 0, false
		}
	}
	return ok, 1, false
}

func (f *Controller) deliverEvents() {
	for len(f.events) > 0 && len(f.eventNow) > 0 && f.sqs[0] != nil {
		f.complete(f.sqs[0], f.events[0].CID, ok, f.eventNow[0])
		f.events, f.eventNow = f.events[1:], f.eventNow[1:]
	}
}

func (f *Controller) setFeature(c *Command) (uint16, uint32) {
	fid, v := uint8(c.Dword(10)), c.Dword(11)
	switch fid {
	case 0x07:
		if len(f.sqs) > 1 {
			return sequenceError, 0
		}
		n := min(uint32(f.cfg.MaxQueues)-1, v&0xffff, v>>16)
		f.state.features[7] = n<<16 | n
		return ok, n<<16 | n
	case 0x0d:
		return f.setHostMemory(c), 0
	}
	if _, known := f.state.features[fid]; !known {
		return invalidField, 0
	}
	f.state.features[fid] = v
	return ok, 0
}

func (f *Controller) getFeature(c *Command) (uint16, uint32) {
	fid := uint8(c.Dword(10))
	if fid == 0x0d {
		if f.state.hmEnabled {
			return ok, 1
		}
		return ok, 0
	}
	v, known := f.state.features[fid]
	if !known {
		return invalidField, 0
	}
	return ok, v
}

// setHostMemory reads the descriptor list and uses the memory: it writes a signature into every chunk.
func (f *Controller) setHostMemory(c *Command) uint16 {
	if c.Dword(11)&1 == 0 {
		for _, m := range f.state.hostMemory {
			if b := f.translate(m.iova, 8); b == nil {
				return transferError
			}
		}
		f.state.hmEnabled, f.state.hostMemory = false, nil
		f.note("host memory off")
		return ok
	}
	if f.state.hmEnabled {
		return sequenceError
	}
	pages, count := c.Dword(12), c.Dword(15)
	list := f.translate(uint64(c.Dword(13))|uint64(c.Dword(14))<<32, int(count)*16)
	if list == nil || (f.cfg.HMMAXD != 0 && count > uint32(f.cfg.HMMAXD)) || pages < f.cfg.HMMIN {
		return invalidField
	}
	total := uint32(0)
	for i := range count {
		addr := binary.LittleEndian.Uint64(list[16*i:])
		n := binary.LittleEndian.Uint32(list[16*i+8:])
		b := f.translate(addr, int(n)*4096)
		if b == nil {
			return transferError
		}
		binary.LittleEndian.PutUint64(b, 0x484d42<<32|uint64(i))
		f.state.hostMemory = append(f.state.hostMemory, mapping{iova: addr})
		total += n
	}
	if total != pages {
		return invalidField
	}
	f.state.hmEnabled = true
	f.note("host memory %d pages in %d chunks, returned %d", total, count, c.Dword(11)>>1&1)
	return ok
}

func (f *Controller) shadowConfig(c *Command) uint16 {
	a, b := binary.LittleEndian.Uint64(c.raw[24:]), binary.LittleEndian.Uint64(c.raw[32:])
	if a == b || a%4096 != 0 || b%4096 != 0 || f.translate(a, 4096) == nil || f.translate(b, 4096) == nil {
		return invalidField
	}
	f.state.shadow, f.state.eventPage = a, b
	f.note("shadow doorbells")
	return ok
}

func (f *Controller) format(c *Command) uint16 {
	for i, n := range f.ns {
		if c.NSID == 0xffffffff || c.NSID == uint32(i+1) {
			clear(n.data)
			n.bad = map[uint64]bool{}
		}
	}
	f.note("format %d ses %d", c.NSID, c.Dword(10)>>9&7)
	return ok
}

package nbd

import (
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// piecesMax is how many separate pieces of a reply to a READ may be there before the gaps between them are filled. Servers send them in
// order, which is one piece.
const piecesMax = 8

// answer is what has come of the reply to one request. It holds the reply against the request; everything that does not fit is an error of
// the protocol. The zero value is ready for [answer.begin].
type answer struct {
	off    uint64 // of the request, bytes
	n      uint64 // bytes
	cmd    wire.Cmd
	pieces uint8
	status bool // a block status came
	code   wire.Errno
	text   string
	have   [piecesMax]piece // what has come of the data: sorted, apart from each other
}

// piece is a range relative to the request, bytes.
type piece struct{ from, to uint32 }

func (a *answer) begin(cmd wire.Cmd, off, n uint64) {
	a.off, a.n, a.cmd = off, n, cmd
	a.pieces, a.status, a.code = 0, false, wire.OK
	if a.text != "" {
		a.text = ""
	}
}

// data takes note of n bytes of content at off of the export, and says where in the request's buffer they belong.
func (a *answer) data(off, n uint64) (uint32, error) {
	if a.cmd != wire.CmdRead {
		return 0, broken("data in reply to %v", a.cmd)
	}
	if off < a.off || n == 0 || n > a.n || off-a.off > a.n-n {
		return 0, broken("data for %#x+%d in reply to READ of %#x+%d", off, n, a.off, a.n)
	}
	p := piece{uint32(off - a.off), uint32(off - a.off + n)}
	if k := a.pieces; k != 0 && a.have[k-1].to == p.from { // in order
		a.have[k-1].to = p.to
		return p.from, nil
	}
	return p.from, a.insert(p)
}

// insert puts a piece in its place and joins it to its neighbours.
func (a *answer) insert(p piece) error {
	i := 0
	for i < int(a.pieces) && a.have[i].to <= p.from {
		i++
	}
	if i < int(a.pieces) && a.have[i].from < p.to {
		return broken("data for %#x+%d twice in reply to READ of %#x+%d", a.off+uint64(p.from), p.to-p.from, a.off, a.n)
	}
	before := i > 0 && a.have[i-1].to == p.from
	after := i < int(a.pieces) && a.have[i].from == p.to
	switch {
	case before && after:
		a.have[i-1].to = a.have[i].to
		copy(a.have[i:], a.have[i+1:a.pieces])
		a.pieces--
	case before:
		a.have[i-1].to = p.to
	case after:
		a.have[i].from = p.from
	case a.pieces == piecesMax:
		return broken("more than %d pieces out of order in reply to READ of %#x+%d", piecesMax, a.off, a.n)
	default:
		copy(a.have[i+1:a.pieces+1], a.have[i:a.pieces])
		a.have[i] = p
		a.pieces++
	}
	return nil
}

// failed takes note of an error; the first one counts.
func (a *answer) failed(code wire.Errno, text []byte) {
	if a.code == wire.OK {
		a.code, a.text = code, string(text)
	}
}

// judge looks at the whole reply at its end: the server's error if there was one, and whether what should have come has come.
func (a *answer) judge() (refused *remote, err error) {
	switch {
	case a.code != wire.OK:
		return &remote{a.code, a.text}, nil
	case a.cmd == wire.CmdRead && (a.pieces != 1 || uint64(a.have[0].to-a.have[0].from) != a.n):
		return nil, broken("reply to READ of %#x+%d with data missing", a.off, a.n)
	case a.cmd == wire.CmdBlockStatus && !a.status:
		return nil, broken("reply to BLOCK_STATUS without a status of the context asked for")
	}
	return nil, nil
}

// chunk checks the header of a chunk against the request, as far as that can be told before its payload.
func (a *answer) chunk(r *wire.Reply, kind wire.Replies) error {
	ok := true
	switch r.Type {
	case wire.ChunkOffsetData:
		ok = a.cmd == wire.CmdRead && r.Len-wire.OffsetDataSize <= a.n
	case wire.ChunkOffsetHole:
		ok = a.cmd == wire.CmdRead
	case wire.ChunkBlockStatus, wire.ChunkBlockStatusExt:
		ok = a.cmd == wire.CmdBlockStatus && r.Len <= maxStatus && (r.Type == wire.ChunkBlockStatusExt) == (kind == wire.Extended)
	default: // errors and NONE go with all; others were refused before
	}
	if !ok {
		return broken("%v chunk of %d bytes in reply to %v of %d bytes", r.Type, r.Len, a.cmd, a.n)
	}
	if kind == wire.Extended && r.Off != a.off {
		return broken("chunk for offset %#x in reply to %v at %#x", r.Off, a.cmd, a.off)
	}
	return nil
}

// simple checks a simple reply: with structured replies agreed on, a READ is not answered by one.
func (a *answer) simple(r *wire.Reply, kind wire.Replies) error {
	if kind != wire.Simple && (a.cmd == wire.CmdRead || a.cmd == wire.CmdBlockStatus) && r.Err == wire.OK {
		return broken("simple reply to %v after structured replies were agreed on", a.cmd)
	}
	return nil
}

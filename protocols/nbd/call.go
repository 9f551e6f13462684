package nbd

import (
	"sync"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// call is one request of the blocking plane on its way.
type call struct {
	answer
	flags wire.CmdFlags
	buf   []byte            // where a READ goes, what a WRITE sends
	runs  []wire.Descriptor // what BLOCK_STATUS answered

	// Under the connection's mu:
	sent     bool // all of it is in the socket
	reading  bool // the reader is at buf
	orphan   bool // the caller is gone; buf is not to be touched
	finished bool
	err      error
	done     chan struct{}
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func newCall(cmd wire.Cmd, off, n uint64, flags wire.CmdFlags, buf []byte) *call {
	c := calls.Get().(*call)
	c.flags, c.buf = flags, buf
	c.begin(cmd, off, n)
	return c
}

// free gives a call back that is finished; nobody else knows it any more.
func (c *call) free() {
	c.buf, c.err, c.runs = nil, nil, c.runs[:0]
	c.sent, c.reading, c.finished = false, false, false
	calls.Put(c)
}

// again prepares a call for another connection.
func (c *call) again() {
	c.begin(c.cmd, c.off, c.n)
	c.err, c.runs = nil, c.runs[:0]
	c.sent, c.reading, c.finished = false, false, false
}

package nvmecmd

import (
	"context"
	"math/rand/v2"

	"github.com/blkbench/blkbench/nvme"
)

// canned is a controller that answers every command with data made from a seed or put down before, so that every bit
// of every structure occurs.
type canned struct {
	identify map[uint8][]byte
	logs     map[uint8][]byte
	feature  map[uint8][]byte
	dw0      uint32
	status   map[uint8]nvme.Status // by opcode; I/O opcodes are 0x100 and up
	seen     []string
}

func (c *canned) Name() string { return "canned" }

func (c *canned) Admin(_ context.Context, cmd *nvme.Command, data []byte) (nvme.Completion, error) {
	c.seen = append(c.seen, describe(true, cmd, data, nil))
	if s := c.status[cmd.Opcode]; s != 0 {
		return nvme.Completion{Status: s}, &nvme.StatusError{Status: s, Opcode: cmd.Opcode, Admin: true, NSID: cmd.NSID}
	}
	switch cmd.Opcode {
	case nvme.OpIdentify:
		copy(data, c.identify[uint8(cmd.CDW10)])
	case nvme.OpGetLogPage:
		page := c.logs[uint8(cmd.CDW10)]
		off := uint64(cmd.CDW12) | uint64(cmd.CDW13)<<32
		if off < uint64(len(page)) {
			copy(data, page[off:])
		}
	case nvme.OpGetFeatures:
		copy(data, c.feature[uint8(cmd.CDW10)])
	}
	return nvme.Completion{DW0: c.dw0}, nil
}

func (c *canned) IO(_ context.Context, cmd *nvme.Command, data, meta []byte) (nvme.Completion, error) {
	c.seen = append(c.seen, describe(false, cmd, data, meta))
	if cmd.Opcode == nvme.OpRead {
		for i := range data {
			data[i] = byte('a' + i%26)
		}
		for i := range meta {
			meta[i] = byte('0' + i%10)
		}
	}
	return nvme.Completion{DW0: c.dw0}, nil
}

// noise is n bytes from a seed.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

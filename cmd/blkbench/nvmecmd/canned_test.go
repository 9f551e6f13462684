package nvmecmd

import (
	"context"
	"fmt"
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

// answer is what nvme-cli did and said.
type answer struct {
	stdout, stderr string
	code           int
	commands       []string // the commands that it sent
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

// describe is a command as tests compare it. Of data that goes to the controller the contents count as well.
func describe(admin bool, c *nvme.Command, data, meta []byte) string {
	queue := "io"
	if admin {
		queue = "admin"
	}
	s := fmt.Sprintf("%s %02x flags %x nsid %x cdw2 %x %x cdw10 %x %x %x %x %x %x data %d meta %d", queue, c.Opcode, c.Flags, c.NSID,
		c.CDW2, c.CDW3, c.CDW10, c.CDW11, c.CDW12, c.CDW13, c.CDW14, c.CDW15, len(data), len(meta))
	if c.Direction() == nvme.HostToController {
		s += fmt.Sprintf(" %x %x", data, meta)
	}
	return s
}

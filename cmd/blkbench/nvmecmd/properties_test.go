package nvmecmd

import (
	"context"
	"encoding/binary"
	"io"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
)

// properties is a controller whose registers are bytes, by the Fabrics command Property Get as well.
type properties struct {
	*canned
	nvme.Device
	raw []byte
}

func (p *properties) Name() string { return "properties" }

func (p *properties) Load32(_ int, off uint64) (uint32, error) {
	return binary.LittleEndian.Uint32(p.raw[off:]), nil
}

func (p *properties) Load64(_ int, off uint64) (uint64, error) {
	return binary.LittleEndian.Uint64(p.raw[off:]), nil
}

func (p *properties) Admin(ctx context.Context, cmd *nvme.Command, data []byte) (nvme.Completion, error) {
	const fabrics = 0x7f
	if cmd.Opcode != fabrics {
		return p.canned.Admin(ctx, cmd, data)
	}
	cp := nvme.Completion{DW0: binary.LittleEndian.Uint32(p.raw[cmd.CDW11:])}
	if cmd.CDW10&7 == 1 {
		cp.DW1 = binary.LittleEndian.Uint32(p.raw[cmd.CDW11+4:])
	}
	return cp, nil
}

// showSnapshot prints registers as show-regs with these options does.
func showSnapshot(w io.Writer, r *nvme.Registers, options string) {
	if strings.Contains(options, "json") {
		_ = show.JSON(w, show.RegistersJSON(r)) // w is memory
		return
	}
	show.Registers(w, r, strings.Contains(options, "-H"))
}

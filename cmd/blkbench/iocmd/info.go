package iocmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/formats/qcow2"
)

// info prints what the image is.
func info(_ context.Context, c *call) bool {
	in := c.s.ref.Info()
	cluster, vmState := int64(in.Limits.ClusterSize), int64(0)
	detail, _ := c.s.ref.Node().(interface{ Detail() *qcow2.Detail })
	if detail != nil {
		// Behind the disk, at the start of an L1 entry: where an image keeps the state of the machine.
		per := cluster * (cluster / 8)
		d := detail.Detail()
		if d.ExtendedL2 != nil && *d.ExtendedL2 {
			per /= 2
		}
		vmState = (c.s.ref.Size() + per - 1) / per * per
	}
	var b strings.Builder
	fmt.Fprintf(&b, "format name: %s\ncluster size: %s\nvm state offset: %s\n", in.Driver, sizeText(float64(cluster)), sizeText(float64(vmState)))
	err := imgcmd.WriteSpecific(&b, c.s.ref.Node())
	c.s.print(b.String())
	return c.result(err, "%s\n")
}

package pass

import "github.com/blkbench/blkbench/engine"

// Merge returns limits that suit several children.
func Merge(children []*engine.Ref) engine.Limits {
	var l engine.Limits
	least := func(a, b uint32) uint32 {
		if a == 0 || b == 0 {
			return max(a, b)
		}
		return min(a, b)
	}
	for _, c := range children {
		m := c.Info().Limits
		l.RequestAlign = max(l.RequestAlign, m.RequestAlign)
		l.MemAlign = max(l.MemAlign, m.MemAlign)
		l.MaxTransfer = least(l.MaxTransfer, m.MaxTransfer)
		l.OptTransfer = least(l.OptTransfer, m.OptTransfer)
		l.ClusterSize = max(l.ClusterSize, m.ClusterSize)
	}
	return l
}

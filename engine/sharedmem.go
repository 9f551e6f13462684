package engine

// MemorySharer is a leaf whose requests another process may carry out: it has to see the buffers, so that arenas for its queues are made
// with [dma.Config].Shared.
type MemorySharer interface {
	// SharesMemory reports whether it is so.
	SharesMemory() bool
}

// SharesMemory reports whether a node from r downwards needs its buffers in shared memory.
func SharesMemory(r *Ref) bool { return sharesMemory(r, 0) }

func sharesMemory(r *Ref, depth int) bool {
	if m, ok := r.Node().(MemorySharer); ok && m.SharesMemory() {
		return true
	}
	p, ok := r.Node().(Parent)
	if !ok || depth > maxDepth {
		return false
	}
	for _, c := range p.Children() {
		if sharesMemory(c.Ref, depth+1) {
			return true
		}
	}
	return false
}

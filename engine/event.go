package engine

import "sync/atomic"

// Event is a place in a driver's work that a fault filter below it is told of, so that errors and breakpoints can be set there. The names
// are QEMU's.
type Event uint8

// The events, in QEMU's order. A format announces them to its storage child just before the step.
const (
	EventL1Update Event = iota
	EventL1GrowAllocTable
	EventL1GrowWriteTable
	EventL1GrowActivateTable
	EventL2Load
	EventL2Update
	EventL2UpdateCompressed
	EventL2AllocCowRead
	EventL2AllocWrite
	EventReadAIO
	EventReadBackingAIO
	EventReadCompressed
	EventWriteAIO
	EventWriteCompressed
	EventVMStateLoad
	EventVMStateSave
	EventCowRead
	EventCowWrite
	EventReftableLoad
	EventReftableGrow
	EventReftableUpdate
	EventRefblockLoad
	EventRefblockUpdate
	EventRefblockUpdatePart
	EventRefblockAlloc
	EventRefblockAllocHookup
	EventRefblockAllocWrite
	EventRefblockAllocWriteBlocks
	EventRefblockAllocWriteTable
	EventRefblockAllocSwitchTable
	EventClusterAlloc
	EventClusterAllocBytes
	EventClusterFree
	EventFlushToOS
	EventFlushToDisk
	EventPwritevRMWHead
	EventPwritevRMWAfterHead
	EventPwritevRMWTail
	EventPwritevRMWAfterTail
	EventPwritev
	EventPwritevZero
	EventPwritevDone
	EventEmptyImagePrepare
	EventL1ShrinkWriteTable
	EventL1ShrinkFreeL2Clusters
	EventCorWrite
	EventClusterAllocSpace
	EventNone // once, when the filter is opened
	Events    // how many there are
)

var eventNames = [Events]string{
	"l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update", "l2_update_compressed",
	"l2_alloc_cow_read", "l2_alloc_write", "read_aio", "read_backing_aio", "read_compressed", "write_aio", "write_compressed", "vmstate_load",
	"vmstate_save", "cow_read", "cow_write", "reftable_load", "reftable_grow", "reftable_update", "refblock_load", "refblock_update",
	"refblock_update_part", "refblock_alloc", "refblock_alloc_hookup", "refblock_alloc_write", "refblock_alloc_write_blocks",
	"refblock_alloc_write_table", "refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os",
	"flush_to_disk", "pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail", "pwritev", "pwritev_zero",
	"pwritev_done", "empty_image_prepare", "l1_shrink_write_table", "l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space", "none",
}

func (e Event) String() string {
	if e < Events {
		return eventNames[e]
	}
	return "unknown event"
}

// ParseEvent finds an event by its name, with underscores or hyphens.
func ParseEvent(name string) (Event, bool) {
	for e, n := range eventNames {
		if sameEvent(n, name) {
			return Event(e), true
		}
	}
	return 0, false
}

func sameEvent(name, given string) bool {
	if len(name) != len(given) {
		return false
	}
	for i := range len(name) {
		if c := given[i]; c != name[i] && (c != '.' && c != '-' || name[i] != '_') {
			return false
		}
	}
	return true
}

// EventSink is a node that is told of the events of the node above it. It may hold the caller.
type EventSink interface {
	Event(e Event)
}

// eventSinks counts the open nodes that want to know of events, so that nobody looks for one where there is none.
var eventSinks atomic.Int32

// Event announces a step of the reference's user to the node below, where that is a fault filter; else it costs a comparison.
func (r *Ref) Event(e Event) {
	if r.st.events != nil {
		r.st.events.Event(e)
	}
}

// announceFlush tells the primary child of a node of the two halves of its flush.
func (r *Ref) announceFlush() {
	if eventSinks.Load() == 0 {
		return
	}
	if c := primaryChild(r.st.node); c != nil {
		c.Event(EventFlushToOS)
		c.Event(EventFlushToDisk)
	}
}

// watched reports whether a node's steps are announced to any of its children. Then all of its work is done by its blocking methods.
func watched(n Parent) bool {
	if eventSinks.Load() == 0 {
		return false
	}
	for _, c := range n.Children() {
		if c.Ref != nil && c.Ref.st.events != nil {
			return true
		}
	}
	return false
}

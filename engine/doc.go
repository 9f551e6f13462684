// Package engine is the contract between disk-image formats, filters and protocols on one side and workloads, conversions and
// servers on the other.
//
// The model in five nouns:
//
//   - A [Node] is one layer: a file, an NVMe namespace, a qcow2 image, a throttle. Drivers are written as plain blocking code.
//   - A [Ref] is a user's checked reference to a node. Every crossing from one layer to the next passes it; it checks range, access
//     and alignment, splits and bounces, and adds the context to errors, so that drivers hold no defensive code.
//   - A [Mapper] says where a range lives, from memory alone. A node that has one can be flattened.
//   - A [Queue] moves data without blocking, owned by one OS thread.
//   - A [Path] is a whole graph flattened into one Queue: it walks mappers and filters per request and submits to the leaf's queue.
//     What a mapper cannot answer goes to the slow lane: workers that call the node's blocking methods.
//
// Three planes: control (open, create, check: may block and allocate), blocking data (ReadAt and its kin), polled data (Path: never
// blocks, never allocates).
//
// # Grace periods
//
// A driver may publish a new mapping at any time. To move, share, shrink or free a range that was mapped it goes unpublish, drain,
// act: [Domain.Defer] runs the act when every Path and every blocking call that could have seen the old mapping has finished. See
// grace.go for the argument.
//
// # Lock order
//
// A driver's own locks come first, then the range lock of a child's Ref. Nothing is waited for on a Path's thread.
package engine

// Package throttle limits how many requests and bytes a second go through a node, as QEMU's throttle driver does: six leaky buckets
// (requests and bytes; all, reads, writes), each with an average rate, a burst rate and how long a burst may last. Nodes of one group share
// the buckets.
//
// # The model
//
//   - A [Group] has buckets. A request that finds every bucket it counts in below its brim goes at once, and is poured into them; else it
//     waits. A bucket leaks at the average rate; without a burst rate its brim is what leaks in 100 ms, with one it is burst rate × length,
//     and a second, smaller bucket that leaks at the burst rate keeps the burst itself in bounds.
//   - A [Member] is one node of a group. Members take turns: a member that has been served more than one that waits finds the brim one
//     request lower, so that the other goes first. Nothing else depends on who waits, so a member that goes away holds nobody up.
//   - What waits is charged when it goes, not when it comes: a rate is met however late a waiter wakes up, as long as the buckets have not
//     run dry meanwhile (100 ms).
//
// Both planes use the same calls: the polled one through [engine.Regulator], the blocking one in a loop around a timer.
//
// Where it differs from QEMU: discards and zeroes count as writes here as there, but a group is fair by what members were served and not
// by turns, so a member of large requests does not get more bytes out of a limit of bytes; limits can be given on the node itself, without a
// group; flushes are free.
//
// Locks: Group.mu is a leaf and held for arithmetic only.
package throttle

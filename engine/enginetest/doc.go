// Package enginetest is what drivers and the engine itself are tested with.
//
//   - [Node], [Queue] and [Mapper] are conformance suites: each sentence of the engine's contract is a subtest. A driver joins one by
//     saying how to open it.
//   - [Faults] makes the operations of a node go wrong by rules ([Rule]), in both planes; [EachFault] is the loop over them: fail the first
//     operation, then the second, until none fails any more.
//   - [Crash] is a device that remembers what was not flushed, and shows what could be left of it after a power cut.
//   - [Replay] runs a random history against a byte slice, the blocking plane and the polled plane of a graph, and shortens what fails.
//   - [Disk], [Shuffle], [Shift], [Delay] and [Opaque] are toy layers to build graphs of. They check how they are called.
//   - [Clock] is the engine's clock, moved by hand.
//
// Everything takes a [testing.TB] and reports by it; violations of the contract by the caller are errors of the test as well.
package enginetest

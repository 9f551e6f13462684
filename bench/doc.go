// Package bench runs measured workloads: it takes a plan (fio's jobs, package fiojob), opens the targets through the engine, drives
// them by polling, and returns what was found (package result).
//
// One worker is one OS thread: it owns a Poller, the Paths of its targets and a slab of requests with buffers in an arena. The worker
// fills free requests from its generator, submits them in one batch, and reaps. Nothing on that way locks, allocates or talks to another
// goroutine; at the end of each interval the worker hands its counters to the collector by one pointer (hist.Handover).
//
// # Time stamps
//
// Every request has its own: when it was made (open loop: when it should have started), when its batch had been handed over, and when it
// was seen complete. slat is from the first to the second, clat from the second to the third, lat from the first to the third.
package bench

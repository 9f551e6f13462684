// Package bench runs measured workloads: it takes a plan (fio's jobs, package fiojob), opens the targets through the engine, drives
// them by polling, and returns what was found (package result).
//
// One worker is one OS thread: it owns a Poller, the Paths of its targets and a slab of requests with buffers in an arena. The worker
// fills free requests from its source, submits them in one batch, and reaps. Nothing on that way locks, allocates or talks to another
// goroutine.
//
// # What is measured
//
// Everything that a result is made of is counted in intervals. At the end of each the worker hands its interval to the collector by one
// pointer (hist.Handover) and goes on with an empty one. The collector adds intervals up, keeps the time series, writes the logs and looks
// for the steady state. So a result can be had at any time, and of a worker that never comes back.
//
// Every request has its own stamps: when it was made (open loop: when it should have started), when its batch had been handed over, and
// when it was seen complete. slat is from the first to the second, clat from the second to the third, lat from the first to the third; with
// a rate, or a trace's times, lat counts from the intended start.
//
// # An interruption
//
// ends workers at their next look. Requests have a second to come back, then contexts are cancelled, and after another second the
// measurement ends without them.
//
// # Where this differs from fio
//
//   - Batches: unless iodepth_batch or iodepth_batch_complete_max are given, as many requests are submitted, and as many completions taken,
//     as there are; fio takes one by one.
//   - Verification (package verify) has headers of its own, and keeps the first bad block, and what should be there, as files unless
//     verify_dump=0. A job that only reads accepts blocks of any job unless verify_header_seed=1. Blocks left over by verify_backlog_batch
//     are checked later. The state is saved whenever what was written has not been read back.
//   - Errors that ignore_error lists are not counted.
//   - sync_file_range(2) is called by the job's own thread, whatever the engine.
//   - A trace that writes creates the files that are not there.
package bench

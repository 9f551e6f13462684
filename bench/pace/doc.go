// Package pace decides when requests start. It has no clock of its own: every
// call is told the time in nanoseconds, so that a test can run an hour in a
// millisecond and the measuring loop uses the stamp it has anyway.
//
//   - Closed loop: nothing of this package. A request starts when there is room.
//   - Open loop: a [Schedule] per direction says when a request was *meant* to
//     start. A request that could not start then, because the target stalled or
//     the queue was full, is late, and its latency counts from the intended
//     start. A stall of a second at a thousand requests a second shows as a
//     thousand latencies from a second downwards, not as one. (fio starts its
//     clock when a request is issued; its figures under a rate therefore leave
//     out the time that requests waited behind a stall.)
//   - [Think] interrupts the job after so many requests or so much time.
//   - [Controller] looks for the greatest depth that keeps a latency.
//   - [Floor] ends a job that does not reach a minimum rate.
//
// Who issues the requests does, in a loop: Pick the direction and its intended
// start; wait until then, completing what comes back; issue, and stamp the
// request with the intended start. A schedule never skips or shifts what was
// missed: it is made up for as fast as the target can.
package pace

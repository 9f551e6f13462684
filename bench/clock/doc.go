// Package clock stamps requests with nanoseconds of CLOCK_MONOTONIC at the
// cost of reading the processor's cycle counter.
//
// Model, in three nouns:
//
//   - the counter: the TSC on amd64 (used only when CPUID says it is
//     invariant), CNTVCT_EL0 on arm64. It is read without a fence, so a stamp
//     may move by the few instructions the processor has in flight, some ten
//     nanoseconds at worst.
//   - a line: nanoseconds = anchor + (ticks - anchor ticks) × rate, evaluated
//     with one widening multiplication. Lines are immutable and published
//     through one atomic pointer; reading it is an ordinary load.
//   - discipline: [New] measures the rate over a few milliseconds, which is
//     good to some ten parts per million; [Clock.Discipline], called now and
//     then from any goroutine, measures it again over the whole life of the
//     clock and bends the line so that the offset to CLOCK_MONOTONIC goes to
//     zero. The line never jumps: the old and the new one meet at the moment
//     of the change.
//
// Where the counter cannot be trusted (not invariant, different on different
// cores, or given up by the kernel as a clock source) stamps come from
// CLOCK_MONOTONIC through the vDSO; [Clock.Source] tells which and why.
//
// fio reads the TSC too, with a rate fixed at start; it can drift away from
// the kernel's clock over hours. Ours cannot.
package clock

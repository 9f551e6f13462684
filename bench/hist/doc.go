// Package hist holds latencies in log-linear histograms.
//
// A [Hist] has a fixed 20 KiB and covers 0 … 2^45 ns (9.8 hours). Values below
// 128 ns have a bucket each; above, every power of two is cut into 64, so a
// bucket is at most 1/64 of its lowest value wide and a percentile, which is
// the middle of a bucket, is at most 1/128 away from the truth. Longer values
// are counted in the last bucket. Count, sum, minimum, maximum, mean and
// standard deviation are exact: they come from running sums, the squares in
// 128 bits.
//
// The buckets are those of fio's json+ and histogram logs (fio stops at 2^34
// ns), so the same samples give the same bins and the same percentiles.
// Differences from fio: no floating point and no division while recording
// (fio updates its mean by Welford's method), and merging is plain addition,
// so that any number of threads, intervals and hosts may be added up.
//
// # Threads
//
// A Hist belongs to one thread. Nothing about recording is atomic: a record is
// two nanoseconds, and a locked increment alone would cost ten. Who wants to
// look while a thread records goes through a [Handover]: two values take turns;
// the writer gives the filled one away at the end of an interval, or when it
// sees that a reader asked, and goes on with the empty one. What changes hands
// is one pointer, so the reader sees a complete interval that no one writes to
// any more (a copy made under the writer's feet would be torn, and is a data
// race by Go's memory model), the writer never waits (with no empty value at
// hand the interval merely gets longer), and clearing happens on the reader's
// side.
package hist

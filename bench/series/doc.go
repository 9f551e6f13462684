// Package series turns what completes over time into fio's logs, and the means
// to get it from the measuring thread to the disk without disturbing it.
//
// # Two ways
//
// Windowed logs (log_avg_msec, log_hist_msec) are written from intervals: the
// measuring thread fills counters and histograms and hands them over once an
// interval (hist.Handover); [Logs.Interval] makes rows of them. Their averages
// and maxima are exact, and they cost the measuring thread nothing more.
//
// Logs of every single request (fio's default) need each request: the measuring
// thread pushes an [Event] of 64 bytes into a [Ring], and a side goroutine
// drains it into [Logs.Event]. The ring is bounded. When the side goroutine can
// not keep up, events are dropped and counted, and the caller reports how many:
// fio lets its log grow in the measuring thread instead, which its manual warns
// distorts the tail.
//
// # Format
//
// One line an entry, fields parted by comma and space:
//
//	time, value[, maximum], direction, block size[, offset], priority[, issue time]
//
// time is milliseconds since the start of the run, at completion or at the end
// of the window, or of the epoch that was asked for. value is nanoseconds in
// latency logs; in bandwidth logs 10³ bytes a second for single requests and
// KiB a second for windows, both as fio does it; requests a second in IOPS
// logs, 1 for single requests. direction is 0 read, 1 write, 2 trim. Windows
// have block size and offset 0. A window without a request has no line.
//
// A histogram log has time, direction, block size and then 1856 counts (fewer
// with a coarseness), those of the window alone.
package series

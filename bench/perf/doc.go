// Package perf compares blkbench with its peers, side by side on this machine: `make perf`. Runs are interleaved (A B A B …), the figure is
// the paired ratio, stated as the median and the lower bound of its 95 % confidence interval (one-sided, by order statistics, so that no
// distribution is assumed). Each group of comparisons rewrites its part of docs/performance.md.
//
// Nothing here runs without -perf: timings are no matter of CI.
package perf

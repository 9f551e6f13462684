// Package steady decides whether a measurement has become steady.
//
// Two rules are known. fio's looks at a window that rolls with each sample and
// takes one figure of it: the greatest deviation from the mean, or the slope of
// the least-squares line per sample; it is steady as soon as that figure, as
// such or in percent of the mean, is below a limit. SNIA's (Solid State Storage
// Performance Test Specification) looks at five rounds and takes two figures:
// the range of the data may be 20 % of the average, and the range of the fitted
// line 10 %.
//
// A [Detector] is told running totals and the time, takes samples, and applies
// a rule; [Fit] and [SNIA] are the bare arithmetic, for those who have their
// rounds already.
package steady

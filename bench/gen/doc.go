// Package gen decides what a workload does: offsets, sizes, directions and the
// content of buffers. Everything follows from a seed; nothing allocates after
// its making; nothing takes memory in proportion to the target.
//
// A [Workload] produces [Op] values one by one or in batches from
//
//   - a [Pattern], fio's rw, with its strides and runs,
//   - [Sizes] per direction: one size, a range, or a weighted list,
//   - a [Distribution]: uniform, zipf, pareto, normal, zoned,
//   - a mix of reads and writes by number of requests, each drawn by itself,
//   - a range of the target, whole or zone by zone ([Strided]).
//
// # Each block once
//
// A random pattern with a uniform law and without NoMap visits each block of
// the smallest size exactly once per pass, in a new order each pass ([Perm]);
// reads and writes of a mix with the same block size share the pass. With one
// block size that means: in one pass each byte of the range is accessed once.
//
// With several sizes (a range or a list) it means: a request *begins* at each
// block of the smallest size once per pass, and each size keeps its exact
// share. Longer requests reach into their neighbours, so bytes are accessed
// more than once per pass, and two requests under way may overlap. fio shortens
// such requests so that they end before a block already done, which keeps the
// blocks disjoint and bends the shares of the sizes; it needs a bitmap for that.
//
// Requests that go on where the last one ended (Run, SeqPercent) come on top of
// the pass and may repeat its blocks.
//
// # Where requests end
//
// A request lies within the range. A size that does not fit what is left is
// drawn again; when not even the smallest fits, a sequential position goes back
// to the beginning. A tail shorter than the smallest size is not accessed.
//
// # Laws
//
// zipf, pareto and normal give each rank the share that fio gives it, exactly,
// not by approximation: zipf is therefore Gray's law, in which the third rank
// has some 15 % more than Zipf's, and normal has a standard deviation of
// √(1/144 + dev²/12), in ranges, dev being at most one half. Distribution.Exact
// asks for the textbook laws instead. fio scatters ranks over the blocks by a
// hash under which some blocks collide; here it is a permutation. fio's sum
// for zipf ends after ten million blocks, ours does not.
//
// Shares of sizes and zones have to add up to 100; blanks take the rest evenly.
// (fio gives what is missing in a bssplit without blanks to one of the sizes,
// without a word.)
//
// Offsets are never the same as fio's for the same seed: the generators differ,
// the distributions do not.
package gen

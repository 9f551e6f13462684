// Package report shows what a measurement found (package result): as fio's JSON, its normal text and its terse lines, as a summary
// for people, and as a page for a browser. It computes nothing that is not in the result, apart from units and shares.
//
// JSON, Normal and Terse follow fio 3.33, which is the version that scripts in the field parse. Where fio's output is wrong or not
// parseable, this package differs:
//
//   - JSON is always valid: strings are escaped, and what is not a number is 0 (fio prints nan and raw quotes).
//   - With unified_rw_reporting=both the text's "mixed" lines carry the sums; fio 3.33 prints zeroes there.
//   - The steady state's bandwidth in SI units is right; fio 3.33 divides by 1024 and multiplies by 1000.
//   - "disk_util" is always there, empty where no disk was involved; fio leaves the key out.
//   - A bare option has the value "1" under "job options"; fio 3.33 drops the key.
//   - Percentages of the latency classes come from the histogram, so that a value near a class limit may count for the neighbour (within the histogram's error).
//   - What fio does not have is under the one key "blkbench", at the root and in each job.
//
// "fio version" is "fio-3.33-blkbench-VERSION": readers that look at it check for the prefix "fio-" or take the first two numbers
// to choose between the schemas of fio 2 and 3, and fio's own builds between releases have such a suffix (fio-3.42-6-g219f).
package report

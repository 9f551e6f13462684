// Package host gathers what the reader of a report needs to know of the machine and of what was measured, and judges what would
// make the result misleading.
//
// Gathering and judging are apart. [System] reads /proc, /sys and /etc through a file system that tests replace, and fills in
// result.Host and result.Target; it opens no device and changes nothing. [Hints] looks at a finished run alone, so it says the same
// of a run that was read back from a file. Every hint has a stable key.
//
// What the kernel does not tell is left empty: a machine without cpufreq has no governor, a container may hide a disk.
package host

// Package result holds what a measurement found, apart from how it was made (package bench) and how it is shown (package report).
// All durations are nanoseconds, all sizes bytes, unless a name says otherwise.
package result

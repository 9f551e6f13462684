// Package getopt reads command lines as getopt_long and getopt_long_only of the C library do: options and operands in
// any order, long options abbreviated as far as they stay unique, values behind "=", in the next argument or behind a
// short option's letter, and clusters of short options. The verbs that a link makes into a peer's program share it.
//
// Parse works on a table of options. Bind makes the table from a struct whose tags describe the options, and stores
// what was found in it; Usage prints the same table.
//
// Source: the behaviour of glibc 2.36, getopt(3); its messages are kept word for word.
package getopt

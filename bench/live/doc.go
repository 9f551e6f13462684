// Package live shows a running measurement: a few lines that redraw themselves on a terminal, or fio's one-line status.
//
// It disturbs neither the measurement nor the terminal. A frame is built in a buffer that is kept and written with one system call,
// without allocation, because the process allocates nothing inside a measured window. The terminal's modes are not touched and its
// cursor is not hidden, so that there is nothing to restore whichever way the process ends; Ctrl-C stays the signal it is. Where the
// output is no terminal, nothing is written unless it is asked for.
//
// fio's line is as fio 3.33 writes it, with one difference: the share done and the time left are unknown for the first moments only
// (fio needs three seconds).
package live

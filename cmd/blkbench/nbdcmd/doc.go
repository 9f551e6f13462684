// Package nbdcmd is the NBD server's command line: `blkbench nbd`, and qemu-nbd 7.2's through a link of that name. Options, short
// diagnostics and exit codes are qemu-nbd's, since scripts match them; help and longer text are our own.
//
// Under our own name it differs: any number of images may be named and each is an export by its base name, clients come and go until
// SIGTERM or Ctrl-C (-t, -e 0), the server listens on a Unix socket in a folder of its own unless an address is given, on loopback where
// only a port is, prints the URI of each export, and follows names inside images only with --references.
package nbdcmd

// Package server exports nodes over NBD: fixed newstyle negotiation with TLS, structured replies, extended headers and contexts of
// metadata, as doc/proto.md of the NetworkBlockDevice project has it (edition of 2023), and then requests, many at once and answered in
// the order in which they are done.
//
// Four nouns:
//
//   - A [Server] has a set of exports and any number of listeners; [Server.Shutdown] finishes what is in flight.
//   - An [Export] is a node, or a window of one, under a name.
//   - A session is what one client has agreed on: its export, the kind of replies, its contexts.
//   - A poller is one locked thread with one io_uring ring that carries the sockets of an export's clients and the files below it; requests
//     go through an [engine.Path]. What cannot run there (TLS, a graph whose leaves are no files, a kernel without io_uring) is served by
//     goroutines and the blocking methods of the node, with the same sessions.
//
// # Who waits for whom
//
// Nobody waits for a client. A connection reads no further request while it has [maxInFlight] under way or has used up its share of the
// poller's buffers; replies wait in its own list until the socket takes them. A share is a part of what is free, so that clients that do
// not read their replies leave something to the others; one that has not moved for [Config.StallLimit] while others lack buffers is hung up on.
//
// # Durability
//
// A flush covers every write that was answered before it, on whatever connection, since all go to the same node: CAN_MULTI_CONN is
// announced for every export that more than one client may use.
//
// # Differences from qemu-nbd
//
// READ is answered by chunks of data also where there are holes; block status tells them. Requests that are not aligned to the minimum
// block size are served. The messages of error chunks say what failed, without names of files.
package server

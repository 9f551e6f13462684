// Package nbd is the client of the NBD protocol (doc/proto.md of the NetworkBlockDevice project; the messages are package wire's): the driver
// nbd, for exports over TCP, Unix sockets and TLS.
//
// The model in five nouns:
//
//   - A dialer knows the address and the options; it connects and negotiates, and can do so again.
//   - A session is one negotiated connection: the export's size, flags, block sizes and metadata contexts, and which headers were agreed on.
//   - A conn is a session in the blocking plane: callers write requests under a lock, a goroutine reads the replies into their buffers.
//   - The [Node] has a pool of them: one, and more when callers crowd and the server says CAN_MULTI_CONN.
//   - A queue is the polled plane: a session of its own whose socket is driven through the poller's io_uring. Where the server does not say
//     CAN_MULTI_CONN, or TLS is in the way, goroutines over the Node's connections take its place.
//
// # Replies
//
// What a server sends is checked in one place (answer), for both planes: a cookie that is in flight, chunks inside the request and not over
// each other, nothing missing at the end. A server that breaks the protocol loses the connection; its requests end as those of a connection
// that was lost.
//
// # Reconnecting
//
// A connection that is lost takes with it what was in flight on it: nobody knows what of it was done. With reconnect-delay=0 those requests
// fail, once. Otherwise they wait for up to that many seconds for another connection and are sent on it, once: a request that loses two
// connections fails; so does one that is answered with what breaks the protocol. Requests that come later open a new connection, or fail with the reason why there is none. The export that is
// found again must be the one that was lost: size, flags and block sizes are compared. When writes had been acknowledged and not
// flushed, a warning says so, since a server that went down with them is not to be told from one that did not. One thing no client can rule out: a
// server that does a request of the lost connection after it has answered the same one on the next.
//
// # Differences from QEMU
//
// open-timeout bounds the negotiation too, and 10 s do where it is not given: a server with all its places taken accepts and says
// nothing. PSK is refused: crypto/tls does not have it. Connections in parallel are opened as needed (connections=, default 4). An export
// whose size is no multiple of its minimum block size is refused, as there.
//
// # Lock order
//
// Node.mu (the pool) before conn.mu (what is in flight); conn.wmu (the stream of requests) is taken with neither held.
package nbd

package nbd

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// errBroken is what a violation of the protocol is.
var errBroken = errors.New("server breaks the protocol")

func broken(format string, args ...any) error {
	return engine.Errf(engine.ErrIO, "%w: "+format, append([]any{errBroken}, args...)...)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// lost is how requests end that were in flight when their connection was: nobody knows whether they were done, but for those that were
// never sent.
type lost struct {
	cause  error
	unsent bool
}

func (e *lost) Error() string { return "connection lost: " + e.cause.Error() }
func (e *lost) Unwrap() error { return e.cause }

// remote is an error that the server answered.
type remote struct {
	code wire.Errno
	text string // the server's, may be empty
}

func (e *remote) Error() string {
	if e.text == "" {
		return "server says " + e.code.String()
	}
	return fmt.Sprintf("server says %v: %q", e.code, e.text)
}

// Unwrap lets the engine see the system's error. ESHUTDOWN of a server is not a closed node here.
func (e *remote) Unwrap() error {
	if e.code == wire.ESHUTDOWN {
		return unix.EIO
	}
	return e.code.System()
}

package imgcmd

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// OpenError is why an image could not be opened.
type OpenError struct {
	Name string
	Err  error
}

// Error is the message that scripts know.
func (e *OpenError) Error() string {
	return fmt.Sprintf("Could not open '%s': %s", e.Name, openReason(e.Err))
}

// Unwrap gives the engine's error.
func (e *OpenError) Unwrap() error { return e.Err }

// openReason says why opening failed, in QEMU's words where QEMU has some.
func openReason(err error) string {
	if b, ok := errors.AsType[*engine.BackingError](err); ok {
		return "Could not open backing file: " + openReason(b.Err)
	}
	var node string
	var fact *engine.Error
	for e := err; e != nil; e = unwrapCause(e) {
		if x, ok := e.(*engine.Error); ok { //nolint:errorlint // every one of the chain is looked at
			fact = x
			if x.Node != "" {
				node = x.Node
			}
		}
	}
	errno, hasErrno := errors.AsType[unix.Errno](err)
	kind := engine.KindOf(err)
	switch {
	case errors.Is(err, engine.ErrLocked) && fact != nil && fact.Cause != nil && strings.HasPrefix(fact.Cause.Error(), "Failed to get"):
		return fmt.Sprintf("%v\nIs another process using the image [%s]?", fact.Cause, node)
	case hasErrno && errno == unix.EISDIR:
		return fmt.Sprintf("'file' driver requires '%s' to be a regular file", node)
	case hasErrno && connectTarget(node) != "":
		return fmt.Sprintf("Failed to connect to '%s': %s", connectTarget(node), strerror(errno))
	case hasErrno && (errors.Is(kind, engine.ErrNotFound) || errors.Is(kind, engine.ErrPermission) || node != ""):
		return fmt.Sprintf("Could not open '%s': %s", node, strerror(errno))
	}
	text := strings.TrimSuffix(Reason(err), hintOf(err))
	if strings.HasPrefix(text, "unknown driver") {
		text = capital(text)
	}
	return text
}

// connectTarget is the address in the name of a network target; empty where there is none.
func connectTarget(node string) string {
	if !opts.HasProtocol(node) {
		return ""
	}
	t, err := opts.ParseName(node)
	if err != nil {
		return ""
	}
	if path, ok := t.String("server.path"); ok {
		return path
	}
	host, ok := t.String("server.host")
	port, _ := t.String("server.port")
	if !ok {
		return ""
	}
	return host + ":" + port
}

// hintOf is what the registry adds to the name of a driver that is not there.
func hintOf(err error) string {
	if i := strings.Index(err.Error(), ", did you mean '"); i >= 0 {
		return err.Error()[i:]
	}
	return ""
}

func capital(s string) string {
	return strings.ToUpper(s[:1]) + s[1:]
}

// unwrapCause goes down the chain of causes, past the kinds.
func unwrapCause(err error) error {
	if e, ok := err.(*engine.Error); ok { //nolint:errorlint // one step of the chain
		return e.Cause
	}
	if u, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // one step of the chain
		if list := u.Unwrap(); len(list) > 0 {
			return list[0]
		}
	}
	return errors.Unwrap(err)
}

// Reason is an error without the operation and the place that the crossing of layers added: what QEMU prints behind its own words.
func Reason(err error) string {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return strerror(errno)
	}
	if e, ok := errors.AsType[*opts.Error](err); ok && !strings.HasPrefix(err.Error(), "Could not parse") {
		return optionReason(e)
	}
	var fact *engine.Error
	for e := err; e != nil; e = unwrapCause(e) {
		if x, ok := e.(*engine.Error); ok { //nolint:errorlint // every one of the chain is looked at
			fact = x
		}
	}
	switch {
	case fact == nil:
		return err.Error()
	case fact.Cause != nil:
		return fact.Cause.Error()
	case fact.Kind != nil:
		return strerror(engine.Errno(fact))
	}
	return err.Error()
}

func optionReason(e *opts.Error) string {
	switch {
	case errors.Is(e.Kind, opts.ErrUnknown) && strings.HasPrefix(e.Msg, "unknown protocol"):
		return fmt.Sprintf("Unknown protocol '%s'", e.Value)
	case errors.Is(e.Kind, opts.ErrValue) && e.Want == "on or off":
		return fmt.Sprintf("Parameter '%s' expects 'on' or 'off'", e.Key)
	case errors.Is(e.Kind, opts.ErrValue) && strings.HasPrefix(e.Want, "a size"):
		return fmt.Sprintf("Parameter '%s' expects a non-negative number below 2^64\n%s", e.Key, strings.TrimSuffix(sizeHint, "\n"))
	case errors.Is(e.Kind, opts.ErrMissing) && strings.HasSuffix(e.Key, "filename"), strings.HasPrefix(e.Msg, "empty name"):
		return "The 'file' block driver requires a file name"
	}
	return e.Error()
}

// strerror is the C library's text.
func strerror(errno unix.Errno) string { return capital(errno.Error()) }

var errNoOffset = errors.New("File contains external, encrypted or compressed clusters.") //nolint:revive,staticcheck // qemu-img's words

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Sentinel kinds, for errors.Is. Every *Error has exactly one of them, or none where only the cause is known.
var (
	ErrFormat      = errors.New("not this format")
	ErrUnsupported = errors.New("unsupported")
	ErrCorrupt     = errors.New("corrupt")
	ErrReadOnly    = errors.New("read-only")
	ErrRange       = errors.New("out of range")
	ErrAlign       = errors.New("misaligned")
	ErrNoSpace     = errors.New("no space left")
	ErrLocked      = errors.New("locked")
	ErrPermission  = errors.New("permission denied")
	ErrTimeout     = errors.New("timed out")
	ErrClosed      = errors.New("closed")
	ErrIO          = errors.New("input/output error")
	ErrNotFound    = errors.New("no such file or directory")
	ErrExist       = errors.New("exists already")
	ErrOption      = errors.New("invalid option")
	ErrConsent     = errors.New("would destroy data")
)

// Error is what every crossing of a layer reports. The driver states the fact (Kind and Cause); the Ref adds the operation, the
// driver, the node and the place, once.
type Error struct {
	Op     string // read, write, flush, discard, write zeroes, open, …
	Driver string
	Node   string // file name or URI, redacted
	Off    int64  // bytes; meaningful when Len >= 0
	Len    int64  // bytes; negative where the operation has no place
	Kind   error  // one of the sentinels, or nil
	Cause  error  // the fact
}

// Error prints `read disk.qcow2 at 0x1f40000+4096: corrupt: l2 entry 17 at 0x50088: offset 0x1 not cluster-aligned`.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		if e.Node != "" {
			b.WriteByte(' ')
		}
	}
	b.WriteString(e.Node)
	if e.Len >= 0 && e.Op != "" {
		fmt.Fprintf(&b, " at %#x+%d", e.Off, e.Len)
	}
	sep := func() {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
	}
	if e.Kind != nil && (e.Cause == nil || !causeSaysKind(e.Cause, e.Kind)) {
		sep()
		b.WriteString(e.Kind.Error())
	}
	if e.Cause != nil && e.Cause != e.Kind { //nolint:errorlint // the kind itself says nothing more; a cause that wraps it does
		sep()
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// causeSaysKind avoids "no space left: no space left on device" and "corrupt: l2 table: corrupt: …".
func causeSaysKind(cause, kind error) bool {
	text := strings.ToLower(cause.Error())
	return strings.HasPrefix(text, kind.Error()) || strings.Contains(text, ": "+kind.Error()+": ")
}

// Unwrap gives both the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	switch {
	case e.Kind == nil:
		return []error{e.Cause}
	case e.Cause == nil:
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Errf states a fact of a kind; the crossing adds the rest.
func Errf(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Len: -1, Cause: fmt.Errorf(format, args...)}
}

// KindOf maps an error from the system to a sentinel kind; nil when none fits better than its own text.
func KindOf(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind != nil {
		return e.Kind
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if k, ok := errnoKinds[errno]; ok {
			return k
		}
		return nil
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ErrNotFound
	case errors.Is(err, os.ErrExist):
		return ErrExist
	case errors.Is(err, os.ErrPermission):
		return ErrPermission
	case errors.Is(err, os.ErrClosed):
		return ErrClosed
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	}
	return nil
}

var errnoKinds = map[unix.Errno]error{
	unix.ENOSPC: ErrNoSpace, unix.EDQUOT: ErrNoSpace, unix.EFBIG: ErrNoSpace,
	unix.EACCES: ErrPermission, unix.EPERM: ErrPermission,
	unix.EROFS:     ErrReadOnly,
	unix.ENOENT:    ErrNotFound,
	unix.EEXIST:    ErrExist,
	unix.ETIMEDOUT: ErrTimeout,
	unix.EBADF:     ErrClosed, unix.ESHUTDOWN: ErrClosed,
	unix.EOPNOTSUPP: ErrUnsupported, unix.ENOSYS: ErrUnsupported, unix.ENOTTY: ErrUnsupported,
	unix.EIO: ErrIO, unix.EREMOTEIO: ErrIO, unix.ENODATA: ErrIO, unix.EILSEQ: ErrIO,
	unix.EBUSY: ErrLocked, unix.EAGAIN: ErrLocked,
}

// errnoOf is the errno that stands for an error in a Request's result.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) && errno != 0 {
		return errno
	}
	if errno, ok := kindErrnos[KindOf(err)]; ok {
		return errno
	}
	return unix.EIO
}

// Errno returns the errno that best stands for err, for callers that speak errno: wire protocols and exit messages.
func Errno(err error) unix.Errno { return errnoOf(err) }

var kindErrnos = map[error]unix.Errno{
	ErrUnsupported: unix.EOPNOTSUPP, ErrReadOnly: unix.EPERM, ErrRange: unix.EINVAL, ErrAlign: unix.EINVAL, ErrNoSpace: unix.ENOSPC,
	ErrLocked: unix.EAGAIN, ErrPermission: unix.EACCES, ErrTimeout: unix.ETIMEDOUT, ErrClosed: unix.ESHUTDOWN, ErrNotFound: unix.ENOENT,
	ErrExist: unix.EEXIST, ErrOption: unix.EINVAL, ErrConsent: unix.EPERM,
}

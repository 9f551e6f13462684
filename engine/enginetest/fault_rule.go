package enginetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FaultOp is what a rule is about.
type FaultOp uint8

// The operations that rules name.
const (
	FaultAny FaultOp = iota
	FaultRead
	FaultWrite
	FaultFlush
	FaultDiscard
	FaultZero
	FaultResize
)

var faultOps = [...]string{"any", "read", "write", "flush", "discard", "zero", "resize"}

func (o FaultOp) String() string { return faultOps[o] }

// FaultEffect is what becomes of an operation.
type FaultEffect uint8

// The effects.
const (
	FaultError FaultEffect = iota // fails with Errno
	FaultShort                    // moves N bytes: a short transfer in the polled plane, in the blocking one an error after them
	FaultSlow                     // takes Delay of the engine's clock longer
	FaultLost                     // reports success and does nothing
)

// Rule makes operations go wrong. Its text is
//
//	op [#k | %[n]] [@off+len] = effect [once]
//
// op is any, read, write, flush, discard, zero or resize; #k means the k-th that fits, counted from 1, %n every n-th (% each), which is
// what holds without either; @off+len those that touch a range. effect is an errno (EIO, ENOSPC, …), short:bytes, slow:duration or lost.
// once ends the rule with the first time.
type Rule struct {
	Op       FaultOp
	Nth      uint64 // the one that goes wrong, from 1; 0: see Every
	Every    uint64 // each so many; 0 and 1: each
	Off, Len int64  // bytes; Len 0: anywhere
	Effect   FaultEffect
	Errno    unix.Errno
	N        int64 // bytes, of FaultShort
	Delay    time.Duration
	Once     bool
}

var faultErrnos = []unix.Errno{
	unix.EIO, unix.ENOSPC, unix.EACCES, unix.EPERM, unix.EROFS, unix.EBADF, unix.EINVAL, unix.EAGAIN, unix.EBUSY, unix.ENOMEM, unix.ETIMEDOUT,
	unix.EOPNOTSUPP, unix.ENODEV, unix.ENXIO, unix.EREMOTEIO, unix.EILSEQ, unix.ENODATA, unix.ESHUTDOWN, unix.EFBIG, unix.EDQUOT, unix.EPIPE,
	unix.ECONNRESET, unix.ENOENT, unix.EINTR,
}

// ParseRules reads rules that are separated by semicolons or new lines.
func ParseRules(s string) ([]Rule, error) {
	var out []Rule
	for text := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == ';' || c == '\n' }) {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		r, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", text, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRule(s string) (r Rule, err error) {
	left, right, ok := strings.Cut(s, "=")
	if !ok {
		return r, fmt.Errorf("no effect: want op=effect")
	}
	left = strings.TrimSpace(left)
	end := strings.IndexFunc(left, func(c rune) bool { return c < 'a' || c > 'z' })
	if end < 0 {
		end = len(left)
	}
	op := slices.Index(faultOps[:], left[:end])
	if op < 0 {
		return r, fmt.Errorf("operation %q: want one of %s", left[:end], strings.Join(faultOps[:], ", "))
	}
	r.Op = FaultOp(op)
	if err := r.parseWhich(left[end:]); err != nil {
		return r, err
	}
	effect := strings.Fields(right)
	if len(effect) == 2 && effect[1] == "once" {
		r.Once, effect = true, effect[:1]
	}
	if len(effect) != 1 {
		return r, fmt.Errorf("effect %q: want one word, and once", strings.TrimSpace(right))
	}
	if err := r.parseEffect(effect[0]); err != nil {
		return r, err
	}
	return r, r.valid()
}

// parseWhich reads #k, %n and @off+len.
func (r *Rule) parseWhich(s string) error {
	s, place, ranged := strings.Cut(s, "@")
	var err error
	switch s = strings.TrimSpace(s); {
	case s == "":
	case s == "%":
		r.Every = 1
	case s[0] == '#':
		r.Nth, err = strconv.ParseUint(s[1:], 10, 62)
	case s[0] == '%':
		r.Every, err = strconv.ParseUint(s[1:], 10, 62)
	default:
		return fmt.Errorf("%q: want #k, %%n or @off+len", s)
	}
	if err != nil || (s != "" && r.Nth == 0 && r.Every == 0) {
		return fmt.Errorf("%q: want a number from 1", s)
	}
	if !ranged {
		return nil
	}
	off, n, ok := strings.Cut(strings.TrimSpace(place), "+")
	if r.Off, err = strconv.ParseInt(off, 0, 64); err != nil || !ok {
		return fmt.Errorf("place %q: want off+len", place)
	}
	if r.Len, err = strconv.ParseInt(n, 0, 64); err != nil || r.Len <= 0 || r.Off < 0 || r.Off > 1<<62-r.Len {
		return fmt.Errorf("place %q: want off+len", place)
	}
	return nil
}

func (r *Rule) parseEffect(s string) error {
	kind, arg, _ := strings.Cut(s, ":")
	var err error
	switch kind {
	case "lost":
		r.Effect = FaultLost
	case "short":
		r.Effect = FaultShort
		if r.N, err = strconv.ParseInt(arg, 0, 64); err != nil || r.N < 0 {
			return fmt.Errorf("short %q: want bytes", arg)
		}
		return nil
	case "slow":
		r.Effect = FaultSlow
		if r.Delay, err = time.ParseDuration(arg); err != nil || r.Delay < 0 {
			return fmt.Errorf("slow %q: want a duration", arg)
		}
		return nil
	default:
		i := slices.IndexFunc(faultErrnos, func(e unix.Errno) bool { return unix.ErrnoName(e) == kind })
		if i < 0 {
			return fmt.Errorf("effect %q: want an errno, short:bytes, slow:duration or lost", s)
		}
		r.Errno = faultErrnos[i]
	}
	if arg != "" || strings.HasSuffix(s, ":") {
		return fmt.Errorf("effect %q: %s takes no argument", s, kind)
	}
	return nil
}

func (r *Rule) valid() error {
	moves := r.Op == FaultRead || r.Op == FaultWrite || r.Op == FaultAny
	switch {
	case r.Effect == FaultShort && !moves:
		return fmt.Errorf("%s moves no bytes", r.Op)
	case r.Effect == FaultLost && (r.Op == FaultRead || r.Op == FaultAny):
		return fmt.Errorf("%s can not be lost", r.Op)
	case r.Len > 0 && (r.Op == FaultFlush || r.Op == FaultResize):
		return fmt.Errorf("%s has no place", r.Op)
	}
	return nil
}

// String is a text that ParseRules reads.
func (r Rule) String() string {
	var b strings.Builder
	b.WriteString(r.Op.String())
	switch {
	case r.Nth > 0:
		fmt.Fprintf(&b, "#%d", r.Nth)
	case r.Every > 1:
		fmt.Fprintf(&b, "%%%d", r.Every)
	}
	if r.Len > 0 {
		fmt.Fprintf(&b, "@%#x+%d", r.Off, r.Len)
	}
	b.WriteByte('=')
	switch r.Effect {
	case FaultShort:
		fmt.Fprintf(&b, "short:%d", r.N)
	case FaultSlow:
		fmt.Fprintf(&b, "slow:%v", r.Delay)
	case FaultLost:
		b.WriteString("lost")
	default:
		b.WriteString(unix.ErrnoName(r.Errno))
	}
	if r.Once {
		b.WriteString(" once")
	}
	return b.String()
}

// fits reports whether an operation is one that the rule is about.
func (r *Rule) fits(op FaultOp, off, n int64) bool {
	if r.Op != op && (r.Op != FaultAny || (r.Effect == FaultShort && op > FaultWrite)) {
		return false
	}
	return r.Len == 0 || (op != FaultFlush && op != FaultResize && off < r.Off+r.Len && r.Off < off+n)
}

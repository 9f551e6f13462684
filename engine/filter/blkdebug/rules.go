package blkdebug

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// InjectError is one inject-error rule.
type InjectError struct {
	Event       string       `opt:"event" help:"the step that makes the rule active"`
	State       int          `opt:"state" min:"0" help:"only in this state of the machine; 0: in any"`
	IOType      string       `opt:"iotype" enum:"read,write,write-zeroes,discard,flush,block-status" help:"the requests that fail; all but block-status where absent"`
	Errno       int          `opt:"errno" default:"5" help:"number of the error"`
	Sector      int64        `opt:"sector" default:"-1" help:"only requests that touch this sector of 512 bytes"`
	Once        opts.OptBool `opt:"once" help:"only the first request"`
	Immediately opts.OptBool `opt:"immediately" help:"the error is returned at once, not from the event loop"`
}

// SetState is one set-state rule.
type SetState struct {
	Event    string `opt:"event" help:"the step that moves the machine"`
	State    int    `opt:"state" min:"0" help:"from this state only; 0: from any"`
	NewState int    `opt:"new_state" help:"the state to go to"`
}

// ioType is a kind of request, a bit.
type ioType uint8

const (
	ioRead ioType = 1 << iota
	ioWrite
	ioZeroes
	ioDiscard
	ioFlush
	ioStatus
	ioDefault = ioRead | ioWrite | ioZeroes | ioDiscard | ioFlush
)

var ioTypes = map[string]ioType{
	"": ioDefault, "read": ioRead, "write": ioWrite, "write-zeroes": ioZeroes, "discard": ioDiscard, "flush": ioFlush, "block-status": ioStatus,
}

type action uint8

const (
	inject action = iota
	setState
	suspend
)

// rule is one of the three things that an event can do.
type rule struct {
	action   action
	state    int
	newState int
	types    ioType
	errno    unix.Errno
	off      int64 // bytes; negative: anywhere
	once     bool
	tag      string
}

func event(name string) (engine.Event, error) {
	if name == "" {
		return 0, engine.Errf(engine.ErrOption, "Missing event name for rule")
	}
	e, ok := engine.ParseEvent(name)
	if !ok {
		var names []string
		for e := range engine.Events {
			names = append(names, e.String())
		}
		return 0, engine.Errf(engine.ErrOption, "Invalid event name \"%s\" (nearest: %s)", name, opts.Nearest(name, names))
	}
	return e, nil
}

// ruleSet are rules by event, in the order they were given.
type ruleSet [engine.Events][]*rule

func (s *ruleSet) inject(o *InjectError) error {
	e, err := event(o.Event)
	if err != nil {
		return err
	}
	r := &rule{action: inject, state: o.State, types: ioTypes[o.IOType], errno: unix.Errno(o.Errno), off: -1, once: o.Once.On}
	if o.Sector >= 0 {
		r.off = o.Sector * 512
	}
	s[e] = append(s[e], r)
	return nil
}

func (s *ruleSet) setState(o *SetState) error {
	e, err := event(o.Event)
	if err != nil {
		return err
	}
	s[e] = append(s[e], &rule{action: setState, state: o.State, newState: o.NewState})
	return nil
}

// addConfig reads the rules of a configuration file.
func (s *ruleSet) addConfig(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := s.parse(b); err != nil {
		return engine.Errf(engine.ErrOption, "%s: %w", name, err)
	}
	return nil
}

func (s *ruleSet) parse(b []byte) error {
	sections, err := opts.ParseConfig(b)
	if err != nil {
		return err
	}
	for _, sec := range sections {
		switch sec.Group {
		case "inject-error":
			var o InjectError
			if err = errors.Join(sec.Tree.Bind(&o), sec.Tree.Unused()); err == nil {
				err = s.inject(&o)
			}
		case "set-state":
			var o SetState
			if err = errors.Join(sec.Tree.Bind(&o), sec.Tree.Unused()); err == nil {
				err = s.setState(&o)
			}
		default:
			err = errors.New("There is no option group '" + sec.Group + "'") //nolint:revive,staticcheck // QEMU's words
		}
		if err != nil {
			return errors.Join(errors.New("section at line "+strconv.Itoa(sec.Line)), err)
		}
	}
	return nil
}

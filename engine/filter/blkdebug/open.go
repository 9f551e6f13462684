package blkdebug

import (
	"context"
	"math"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// OpenOptions are the options of a blkdebug node, by QEMU's names.
type OpenOptions struct {
	Config       string        `opt:"config" help:"file with [inject-error] and [set-state] sections"`
	InjectError  []InjectError `opt:"inject-error" help:"errors and when they happen"`
	SetState     []SetState    `opt:"set-state" help:"what moves the state machine"`
	Align        int64         `opt:"align" kind:"size" help:"alignment of requests, a power of two"`
	MaxTransfer  int64         `opt:"max-transfer" kind:"size" help:"most bytes in a request"`
	OptWriteZero int64         `opt:"opt-write-zero" kind:"size" help:"alignment of writes of zeroes"`
	MaxWriteZero int64         `opt:"max-write-zero" kind:"size" help:"most bytes in a write of zeroes"`
	OptDiscard   int64         `opt:"opt-discard" kind:"size" help:"alignment of discards"`
	MaxDiscard   int64         `opt:"max-discard" kind:"size" help:"most bytes in a discard"`
	Take         []string      `opt:"take-child-perms" enum:"consistent-read,write,write-unchanged,resize" help:"permissions to take on the image besides"`
	Unshare      []string      `opt:"unshare-child-perms" enum:"consistent-read,write,write-unchanged,resize" help:"permissions to deny to others"`
}

// Driver is the registry's entry. It stands where a protocol does: formats are probed over it.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, engine.NoOptions](engine.Driver{
		Name: "blkdebug", Kind: engine.KindProtocol, Help: "errors by rules, breakpoints, and limits of a device",
	}, open, nil)
}

var perms = map[string]engine.Perm{
	"consistent-read": engine.PermConsistentRead, "write": engine.PermWrite, "write-unchanged": engine.PermWriteUnchanged, "resize": engine.PermResize,
}

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	rules, err := o.rules()
	if err != nil {
		return nil, err
	}
	for _, p := range o.Take {
		r.Perm |= perms[p]
	}
	for _, p := range o.Unshare {
		r.Shared &^= perms[p]
	}
	child, err := r.MustChild(ctx, "image", engine.RoleFiltered)
	if err != nil {
		return nil, err
	}
	n, err := New(child, o, rules)
	if err != nil {
		_ = child.Close()
		return nil, err
	}
	if !strings.Contains(o.Config, ":") {
		n.Says.Filename = "blkdebug:" + o.Config + ":" + n.Says.Filename
	}
	return n, nil
}

func (o *OpenOptions) rules() (ruleSet, error) {
	var rules ruleSet
	if o.Config != "" {
		if err := rules.addConfig(o.Config); err != nil {
			return rules, err
		}
	}
	for i := range o.InjectError {
		if err := rules.inject(&o.InjectError[i]); err != nil {
			return rules, err
		}
	}
	for i := range o.SetState {
		if err := rules.setState(&o.SetState[i]); err != nil {
			return rules, err
		}
	}
	return rules, nil
}

// New puts a node over child, which it owns from then on.
func New(child *engine.Ref, o *OpenOptions, rules ruleSet) (*Node, error) {
	n := &Node{Node: pass.Over(child, "blkdebug")}
	lim := &n.Says.Limits
	if err := o.limit(lim, max(1, int64(lim.RequestAlign))); err != nil {
		return nil, err
	}
	n.zeroAlign, n.discardAlign = int64(lim.ZeroAlign), int64(lim.DiscardAlign)
	n.machine = newMachine(rules)
	return n, nil
}

// limit puts the limits that were asked for into those of the child.
func (o *OpenOptions) limit(lim *engine.Limits, below int64) error {
	cannot := func(name string, v int64) error {
		return engine.Errf(engine.ErrOption, "Cannot meet constraints with %s %d", name, v)
	}
	if a := o.Align; a < 0 || a > 1<<20 || a&(a-1) != 0 {
		return cannot("align", a)
	}
	align := max(o.Align, below)
	for _, c := range []struct {
		name string
		v    int64
		unit int64
	}{
		{"max-transfer", o.MaxTransfer, align},
		{"opt-write-zero", o.OptWriteZero, align},
		{"max-write-zero", o.MaxWriteZero, max(o.OptWriteZero, align)},
		{"opt-discard", o.OptDiscard, align},
		{"max-discard", o.MaxDiscard, max(o.OptDiscard, align)},
	} {
		if c.v < 0 || c.v >= math.MaxInt32 || c.v%c.unit != 0 {
			return cannot(c.name, c.v)
		}
	}
	lim.RequestAlign = uint32(align)
	if o.MaxTransfer > 0 && (lim.MaxTransfer == 0 || o.MaxTransfer < int64(lim.MaxTransfer)) {
		lim.MaxTransfer = uint32(o.MaxTransfer)
	}
	lim.OptTransfer = min(lim.OptTransfer, lim.MaxTransfer)
	lim.ZeroAlign = max(lim.ZeroAlign, uint32(o.OptWriteZero))
	lim.DiscardAlign = max(lim.DiscardAlign, uint32(o.OptDiscard))
	if o.MaxWriteZero > 0 {
		lim.MaxZero = o.MaxWriteZero
	}
	if o.MaxDiscard > 0 {
		lim.MaxDiscard = o.MaxDiscard
	}
	return nil
}

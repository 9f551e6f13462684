// Package quorum keeps several copies and believes what enough of them say, as QEMU's quorum driver does.
//
// Writes and flushes go to all children and succeed when vote-threshold of them do. With read-pattern=quorum a read asks all, and the content
// that most agree on wins, if they are as many as the threshold; with rewrite-corrupted the others are then written over. With
// read-pattern=fifo the first child that answers is believed. blkverify=on, of two children, makes any difference an error.
//
// Where it differs from QEMU: what is found is told by Env.Warn, not by events; children that answer with errors count as voters for their
// error; writes that overlap go one after the other, so that all children see one order; and before children are said to differ they are asked
// once more with writes held off, under which a rewrite happens too.
package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
	"github.com/blkbench/blkbench/engine/opts"
)

// OpenOptions are the options of a quorum node, by QEMU's names; the children are children.0, children.1, …
type OpenOptions struct {
	Threshold int          `opt:"vote-threshold" required:"true" help:"how many children must agree"`
	Blkverify opts.OptBool `opt:"blkverify" help:"any difference of two children is an error"`
	Rewrite   opts.OptBool `opt:"rewrite-corrupted" help:"write the winning content over what differs"`
	Pattern   string       `opt:"read-pattern" enum:"quorum,fifo" default:"quorum" help:"ask all children, or the first that answers"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, engine.NoOptions](engine.Driver{
		Name: "quorum", Kind: engine.KindFilter, Help: "several copies, and a vote on every read",
	}, open, nil)
}

// maxChildren is how many copies there may be.
const maxChildren = 32

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	list, _ := r.Opts.Take("children")
	if n := len(list.List()); n < 1 || n > maxChildren {
		return nil, engine.Errf(engine.ErrOption, "Number of provided children must be 1 or more, and at most %d", maxChildren)
	}
	if err := o.check(len(list.List())); err != nil {
		return nil, err
	}
	var refs []*engine.Ref
	fail := func(err error) (engine.Node, error) {
		for _, c := range refs {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	for i, v := range list.List() {
		key := "child-" + strconv.Itoa(i)
		if err := r.Opts.Set(key, v); err != nil {
			return fail(err)
		}
		c, err := r.MustChild(ctx, key, engine.RoleFiltered)
		if err != nil {
			return fail(err)
		}
		refs = append(refs, c)
	}
	n, err := New(refs, *o, r.Env.Warn)
	if err != nil {
		return fail(err)
	}
	return n, nil
}

// check refuses what makes no sense, in QEMU's words.
func (o *OpenOptions) check(children int) error {
	switch {
	case o.Threshold < 1:
		return engine.Errf(engine.ErrOption, "Parameter 'vote-threshold' expects a value >= 1")
	case o.Threshold > children:
		return engine.Errf(engine.ErrOption, "threshold may not exceed children count")
	case o.Pattern == "quorum" && o.Blkverify.On && (children != 2 || o.Threshold != 2):
		return engine.Errf(engine.ErrOption, "blkverify=on can only be set if there are exactly two files and vote-threshold is 2")
	case o.Rewrite.On && o.Blkverify.On:
		return engine.Errf(engine.ErrOption, "rewrite-corrupted=on cannot be used with blkverify=on")
	}
	return nil
}

// Node votes.
type Node struct {
	children []*engine.Ref
	o        OpenOptions
	info     engine.Info
	warnMu   sync.Mutex
	warn     func(string)
	ranges   pass.Ranges
}

// New puts a node over children of one size, which it owns from then on. warn may be nil.
func New(children []*engine.Ref, o OpenOptions, warn func(string)) (*Node, error) {
	n := &Node{children: children, o: o, warn: warn}
	n.info = engine.Info{
		Driver: "quorum", Limits: pass.Merge(children),
		Caps: engine.CapWritable | engine.CapFUA | engine.CapZero | engine.CapUnmapZero | engine.CapVolatile,
	}
	for i, c := range children {
		if c.Size() != children[0].Size() {
			return nil, engine.Errf(engine.ErrIO, "child %d has %d bytes, child 0 has %d", i, c.Size(), children[0].Size())
		}
		n.info.Caps &= c.Info().Caps
		if !c.Writable() {
			n.info.Caps &^= engine.CapWritable
		}
	}
	n.info.Limits.ClusterSize = 0
	return n, nil
}

// Info implements engine.Node.
func (n *Node) Info() engine.Info { return n.info }

// Size implements engine.Node.
func (n *Node) Size() int64 { return n.children[0].Size() }

// Children names all.
func (n *Node) Children() []engine.Child {
	var list []engine.Child
	for i, c := range n.children {
		list = append(list, engine.Child{Name: "children." + strconv.Itoa(i), Ref: c})
	}
	return list
}

func (n *Node) warnf(format string, args ...any) {
	n.warnMu.Lock()
	defer n.warnMu.Unlock()
	if n.warn != nil {
		n.warn(fmt.Sprintf("quorum: "+format, args...))
	}
}

// all does something to every child at once and returns how each ended.
func (n *Node) all(f func(i int, c *engine.Ref) error) []error {
	errs := make([]error, len(n.children))
	var wg sync.WaitGroup
	for i, c := range n.children[1:] {
		wg.Go(func() { errs[i+1] = f(i+1, c) })
	}
	errs[0] = f(0, n.children[0])
	wg.Wait()
	return errs
}

// enough is nil when as many succeeded as the threshold asks for; else the error that most had.
func (n *Node) enough(what string, errs []error) error {
	good, votes := 0, map[string]int{}
	var winner error
	for i, err := range errs {
		if err == nil {
			good++
			continue
		}
		n.warnf("child %d fails to %s: %v", i, what, err)
		key := engine.Errno(err).Error()
		if votes[key]++; winner == nil || votes[key] > votes[engine.Errno(winner).Error()] {
			winner = err
		}
	}
	if good >= n.o.Threshold {
		return nil
	}
	return engine.Errf(engine.ErrIO, "%d of %d children agree, %d must: %w", good, len(errs), n.o.Threshold, winner)
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	if n.o.Pattern == "fifo" {
		return n.readFirst(ctx, p, off)
	}
	if bad, err := n.vote(ctx, p, off); err == nil && len(bad) == 0 {
		return nil
	}
	// A write may have been seen by some only.
	count := int64(len(p))
	n.ranges.Lock(off, count, true)
	defer n.ranges.Unlock(off, count, true)
	bad, err := n.vote(ctx, p, off)
	for _, i := range bad {
		n.warnf("child %d differs at %#x+%d", i, off, count)
		if err == nil && n.o.Rewrite.On && n.info.Caps.Has(engine.CapWritable) {
			n.rewrite(ctx, i, p, off)
		}
	}
	return err
}

// readFirst believes the first child that answers.
func (n *Node) readFirst(ctx context.Context, p []byte, off int64) error {
	var err error
	for i, c := range n.children {
		if err = pass.ReadTail(ctx, c, p, off); err == nil {
			return nil
		}
		n.warnf("child %d fails to read: %v", i, err)
	}
	return err
}

// vote reads from all children and puts the winning content into p. It returns those that say something else.
func (n *Node) vote(ctx context.Context, p []byte, off int64) (bad []int, err error) {
	said := make([][]byte, len(n.children))
	said[0] = p
	for i := range said[1:] {
		said[i+1] = make([]byte, len(p))
	}
	errs := n.all(func(i int, c *engine.Ref) error { return pass.ReadTail(ctx, c, said[i], off) })
	if err := n.enough("read", errs); err != nil {
		return nil, err
	}
	votes := make([]int, len(said)) // of the first child that says it
	winner := -1
	for i := range said {
		if errs[i] != nil {
			continue
		}
		j := 0
		for j < i && (errs[j] != nil || !bytes.Equal(said[i], said[j])) {
			j++
		}
		if votes[j]++; winner < 0 || votes[j] > votes[winner] {
			winner = j
		}
	}
	for i := range said {
		if errs[i] == nil && !bytes.Equal(said[i], said[winner]) {
			bad = append(bad, i)
		}
	}
	switch {
	case n.o.Blkverify.On && len(bad) > 0:
		return bad, engine.Errf(engine.ErrCorrupt, "contents mismatch at offset %d", off+int64(difference(said[0], said[1])))
	case votes[winner] < n.o.Threshold:
		return bad, engine.Errf(engine.ErrIO, "%d children have the same content, %d must", votes[winner], n.o.Threshold)
	}
	if winner != 0 {
		copy(p, said[winner])
	}
	return bad, nil
}

func difference(a, b []byte) int {
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i
}

// rewrite writes the winning content over what a child has.
func (n *Node) rewrite(ctx context.Context, i int, p []byte, off int64) {
	in := p[:min(int64(len(p)), max(0, n.Size()-off))]
	if err := n.children[i].WriteAt(ctx, in, off, 0); err != nil {
		n.warnf("child %d fails to be rewritten: %v", i, err)
	}
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	count := int64(len(p))
	n.ranges.Lock(off, count, true)
	defer n.ranges.Unlock(off, count, true)
	p = p[:min(int64(len(p)), max(0, n.Size()-off))]
	return n.enough("write", n.all(func(_ int, c *engine.Ref) error { return c.WriteAt(ctx, p, off, flags) }))
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	n.ranges.Lock(off, count, true)
	defer n.ranges.Unlock(off, count, true)
	return n.enough("write zeroes", n.all(func(_ int, c *engine.Ref) error { return c.WriteZeroes(ctx, off, count, flags&^engine.NoFallback) }))
}

// Flush implements engine.Node.
func (n *Node) Flush(ctx context.Context) error {
	return n.enough("flush", n.all(func(_ int, c *engine.Ref) error { return c.Flush(ctx) }))
}

// Extents knows a run to be zeroes when all children do.
func (n *Node) Extents(ctx context.Context, off, count int64, dst []engine.Extent) ([]engine.Extent, error) {
	e := engine.Extent{Off: off, Len: count, Flags: engine.ExtentZero | engine.ExtentAllocated}
	for _, c := range n.children {
		ext, err := c.Extents(ctx, off, e.Len, nil)
		if err != nil || ext[0].Flags&engine.ExtentZero == 0 {
			e.Flags = engine.ExtentData | engine.ExtentAllocated
		}
		if err == nil {
			e.Len = min(e.Len, ext[0].Len)
		}
	}
	return append(dst, e), nil
}

// Close closes all.
func (n *Node) Close() error {
	var err error
	for _, c := range n.children {
		err = errors.Join(err, c.Close())
	}
	return err
}

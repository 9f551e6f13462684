package engine

import (
	"errors"
	"slices"
)

// plan is what a graph was flattened into. Stage 0 is the root.
type plan struct {
	stages []stage
	leaves []*leaf
	lone   *leaf // the only stage, when that is a leaf
	simple bool  // no admission and no observation: a request that is one piece needs no walk
	graced bool  // mappings, exchanges or read-modify-writes are at stake: take part in grace periods
}

type stageKind uint8

const (
	stageMap stageKind = iota
	stageFilter
	stageLeaf
	stageOpaque
)

// writeRules are what a reference asks of writes besides passing them on.
type writeRules uint8

const (
	ruleSlow    writeRules = 1 << iota // take the slow lane here: the reference is read-only, or looks for zeroes
	ruleDurable                        // write-through: FUA from here on
)

type stage struct {
	kind     stageKind
	rules    writeRules
	admitBit uint8   // filter: its bit in walk.admitted
	inner    bool    // not the root: the size is not checked yet
	belowMap bool    // there is a mapper above it
	next     int32   // filter: the stage below
	children []int32 // map: the stage of each child, or -1
	leaf     *leaf
	mapper   Mapper
	filter   Stage
	again    Regulator // filter: its Admit, where that has to choose
	ref      *Ref
}

// leaf is a queue that stages of one node share.
type leaf struct {
	q       Queue
	ref     *Ref
	batch   []*Request // to be submitted, in order; what the queue did not take stays at the front
	mask    uint64     // request alignment - 1
	memMask uint64
	maxIO   uint32
	ops     [OpNop + 1]bool
}

// QueueOps is implemented by leaf queues that can do more than read and write.
type QueueOps interface {
	// Supports reports whether Submit takes the operation.
	Supports(op Op) bool
}

const (
	maxDepth  = 200
	maxStages = 1 << 12
)

// stageKey is what makes two ways to a node one stage.
type stageKey struct {
	st       *nodeState
	flags    OpenFlags
	format   bool
	belowMap bool
}

type flattener struct {
	plan
	p       *Path
	seen    map[stageKey]int32
	clones  map[stageKey]*Ref
	admits  uint8
	credits int
}

// flatten compiles the graph into stages. What is the same as before (queues, references) stays; what is no longer needed is given
// back. Nothing is in flight.
func (p *Path) flatten() error {
	gen := graphGen.Load()
	f := &flattener{p: p, seen: map[stageKey]int32{}, clones: map[stageKey]*Ref{}}
	f.simple = true
	_, err := f.add(p.root, 0, false)
	old, oldClones := p.plan, p.clones
	if err != nil {
		// Keep what was; throw away what is new.
		old, oldClones, f.plan, f.clones = f.plan, f.clones, old, oldClones
	}
	for _, l := range old.leaves {
		if !slices.Contains(f.leaves, l) {
			err = errors.Join(err, p.closeLeaf(l))
		}
	}
	for key, ref := range oldClones {
		switch {
		case f.clones[key] == ref:
		case err != nil:
			err = errors.Join(err, ref.Close())
		default:
			p.retired.Go(func() { p.retireErr.put(ref.Close()) }) // the last one closes the node, which this thread must not wait for
		}
	}
	p.plan, p.clones = f.plan, f.clones
	if err != nil {
		return err
	}
	p.graced = len(p.stages) > 1 || (len(p.leaves) == 1 && p.leaves[0].mask != 0)
	if p.lone = nil; p.simple && p.stages[0].kind == stageLeaf {
		p.lone = p.stages[0].leaf
	}
	p.gen = gen
	return nil
}

// regenerate flattens again after a change of a graph; nothing is in flight.
func (p *Path) regenerate() error {
	p.stats.Regens++
	return p.flatten()
}

func (f *flattener) clone(key stageKey, ref *Ref) *Ref {
	c := f.p.clones[key]
	if c == nil {
		c = ref.Clone(ref.flags)
	}
	f.clones[key] = c
	return c
}

func (f *flattener) add(ref *Ref, depth int, belowMap bool) (int32, error) {
	key := stageKey{ref.st, ref.flags, ref.format, belowMap}
	if at, ok := f.seen[key]; ok {
		return at, nil
	}
	if depth > maxDepth {
		return 0, Errf(ErrUnsupported, "graph deeper than %d layers", maxDepth)
	}
	if len(f.stages) == maxStages {
		return 0, Errf(ErrUnsupported, "graph of more than %d nodes", maxStages)
	}
	at := int32(len(f.stages))
	f.seen[key] = at
	st := stage{ref: f.clone(key, ref), kind: stageOpaque, inner: depth > 0, belowMap: belowMap}
	if !ref.Writable() || ref.flags.DetectZeroes != DetectOff {
		st.rules |= ruleSlow
	}
	if ref.flags.Cache.WriteThrough {
		st.rules |= ruleDurable
	}
	f.stages = append(f.stages, st)
	var err error
	if n, ok := ref.st.node.(QueueOpener); ok {
		err = f.addLeaf(at, n)
		if !errors.Is(err, ErrUnsupported) {
			return at, err
		}
		// No polled plane in this configuration: the other ways serve.
	}
	switch n := ref.st.node.(type) {
	case Mapper:
		err = f.addMapper(at, n, depth)
	case Stager:
		err = f.addFilter(at, n, depth)
	default:
		err = nil
	}
	return at, err
}

func (f *flattener) addMapper(at int32, n Mapper, depth int) error {
	if watched(n) {
		return nil // what it maps would go past the filter that counts its steps
	}
	var children []int32
	for _, c := range n.Children() {
		below := int32(-1)
		if c.Ref != nil {
			var err error
			if below, err = f.add(c.Ref, depth+1, true); err != nil {
				return err
			}
		}
		children = append(children, below)
	}
	st := &f.stages[at]
	st.kind, st.mapper, st.children = stageMap, n, children
	return nil
}

// addFilter leaves a filter opaque when the polled plane cannot do its part: its blocking methods serve then.
func (f *flattener) addFilter(at int32, n Stager, depth int) error {
	part, belowMap := n.Stage(), f.stages[at].belowMap
	if part.Child == nil || part.Transform != nil || (belowMap && part.Observe != nil) || (belowMap && part.Admit != nil && f.credits > 0) {
		return nil
	}
	if belowMap && part.Admit != nil {
		f.credits++
	}
	below, err := f.add(part.Child, depth+1, belowMap)
	if err != nil {
		return err
	}
	st := &f.stages[at]
	st.kind, st.filter, st.next = stageFilter, part, below
	if part.Admit != nil {
		if f.admits == 8 {
			return Errf(ErrUnsupported, "more than 8 throttles and delays in one graph")
		}
		st.admitBit = 1 << f.admits
		st.again, _ = part.Admit.(Regulator)
		f.admits++
	}
	if part.Admit != nil || part.Observe != nil {
		f.simple = false
	}
	return nil
}

func (f *flattener) addLeaf(at int32, n QueueOpener) error {
	st := &f.stages[at]
	same := func(l *leaf) bool { return l.ref.st == st.ref.st }
	if i := slices.IndexFunc(f.leaves, same); i >= 0 {
		st.kind, st.leaf = stageLeaf, f.leaves[i]
		return nil
	}
	var l *leaf
	if i := slices.IndexFunc(f.p.leaves, same); i >= 0 {
		l = f.p.leaves[i]
		l.ref = st.ref
	} else {
		var err error
		if l, err = f.p.openLeaf(n, st.ref); err != nil {
			return err
		}
	}
	f.leaves = append(f.leaves, l)
	st.kind, st.leaf = stageLeaf, l
	return nil
}

func (p *Path) openLeaf(n QueueOpener, ref *Ref) (*leaf, error) {
	depth := p.cfg.Depth + len(p.pieces)
	q, err := n.OpenQueue(p.ctx, QueueConfig{Poller: p.cfg.Poller, Depth: depth, Arenas: p.cfg.Arenas, Poll: p.cfg.Poll})
	if err != nil {
		return nil, ref.wrap("open queue", 0, -1, err)
	}
	l := &leaf{q: q, ref: ref, mask: uint64(ref.st.align - 1), memMask: uint64(ref.st.mem - 1)}
	l.maxIO = uint32(min(ref.st.maxIO, 1<<30))
	l.batch = make([]*Request, 0, depth)
	l.ops[OpRead], l.ops[OpWrite] = true, true
	if s, ok := q.(QueueOps); ok {
		for op := range l.ops {
			l.ops[op] = l.ops[op] || s.Supports(Op(op))
		}
	}
	ref.st.paths.Add(1)
	return l, nil
}

func (p *Path) closeLeaf(l *leaf) error {
	err := l.q.Close()
	l.ref.st.paths.Add(-1)
	return l.ref.wrap("close queue", 0, -1, err)
}

var stageWords = [...]string{stageMap: "map", stageFilter: "filter", stageLeaf: "leaf", stageOpaque: "opaque"}

// Flattened describes the stages for tests and `--verbose`: one word per stage, in order.
func (p *Path) Flattened() []string {
	var out []string
	for i := range p.stages {
		st := &p.stages[i]
		out = append(out, stageWords[st.kind]+":"+st.ref.st.info.Driver)
	}
	return out
}

// takes reports whether a read or write may go to the leaf at off as it is; flags are those of the write.
func (st *stage) takes(r *Request, off int64, flags WriteFlags) bool {
	l := st.leaf
	if (uint64(off)|uint64(r.Len))&l.mask|r.Buf.Offset()&l.memMask != 0 || r.Len > l.maxIO {
		return false
	}
	return r.Op == OpRead || st.takesWrite(off, int64(r.Len), flags)
}

// takesWrite: fast writes never make a node grow, since only the blocking call knows the new size to be published.
func (st *stage) takesWrite(off, n int64, flags WriteFlags) bool {
	switch {
	case st.rules&ruleSlow != 0,
		flags&FUA != 0 && !st.ref.st.info.Caps.Has(CapFUA),
		flags&Compressed != 0,
		st.inner && off+n > st.ref.Size():
		return false
	}
	return st.leaf.mask == 0 || !st.ref.st.locks.blocks(off, n)
}

// takesOther is takes for what is no read or write.
func (st *stage) takesOther(r *Request, off int64) bool {
	n, node := int64(r.Len), st.ref.st
	if !st.leaf.ops[r.Op] {
		return false
	}
	whole := func(unit uint32, most int64) bool {
		u := int64(max(unit, node.align))
		return off%u == 0 && n%u == 0 && (most == 0 || n <= most) && (!st.inner || off+n <= st.ref.Size()) && !node.locks.blocks(off, n)
	}
	switch r.Op {
	case OpNop:
		return true
	case OpFlush:
		return node.info.Caps.Has(CapWritable)
	case OpDiscard:
		return st.passesOther(r) && whole(node.info.Limits.DiscardAlign, node.info.Limits.MaxDiscard)
	case OpZero:
		return st.passesOther(r) && whole(node.info.Limits.ZeroAlign, node.info.Limits.MaxZero)
	default:
		return false
	}
}

// passesOther reports whether a reference has nothing to say about an operation that is no read or write; else its blocking method
// applies the node's capabilities and the user's flags.
func (st *stage) passesOther(r *Request) bool {
	ref := st.ref
	switch r.Op {
	case OpDiscard:
		return ref.Writable() && ref.flags.Discard && ref.st.info.Caps.Has(CapDiscard)
	case OpZero:
		return ref.Writable() && st.rules&ruleDurable == 0 && ref.st.info.Caps.Has(CapZero) &&
			(r.Flags&MayUnmap == 0 || ref.flags.Discard) && (r.Flags&FUA == 0 || ref.st.info.Caps.Has(CapFUA))
	default:
		return true
	}
}

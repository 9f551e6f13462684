package gen

// Fill sets every element of ops: the batch variant of Next.
func (w *Workload) Fill(ops []Op) {
	if w.plain {
		w.fillPlain(ops)
		return
	}
	for i := range ops {
		ops[i] = w.Next()
	}
}

// isPlain tells whether every request is a random block of the one size, which
// needs no state but the generator's.
func (w *Workload) isPlain() bool {
	c := &w.cfg
	if !c.Pattern.Random() || c.Pattern == RandTrimWrite || c.Zone.Size > 0 || c.Run > 1 {
		return false
	}
	for d := range Dir(Dirs) {
		if c.Pattern.Has(d) && (w.sizer(d, true).pop != nil || w.seqCut[d] != 0) {
			return false
		}
	}
	return true
}

// fillPlain makes what Next would, without its decisions.
func (w *Workload) fillPlain(ops []Op) {
	d, mixed := Read, w.cfg.Pattern == RandMixed
	for d < Trim && !w.cfg.Pattern.Has(d) {
		d++
	}
	if p := w.places[d]; !mixed && p.kind == placePerm {
		w.fillPerm(ops, d, p.perm)
		return
	}
	for i := range ops {
		if mixed {
			if d = Write; w.dirRand.hit(w.readCut) {
				d = Read
			}
		}
		p := w.places[d]
		var block uint64
		if p.kind == placePerm {
			block = p.perm.Next()
		} else {
			block = p.next()
		}
		ops[i] = Op{w.low + int64(block)*w.align[d], uint32(w.sizer(d, true).min), d}
	}
}

// fillPerm is fillPlain for one direction that visits each block once.
func (w *Workload) fillPerm(ops []Op, d Dir, perm *Perm) {
	var blocks [permBatch]uint64
	n, align := uint32(w.sizer(d, true).min), w.align[d]
	for len(ops) > 0 {
		some := ops[:min(len(ops), permBatch)]
		perm.Fill(blocks[:len(some)])
		for i := range some {
			some[i] = Op{w.low + int64(blocks[i])*align, n, d}
		}
		ops = ops[len(some):]
	}
}

// Next is the next request, whatever direction the mix gives it.
func (w *Workload) Next() Op {
	switch w.cfg.Pattern {
	case SeqMixed, RandMixed:
		d := Write
		if w.dirRand.hit(w.readCut) {
			d = Read
		}
		return w.NextOf(d)
	case SeqTrimWrite, RandTrimWrite:
		return w.trimThenWrite()
	case SeqWrite, RandWrite:
		return w.NextOf(Write)
	case SeqTrim, RandTrim:
		return w.NextOf(Trim)
	default:
		return w.NextOf(Read)
	}
}

// trimThenWrite trims a block and then writes the same.
func (w *Workload) trimThenWrite() Op {
	if w.pair {
		w.pair = false
		at := w.last[Trim]
		w.last[Write] = at
		return Op{Off: at.begin, Len: uint32(at.end - at.begin), Dir: Write}
	}
	w.pair = true
	return w.NextOf(Trim)
}

// NextOf is the next request of a direction that the pattern has, for callers
// who choose the direction themselves (a rate per direction, for example).
func (w *Workload) NextOf(d Dir) Op {
	if w.cfg.Zone.Size > 0 && w.zoneLeft <= 0 {
		w.nextZone()
	}
	off, random := w.offset(d)
	z := w.sizer(d, random)
	n := z.fit(&w.sizeRand, w.high-off)
	if n == 0 { // the end of the range
		w.wraps++
		off = w.low
		n = z.fit(&w.sizeRand, w.high-off)
	}
	w.last[d] = place{off, off + n}
	w.zoneLeft -= n
	return Op{Off: off, Len: uint32(n), Dir: d}
}

// offset chooses where the next request begins and tells whether it was drawn.
func (w *Workload) offset(d Dir) (off int64, random bool) {
	p := w.places[d]
	if p == nil {
		return w.sequential(d), false
	}
	at := &w.last[d]
	room := at.end+w.sizer(d, false).min <= w.high
	if w.left[d] > 0 && (room || w.cfg.Identical) {
		w.left[d]--
		if w.cfg.Identical {
			return at.begin, false
		}
		return at.end, false
	}
	if cut := w.seqCut[d]; cut != 0 && w.kindRand.hit(cut) && room {
		return at.end, false
	}
	w.left[d] = w.cfg.Run - 1
	return w.low + int64(p.next())*w.align[d], true
}

// sequential is the end of the last request and the stride, within the range.
func (w *Workload) sequential(d Dir) int64 {
	at := &w.last[d]
	off := at.end
	if at.begin < 0 || w.cfg.Stride == 0 {
		return off
	}
	off += w.cfg.Stride
	if off < w.low { // backwards beyond the beginning: as fio, from the end
		w.wraps++
		off = max(min(w.high+w.cfg.Stride, w.high-w.sizer(d, false).min), w.low)
	}
	return off
}

// enterZone makes [begin, begin+Range) the range in force, cut at the end of
// the whole.
func (w *Workload) enterZone(begin int64) {
	z := &w.cfg.Zone
	end := w.cfg.Offset + w.cfg.Size
	w.low, w.high = begin, min(begin+z.Range, end)
	w.zoneLeft = z.Size
	if w.high-w.low < z.Range { // a cut zone is gone through once
		w.zoneLeft = min(z.Size, w.high-w.low)
	}
}

// nextZone goes on to the next zone that has room for a request.
func (w *Workload) nextZone() {
	z := &w.cfg.Zone
	begin := w.low + z.Range + z.Skip
	end := w.cfg.Offset + w.cfg.Size
	if begin+w.smallest() > end {
		begin = w.cfg.Offset
		w.wraps++
	}
	w.enterZone(begin)
	w.rewind()
	for d := range Dir(Dirs) {
		p := w.places[d]
		if p == nil || d > 0 && p == w.places[d-1] || d > 1 && p == w.places[0] {
			continue
		}
		p.resize(w.blocks(d))
	}
}

// smallest is the largest of the smallest sizes of the directions at hand: a
// zone must have room for every direction.
func (w *Workload) smallest() int64 {
	n := int64(0)
	for d := range Dir(Dirs) {
		if w.cfg.Pattern.Has(d) {
			n = max(n, w.sizer(d, w.cfg.Pattern.Random()).min)
		}
	}
	return n
}

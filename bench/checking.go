package bench

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/bench/verify"
	"github.com/blkbench/blkbench/engine"
)

// checking is verification: it fills what is written, remembers what has to be, and checks what is read.
type checking struct {
	w       *worker
	files   []*checked
	async   *asyncCheckers
	seqs    bool // verify_write_sequence: a block must be from its last write
	readers bool // the job only reads: every block it sees is checked
	done    bool // what was written has been read back
	queue   int  // file whose backlog is being read back
	first   *verify.Fault
	out     result.Verify
}

// checked is one file's part.
type checked struct {
	f       *file
	v       *verify.Verifier
	ledger  *verify.Ledger // nil where writes can be made again from the seed
	backlog *verify.Backlog
	late    []verify.Past // acknowledged while the backlog was full
	seq     uint64        // of the last write issued
	base    uint64        // seq at the beginning of the loop
	state   *verify.State // loaded
}

// ledgerLimit bounds the memory of one file's ledger, in bytes. What is never written takes none.
const ledgerLimit = 4 << 30

// newChecking makes the checker of a job that verifies; nil for others.
func newChecking(w *worker) (*checking, error) {
	j := w.job
	if j.Verify.Kind == fiojob.VerifyNone {
		return nil, nil
	}
	c := &checking{w: w, seqs: j.Verify.CheckWrite, readers: !j.RW.Kind.Writes()}
	c.out.Kind = verifyKinds[j.Verify.Kind].String()
	for i, f := range w.files {
		x := &checked{f: f}
		c.files = append(c.files, x)
		f.checked = x
		if err := c.open(x, i); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", j.Name, f.name, err)
		}
	}
	if j.Verify.Async > 0 {
		c.async = newAsyncCheckers(w)
	}
	return c, nil
}

var verifyKinds = map[fiojob.VerifyKind]verify.Kind{
	fiojob.VerifyMD5: verify.MD5, fiojob.VerifyCRC64: verify.CRC64, fiojob.VerifyCRC32: verify.CRC32, fiojob.VerifyCRC32C: verify.CRC32C,
	fiojob.VerifyCRC16: verify.CRC16, fiojob.VerifyCRC7: verify.CRC7, fiojob.VerifySHA1: verify.SHA1, fiojob.VerifySHA256: verify.SHA256,
	fiojob.VerifySHA512: verify.SHA512, fiojob.VerifySHA3x224: verify.SHA3x224, fiojob.VerifySHA3x256: verify.SHA3x256,
	fiojob.VerifySHA3x384: verify.SHA3x384, fiojob.VerifySHA3x512: verify.SHA3x512, fiojob.VerifyXXHash: verify.XXHash,
	fiojob.VerifyMeta: verify.Meta, fiojob.VerifyPattern: verify.Pattern, fiojob.VerifyNull: verify.Null,
}

// config is the verifier's of one file.
func (c *checking) config(x *checked) (verify.Config, error) {
	j := c.w.job
	v := &j.Verify
	cfg := verify.Config{
		Kind: verifyKinds[v.Kind], Seed: seedOf(j), Target: x.f.name, Interval: int(v.Interval), HeaderOffset: int(v.Offset),
		AnySeed: !v.CheckSeed || (c.readers && !given(j, "verify_header_seed") && !v.LoadState),
	}
	b := &j.Buffer
	switch {
	case !v.Pattern.IsZero():
		p, err := genPattern(v.Pattern)
		if err != nil {
			return cfg, err
		}
		cfg.Body, cfg.Pattern = verify.Patterned, p
	case b.Compress > 0 || b.Dedupe > 0 || b.Zero || !b.Pattern.IsZero():
		cfg.Body = verify.Caller
	}
	return cfg, nil
}

func (c *checking) open(x *checked, i int) error {
	j := c.w.job
	cfg, err := c.config(x)
	if err != nil {
		return err
	}
	if j.Verify.LoadState {
		if x.state, err = verify.ReadStateFile(c.stateName(i), ledgerLimit); err != nil {
			return err
		}
		cfg.Seed = x.state.Seed
		if err := x.state.Matches(&cfg, x.f.offset, x.f.size); err != nil {
			return fmt.Errorf("%s: %w", c.stateName(i), err)
		}
	}
	if x.v, err = verify.New(cfg); err != nil {
		return err
	}
	g, err := genConfig(j, x.f, i)
	if err != nil {
		return err
	}
	written := ioSize(j, x.f.size)
	if j.Time.TimeBased {
		written = 1<<63 - 1
	}
	e := &j.Errors
	if !c.readers && (verify.NeedsLedger(&g, written) || e.ContinueWrite || len(e.Ignore[ignoreWrite]) > 0 || (j.Rate.Limited() && j.RW.Kind.Mixed()) ||
		j.Files.FillDevice || len(j.Replay.Logs) > 0) {
		if x.ledger, err = verify.NewLedger(x.f.offset, x.f.size, j.Verify.Interval, ledgerLimit); err != nil {
			return err
		}
	}
	if j.Verify.Backlog > 0 && !c.readers {
		x.backlog, err = verify.NewBacklog(int(j.Verify.Backlog), int(j.Verify.BacklogBatch))
	}
	return err
}

// stateName is the file that keeps how far the writes to a file came.
func (c *checking) stateName(i int) string {
	j := c.w.job
	name := j.Name
	if i > 0 {
		name = fmt.Sprintf("%s.%d", j.Name, i)
	}
	return filepath.Join(c.w.run.cfg.Plan.Run.AuxPath, verify.StateName(name, j.Clone))
}

// ownData reports whether blocks hold the job's own data besides their headers.
func (c *checking) ownData() bool { return c.files[0].v.Config().Body == verify.Caller }

// apart reports whether requests must not overlap: which of two writes came last, or what a read should have found, would not be known.
func (c *checking) apart() bool { return c.files[0].ledger != nil || c.files[0].backlog != nil }

// prepare fills a write with what tells which write it is, or notes what a read should find.
func (c *checking) prepare(r *engine.Request, s *slot) {
	x := s.file.checked
	switch s.dir {
	case fiojob.Write:
		x.seq++
		s.seq, s.open = x.seq, true
		x.v.Fill(c.w.bytes(r), r.Off, s.seq, c.w.clock.Wall(c.w.clock.Now()).UnixNano())
		if x.ledger != nil {
			x.ledger.Issued(r.Off, int64(r.Len), s.seq)
		}
	case fiojob.Trim:
		if x.ledger != nil {
			x.ledger.Trimmed(r.Off, int64(r.Len), false)
		}
	case fiojob.Read:
		if s.verify || !c.readers {
			return
		}
		s.verify, s.expect = true, verify.Any
	}
}

// completed takes note of a write, or checks a read. False: the request is still being looked at.
func (c *checking) completed(r *engine.Request, s *slot) bool {
	x := s.file.checked
	switch {
	case s.dir == fiojob.Write:
		s.open = false
		if x.ledger != nil {
			x.ledger.Completed(r.Off, int64(r.Len), s.seq)
		}
		if p := (verify.Past{Off: r.Off, Len: r.Len, Sequence: s.seq}); x.backlog != nil && !x.backlog.Push(p) {
			x.late = append(x.late, p)
		}
	case s.verify:
		if c.async != nil {
			c.async.send(x, r, s)
			return false
		}
		c.judge(x.v.Check(c.w.bytes(r), r.Off, s.expect))
	}
	return true
}

// judge counts a checked request and deals with what is wrong with it.
func (c *checking) judge(f *verify.Fault) {
	w := c.w
	c.out.Blocks++
	if f == nil {
		return
	}
	j := w.job
	if w.ignored(syscall.EILSEQ, &slot{}) {
		return
	}
	c.out.Failures++
	w.iv.errors++
	text := f.Error()
	if j.Verify.Dump || (c.first == nil && !given(j, "verify_dump")) {
		names, err := f.Dump(w.run.cfg.Plan.Run.AuxPath)
		if err != nil {
			w.run.warn("%s: verify_dump: %v", j.Name, err)
		}
		if len(names) > 0 {
			text += "; kept as " + strings.Join(names, " and ")
		}
	}
	if c.first == nil {
		c.first = f
		c.out.First = text
		w.run.warn("%s: verify: %s", j.Name, text)
	} else if j.Errors.Dump {
		w.run.warn("%s: verify: %s", j.Name, text)
	}
	w.mu.Lock()
	if len(w.firstErrs) < maxErrors {
		w.firstErrs = append(w.firstErrs, result.IOError{Target: f.Target, Op: "verify", Off: f.Off, Len: int64(f.Len), Text: text})
	}
	w.mu.Unlock()
	if j.Verify.Fatal {
		w.setFailure(c.verdict())
	}
}

// verdict is the error of a job whose data was bad; nil where it was not, or where that does not end the job.
func (c *checking) verdict() error {
	if c.first == nil || (c.w.job.Errors.ContinueVerify && !c.w.job.Verify.Fatal) {
		return nil
	}
	return fmt.Errorf("%s: verify: %d of %d reads are not what was written, the first: %s: %w",
		c.w.job.Name, c.out.Failures, c.out.Blocks, c.first.Error(), syscall.EILSEQ)
}

// due makes a read of the backlog, where one is due before any more writes.
func (c *checking) due(st *step) bool {
	for range c.files {
		x := c.files[c.queue]
		if x.backlog != nil && x.backlog.Due() {
			if p, ok := x.backlog.Pop(); ok {
				if n := len(x.late); n > 0 && x.backlog.Push(x.late[n-1]) {
					x.late = x.late[:n-1]
				}
				c.read(st, x, p.Off, p.Len, x.expect(p.Off, int64(p.Len), p.Sequence))
				return true
			}
		}
		c.queue = (c.queue + 1) % len(c.files)
	}
	return false
}

func (c *checking) read(st *step, x *checked, off int64, n uint32, e verify.Expect) {
	if !c.seqs && e.State == verify.Written {
		e.Sequence = 0
	}
	*st = step{dir: fiojob.Read, file: x.f, off: off, n: n, verify: true, expect: e}
}

// expect is what a range that was written as one should hold now.
func (x *checked) expect(off, n int64, seq uint64) verify.Expect {
	if x.ledger != nil {
		return x.ledger.Expect(off, n)
	}
	return verify.Expect{State: verify.Written, Sequence: seq}
}

// remaining is what verify_backlog has not yet read back.
func (c *checking) remaining(x *checked) iter.Seq[step] {
	return func(yield func(step) bool) {
		for {
			p, ok := x.backlog.Drain()
			if n := len(x.late); !ok && n > 0 {
				p, ok = x.late[n-1], true
				x.late = x.late[:n-1]
			}
			if !ok {
				return
			}
			var st step
			c.read(&st, x, p.Off, p.Len, x.expect(p.Off, int64(p.Len), p.Sequence))
			if !yield(st) {
				return
			}
		}
	}
}

// writesOf makes a loop's writes to a file again: from the ledger, or from the seed.
func (c *checking) writesOf(x *checked) (iter.Seq[step], error) {
	if x.backlog != nil && !c.w.job.Verify.Only {
		return c.remaining(x), nil
	}
	if x.ledger != nil {
		return c.fromLedger(x, x.ledger), nil
	}
	return c.fromSeed(x, x.base, x.seq, func(seq uint64) verify.Expect { return verify.Expect{State: verify.Written, Sequence: seq} })
}

// fromSeed runs the file's generator again, for the writes (from, to].
func (c *checking) fromSeed(x *checked, from, to uint64, expect func(uint64) verify.Expect) (iter.Seq[step], error) {
	cfg, err := genConfig(c.w.job, x.f, x.f.index)
	if err != nil {
		return nil, err
	}
	if c.readers { // the job that wrote had the same offsets in the other direction
		asWriter(&cfg)
	}
	if x.state != nil {
		cfg.Seed = x.state.Seed + uint64(x.f.index)*fileSeed
	}
	g, err := gen.New(cfg)
	if err != nil {
		return nil, err
	}
	return func(yield func(step) bool) {
		for seq := from; seq < to; {
			op := g.Next()
			if op.Dir != gen.Write {
				continue
			}
			seq++
			e := expect(seq)
			if e.State == verify.Unknown {
				continue
			}
			var st step
			c.read(&st, x, op.Off, op.Len, e)
			if !yield(st) {
				return
			}
		}
	}, nil
}

// asWriter turns the generator of a reading job into that of the job that wrote.
func asWriter(c *gen.Config) {
	if c.Pattern.Random() {
		c.Pattern = gen.RandWrite
	} else {
		c.Pattern = gen.SeqWrite
	}
	c.Sizes[gen.Write], c.Align[gen.Write] = c.Sizes[gen.Read], c.Align[gen.Read]
	c.Dist[gen.Write], c.SeqPercent[gen.Write] = c.Dist[gen.Read], c.SeqPercent[gen.Read]
}

// fromLedger reads what a ledger knows, neighbours of one write together.
func (c *checking) fromLedger(x *checked, l *verify.Ledger) iter.Seq[step] {
	most := c.w.stride
	return func(yield func(step) bool) {
		var run step
		var raw verify.Expect
		flush := func() bool {
			if run.n == 0 {
				return true
			}
			st := run
			run.n = 0
			return yield(st)
		}
		for off, e := range l.Blocks() {
			if e.State != verify.Written && e.State != verify.Uncertain {
				continue
			}
			if run.n > 0 && run.off+int64(run.n) == off && raw == e && int64(run.n)+l.Unit() <= most {
				run.n += uint32(l.Unit())
				continue
			}
			if !flush() {
				return
			}
			c.read(&run, x, off, uint32(l.Unit()), e)
			raw = e
		}
		flush()
	}
}

// loaded is what an earlier run has written, by its state.
func (c *checking) loaded(x *checked) (iter.Seq[step], error) {
	st := x.state
	if st.Ledger != nil {
		return c.fromLedger(x, st.Ledger), nil
	}
	pending := map[uint64]bool{}
	for _, p := range st.Pending {
		pending[p.Sequence] = true
	}
	return c.fromSeed(x, 0, st.Issued, func(seq uint64) verify.Expect {
		if pending[seq] {
			return verify.Expect{State: verify.Uncertain, Sequence: seq}
		}
		return verify.Expect{State: verify.Written, Sequence: seq}
	})
}

// rehearse goes through the job's writes without making any: verify_only.
func (c *checking) rehearse() {
	var st step
	for c.w.src.next(&st) {
		if st.dir != fiojob.Write {
			continue
		}
		x := st.file.checked
		x.seq++
		if x.ledger != nil {
			x.ledger.Issued(st.off, int64(st.n), x.seq)
			x.ledger.Completed(st.off, int64(st.n), x.seq)
		}
	}
}

// source reads back everything.
func (c *checking) source() (*readBack, error) {
	var parts []iter.Seq[step]
	for _, x := range c.files {
		var p iter.Seq[step]
		var err error
		switch {
		case x.state != nil:
			p, err = c.loaded(x)
		default:
			p, err = c.writesOf(x)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	next, stop := iter.Pull(func(yield func(step) bool) {
		for _, p := range parts {
			for st := range p {
				if !yield(st) {
					return
				}
			}
		}
	})
	return &readBack{next, stop}, nil
}

// readBack is a source of reads for verification.
type readBack struct {
	pull func() (step, bool)
	stop func()
}

func (b *readBack) next(st *step) bool {
	v, ok := b.pull()
	if ok {
		*st = v
	}
	return ok
}

func (b *readBack) want() (gen.Dir, gen.Dir, bool)  { return gen.Read, gen.Read, true }
func (b *readBack) nextOf(_ gen.Dir, st *step) bool { return b.next(st) }
func (b *readBack) again() bool                     { return false }

// close ends verification: the state of what has not been read back is kept, the outcome is told.
func (c *checking) close() error {
	var err error
	if c.async != nil {
		c.async.close()
	}
	w := c.w
	if w.job.Verify.SaveState && !c.readers && !c.done && !w.job.Verify.Only {
		for i, x := range c.files {
			if x.seq > 0 {
				err = errors.Join(err, c.save(x, i))
			}
		}
	}
	w.mu.Lock()
	out := c.out
	w.verifyResult = &out
	w.mu.Unlock()
	return err
}

func (c *checking) save(x *checked, i int) error {
	cfg := x.v.Config()
	s := verify.State{
		Job: c.w.job.Name, Index: uint32(c.w.job.Clone), Target: x.f.name, Kind: cfg.Kind, Body: cfg.Body, Seed: cfg.Seed,
		Interval: uint32(cfg.Interval), HeaderOffset: uint32(cfg.HeaderOffset), Offset: x.f.offset, Size: x.f.size,
		Issued: x.seq, Acked: x.seq, Ledger: x.ledger,
	}
	for i := range c.w.slots {
		sl, r := &c.w.slots[i], &c.w.slab[i]
		if sl.file == x.f && sl.open {
			s.Acked = min(s.Acked, sl.seq-1)
			s.Pending = append(s.Pending, verify.Past{Off: r.Off, Len: r.Len, Sequence: sl.seq})
		}
	}
	return s.WriteFile(c.stateName(i))
}

package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
)

// jobSource turns a job's generators, one per file, into one stream of steps, and knows when the job has done its share.
type jobSource struct {
	job    *fiojob.Job
	files  []*fileSource
	window []*fileSource // those in use now: at most openfiles of them
	fresh  int           // the next file to come into the window
	cur    int           // place in the window of the last step
	turn   int           // steps on it so far
	every  int
	rng    gen.Rand
	mix    gen.Rand
	law    *gen.Workload // draws files, where file_service_type names a law: offsets are file numbers
	ios    int64
	loop   int
	left   int64 // bytes still to do in this loop
	budget int64 // per loop
	unit   int64 // the smallest block
	free   bool  // files have no share of their own: only the total counts
	last   fiojob.Dir
	ahead  *ahead // nil where every step depends on what came of the last
}

// ahead are requests drawn ahead, for a job with one file and one block size whose order nothing disturbs.
type ahead struct {
	ops       [64]gen.Op
	pos, have int
	size      int64 // of a block
}

// fileSource is one file's part.
type fileSource struct {
	f    *file
	gen  *gen.Workload
	left int64 // bytes still to do in this loop
}

// Streams of the seed, away from those of package gen.
const (
	streamFiles = 1<<20 + iota
	streamMix
)

func newSource(w *worker) (*jobSource, error) {
	j := w.job
	s := &jobSource{
		job: j, rng: gen.NewRand(seedOf(j), streamFiles), mix: gen.NewRand(seedOf(j), streamMix), last: fiojob.Write,
		every: max(1, j.Files.Service.Every), unit: minBlock(j),
	}
	for i, f := range w.files {
		cfg, err := genConfig(j, f, i)
		if err != nil {
			return nil, err
		}
		g, err := gen.New(cfg)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", j.Name, f.name, err)
		}
		s.files = append(s.files, &fileSource{f: f, gen: g})
	}
	if err := s.serviceLaw(); err != nil {
		return nil, err
	}
	total := int64(0)
	for _, f := range w.files {
		total += f.size
	}
	s.budget = ioSize(j, total)
	s.free = !j.Files.IOSize.IsZero() || (j.RW.Kind.Random() && j.Random.NoMap) ||
		(j.Time.TimeBased && s.law != nil) || (j.Time.TimeBased && j.Files.Service.Kind == fiojob.ServiceRandom)
	if s.plain() {
		s.ahead = &ahead{size: s.unit}
	}
	s.rewind()
	w.expect.Store(s.budget * int64(max(1, j.Time.Loops)))
	return s, nil
}

// serviceLaw makes the generator of file numbers: a random workload over as many one-byte blocks as there are files.
func (s *jobSource) serviceLaw() error {
	svc := &s.job.Files.Service
	laws := map[fiojob.FileServiceKind]gen.Law{
		fiojob.ServiceZipf: gen.Zipf, fiojob.ServicePareto: gen.Pareto, fiojob.ServiceNormal: gen.Normal,
	}
	law, ok := laws[svc.Kind]
	if !ok {
		return nil
	}
	d := gen.Distribution{Law: law, Param: svc.Shape}
	if svc.Center >= 0 {
		d.Center, d.HasCenter = svc.Center, true
	}
	one := gen.Sizes{Min: 1, Max: 1}
	var err error
	s.law, err = gen.New(gen.Config{
		Seed: seedOf(s.job), Size: int64(len(s.files)), Pattern: gen.RandRead, NoMap: true,
		Sizes: [gen.Dirs]gen.Sizes{one, one, one}, Dist: [gen.Dirs]gen.Distribution{d, d, d},
	})
	return err
}

// rewind starts a loop: every file gets its share of the budget, and the first files come into use.
func (s *jobSource) rewind() {
	s.left = s.budget
	for _, f := range s.files {
		f.left = f.f.size
		if s.free {
			f.left = math.MaxInt64
		}
		f.f.active = false
	}
	open := min(max(1, s.job.Files.Open), len(s.files))
	if s.job.Files.OpenDir != "" && !given(s.job, "openfiles") {
		open = len(s.files)
	}
	s.window = append(s.window[:0], s.files[:open]...)
	for _, f := range s.window {
		f.f.active = true
	}
	s.fresh, s.cur, s.turn = open, 0, 0
}

// plain reports whether requests may be drawn ahead: nothing but the number and the bytes of those before decides about the next one.
func (s *jobSource) plain() bool {
	j := s.job
	if len(s.files) != 1 || j.Files.FillDevice || j.Block.Unaligned || j.Block.SeqRand {
		return false
	}
	for d := range j.Block.Size {
		b := &j.Block.Size[d]
		if j.RW.Kind.Uses(fiojob.Dir(d)) && (!b.Fixed() || len(b.Split) > 0 || b.Min != s.unit) {
			return false
		}
	}
	return true
}

// drawAhead makes the next requests of a plain job; false when it has done its share. They are taken as made.
func (s *jobSource) drawAhead() bool {
	fs := s.pick()
	if fs == nil {
		return false
	}
	a := s.ahead
	n := min(int64(len(a.ops)), (fs.left-s.unit)/a.size+1, (s.left-1)/a.size+1)
	if most := s.job.Files.NumberIOs; most > 0 {
		n = min(n, most-s.ios)
	}
	a.pos, a.have = 0, int(n)
	fs.gen.Fill(a.ops[:n])
	whole := int64(0)
	for i := range a.ops[:n] {
		whole += int64(a.ops[i].Len)
	}
	s.ios += n
	s.left -= whole
	fs.left -= whole
	return true
}

// next is the next step; false when the job has done its share.
func (s *jobSource) next(st *step) bool {
	fs := s.pick()
	if fs == nil {
		return false
	}
	s.take(fs, fs.gen.Next(), st)
	return true
}

// nextOf is next in a direction that was chosen.
func (s *jobSource) nextOf(d gen.Dir, st *step) bool {
	fs := s.pick()
	if fs == nil {
		return false
	}
	if s.job.RW.Kind.TrimsFirst() {
		s.take(fs, fs.gen.Next(), st)
		return true
	}
	s.take(fs, fs.gen.NextOf(d), st)
	return true
}

func (s *jobSource) take(fs *fileSource, op gen.Op, st *step) {
	st.dir, st.file, st.off, st.n, st.at = fiojob.Dir(op.Dir), fs.f, op.Off, op.Len, 0
	s.ios++
	s.left -= int64(op.Len)
	fs.left -= int64(op.Len)
	s.last = st.dir
}

// want draws the direction of a mix; other patterns leave no choice.
func (s *jobSource) want() (want, other gen.Dir, ok bool) {
	k := s.job.RW.Kind
	switch {
	case k.TrimsFirst():
		want = gen.Trim
		if s.last == fiojob.Trim {
			want = gen.Write
		}
		return want, want, true
	case k.Mixed():
		if int(s.mix.Below(100)) < s.job.RW.ReadPercent {
			return gen.Read, gen.Write, true
		}
		return gen.Write, gen.Read, true
	case k.Writes():
		return gen.Write, gen.Write, true
	case k.Trims():
		return gen.Trim, gen.Trim, true
	}
	return gen.Read, gen.Read, true
}

// through reports whether number_ios is reached.
func (s *jobSource) through() bool {
	return s.job.Files.NumberIOs > 0 && s.ios >= s.job.Files.NumberIOs
}

// again starts the next loop, if there is one.
func (s *jobSource) again() bool {
	s.loop++
	if s.through() || s.loop >= s.job.Time.Loops {
		return false
	}
	for _, f := range s.files {
		f.gen.Reset()
	}
	if s.ahead != nil {
		s.ahead.pos, s.ahead.have = 0, 0
	}
	s.rewind()
	return true
}

// pick chooses the file of the next step; nil when all have had their share. A job that goes by time begins anew.
func (s *jobSource) pick() *fileSource {
	if s.through() {
		return nil
	}
	for range 2 {
		if s.left > 0 {
			if f := s.pickOpen(); f != nil {
				return f
			}
		}
		if !s.job.Time.TimeBased || s.allFull() {
			return nil
		}
		s.rewind()
	}
	return nil
}

func (s *jobSource) allFull() bool {
	for _, f := range s.files {
		if !f.f.full {
			return false
		}
	}
	return true
}

func (s *jobSource) pickOpen() *fileSource {
	for len(s.window) > 0 {
		i := s.choose()
		f := s.window[i]
		if f.left >= s.unit && !f.f.full {
			s.cur = i
			return f
		}
		s.retire(i)
	}
	return nil
}

// choose is the place in the window of the file whose turn it is.
func (s *jobSource) choose() int {
	if len(s.window) == 1 {
		return 0
	}
	kind := s.job.Files.Service.Kind
	if kind == fiojob.ServiceSequential {
		return 0
	}
	if s.turn > 0 && s.turn < s.every && s.cur < len(s.window) {
		s.turn++
		return s.cur
	}
	first := s.turn == 0
	s.turn = 1
	switch {
	case s.law != nil:
		return int(s.law.Next().Off) % len(s.window)
	case kind == fiojob.ServiceRandom:
		return int(s.rng.Below(uint64(len(s.window))))
	case first:
		return s.cur % len(s.window)
	}
	return (s.cur + 1) % len(s.window)
}

// retire takes a file that has had its share out of the window; another may take its place.
func (s *jobSource) retire(i int) {
	s.window[i].f.active = false
	s.turn = 0
	s.cur = i
	if s.job.Files.Service.Kind == fiojob.ServiceSequential {
		s.window = append(s.window[:i], s.window[i+1:]...)
		i = len(s.window)
		s.window = append(s.window, nil)
	}
	if s.fresh < len(s.files) {
		s.window[i] = s.files[s.fresh]
		s.window[i].f.active = true
		s.fresh++
		return
	}
	s.window = append(s.window[:i], s.window[i+1:]...)
}

// fileSeed sets the seeds of a job's files apart.
const fileSeed = 0xbf58476d1ce4e5b9

// seedOf is the seed of a clone: fixed unless the job asks for another in each run.
func seedOf(j *fiojob.Job) uint64 {
	seed := j.Random.Seed
	return seed + uint64(j.Thread)*0x9e3779b97f4a7c15
}

// genConfig is what the generator of one file is made from.
func genConfig(j *fiojob.Job, f *file, n int) (gen.Config, error) {
	p, ok := gen.PatternByName(j.RW.Kind.String())
	if !ok {
		return gen.Config{}, fmt.Errorf("%s: no generator for rw=%s", j.Name, j.RW.Kind)
	}
	c := gen.Config{
		Seed: seedOf(j) + uint64(n)*fileSeed, Offset: f.offset, Size: f.size, Pattern: p,
		ReadPercent: float64(j.RW.ReadPercent), SizesByKind: j.Block.SeqRand, Stride: j.RW.Stride, Run: j.RW.Every,
		Identical: j.RW.Sequencer == fiojob.SequencerIdentical, NoMap: j.Random.NoMap,
	}
	for d := range c.Sizes {
		b := &j.Block.Size[d]
		c.Sizes[d] = gen.Sizes{Min: b.Min, Max: b.Max, Unaligned: j.Block.Unaligned}
		for _, s := range b.Split {
			c.Sizes[d].Split = append(c.Sizes[d].Split, gen.Split{Size: s.Size, Percent: float64(s.Percent)})
		}
		if given(j, "ba") {
			c.Align[d] = j.Block.Align[d]
		}
		c.Dist[d] = distribution(&j.Random.Distribution[d], f.size)
		c.SeqPercent[d] = float64(100 - j.Random.Percent[d])
	}
	if j.Zone.Mode == fiojob.ZoneStrided {
		c.Zone = gen.Strided{Size: j.Zone.Size, Range: j.Zone.Range, Skip: j.Zone.Skip.Bytes}
	}
	return c, nil
}

func distribution(d *fiojob.Distribution, size int64) gen.Distribution {
	laws := [...]gen.Law{
		fiojob.DistRandom: gen.Uniform, fiojob.DistZipf: gen.Zipf, fiojob.DistPareto: gen.Pareto, fiojob.DistNormal: gen.Normal,
		fiojob.DistZoned: gen.Zoned, fiojob.DistZonedAbs: gen.ZonedAbs,
	}
	out := gen.Distribution{Law: laws[d.Kind], Param: d.Shape}
	if d.Center >= 0 {
		out.Center, out.HasCenter = d.Center, true
	}
	for _, z := range d.Zones {
		part := float64(z.Percent)
		if d.Kind == fiojob.DistZonedAbs {
			n := z.Bytes
			if n == 0 { // the rest
				n = size
			}
			size -= n
			part = float64(n)
		}
		out.Zones = append(out.Zones, gen.Zone{Access: float64(z.Access), Size: part})
	}
	return out
}

// contentFiller prepares buffers as the job's buffer keys say.
type contentFiller struct{ data *gen.Data }

func newFiller(w *worker) (*contentFiller, error) {
	b := &w.job.Buffer
	c := gen.Content{
		Seed: seedOf(w.job), Zero: b.Zero, Refill: b.Refill, Scramble: b.Scramble, CompressPercent: float64(b.Compress),
		CompressChunk: int(b.CompressChunk), DedupePercent: float64(b.Dedupe),
	}
	if !b.Pattern.IsZero() {
		var err error
		if c.Pattern, err = genPattern(b.Pattern); err != nil {
			return nil, err
		}
	}
	d, err := gen.NewData(c)
	if err != nil {
		return nil, err
	}
	for i := range w.slab {
		d.Init(w.arena.Bytes(w.slab[i].Buf, int(w.stride)))
	}
	return &contentFiller{d}, nil
}

func (c *contentFiller) fill(p []byte, s *step) { c.data.Prepare(p, s.off) }

// genPattern makes the generator's pattern of a parsed one.
func genPattern(p fiojob.Pattern) (*gen.Pat, error) {
	var b strings.Builder
	at := 0
	for _, o := range append(slices.Clone(p.Offsets), len(p.Bytes)) {
		if o > at {
			fmt.Fprintf(&b, "0x%x", p.Bytes[at:o])
		}
		if o < len(p.Bytes) {
			b.WriteString("%o")
		}
		at = o + 8
	}
	return gen.ParsePat(b.String(), nil)
}

// ioSize is how many bytes the job transfers per loop; total is what it may use of its files.
func ioSize(j *fiojob.Job, total int64) int64 {
	a := &j.Files.IOSize
	switch {
	case a.Bytes > 0:
		return a.Bytes
	case a.Percent > 0:
		return int64(float64(total) * float64(a.Percent) / 100)
	case a.Zones > 0:
		return int64(a.Zones) * j.Zone.Size
	}
	return total
}

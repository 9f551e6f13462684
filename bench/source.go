package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/engine"
)

// jobSource turns a job's generators, one per file, into one stream of steps, and knows when the job has done its share.
type jobSource struct {
	job    *fiojob.Job
	files  []*fileSource
	cur    int // the file of the last step
	turn   int // steps on it so far
	rng    gen.Rand
	law    *gen.Workload // draws files, where file_service_type names a law: offsets are file numbers
	back   []step        // taken back, the next one last
	ios    int64
	loop   int
	blocks int64 // bytes still to do in this loop; negative: no bound
	budget int64
}

// fileSource is one file's part.
type fileSource struct {
	f    *file
	gen  *gen.Workload
	left int64 // bytes still to do in this loop
	size int64
}

func newSource(w *worker) (*jobSource, error) {
	j := w.job
	s := &jobSource{job: j, rng: gen.NewRand(seedOf(j), 1<<20), back: make([]step, 0, len(w.slab))}
	for i, f := range w.files {
		cfg, err := genConfig(j, f, i)
		if err != nil {
			return nil, err
		}
		g, err := gen.New(cfg)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", j.Name, f.name, err)
		}
		s.files = append(s.files, &fileSource{f: f, gen: g, size: f.size})
	}
	if err := s.serviceLaw(); err != nil {
		return nil, err
	}
	s.budget = ioSize(j, w.files)
	s.rewind()
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

// rewind starts a loop: every file gets its share of the budget.
func (s *jobSource) rewind() {
	s.blocks = s.budget
	total := int64(0)
	for _, f := range s.files {
		total += f.size
	}
	for _, f := range s.files {
		f.left = f.size
		if s.budget != total && total > 0 {
			f.left = 1<<63 - 1 // io_size: the total counts, not each file
		}
	}
}

// next is the next step; false when the job has done its share.
func (s *jobSource) next(st *step) bool {
	if n := len(s.back); n > 0 {
		*st = s.back[n-1]
		s.back = s.back[:n-1]
		return true
	}
	if max := s.job.Files.NumberIOs; max > 0 && s.ios >= max {
		return false
	}
	if s.blocks <= 0 && !s.again() {
		return false
	}
	fs := s.pick()
	if fs == nil {
		if !s.again() {
			return false
		}
		if fs = s.pick(); fs == nil {
			return false
		}
	}
	op := fs.gen.Next()
	st.dir, st.file, st.off, st.n = fiojob.Dir(op.Dir), fs.f, op.Off, op.Len
	s.ios++
	s.blocks -= int64(op.Len)
	fs.left -= int64(op.Len)
	return true
}

// again starts the next loop, if there is one.
func (s *jobSource) again() bool {
	s.loop++
	if s.job.Time.TimeBased {
		s.rewind()
		return true
	}
	if s.loop >= s.job.Time.Loops {
		return false
	}
	for _, f := range s.files {
		f.gen.Reset()
	}
	s.rewind()
	return true
}

// pick chooses the file of the next step; nil when all have had their share.
func (s *jobSource) pick() *fileSource {
	if len(s.files) == 1 {
		if s.files[0].left <= 0 {
			return nil
		}
		return s.files[0]
	}
	svc := &s.job.Files.Service
	if f := s.files[s.cur]; s.turn > 0 && s.turn < max(1, svc.Every) && f.left > 0 {
		s.turn++
		return f
	}
	start := s.cur
	switch svc.Kind {
	case fiojob.ServiceSequential:
	case fiojob.ServiceRoundRobin:
		if s.turn > 0 {
			start = (s.cur + 1) % len(s.files)
		}
	default:
		start = s.drawFile()
	}
	for i := range s.files {
		k := (start + i) % len(s.files)
		if s.files[k].left > 0 {
			s.cur, s.turn = k, 1
			return s.files[k]
		}
	}
	return nil
}

// drawFile draws a file by the law that file_service_type names.
func (s *jobSource) drawFile() int {
	n := uint64(len(s.files))
	switch s.job.Files.Service.Kind {
	case fiojob.ServiceZipf, fiojob.ServicePareto, fiojob.ServiceNormal:
		return int(s.law.Next().Off)
	default:
		return int(s.rng.Below(n))
	}
}

func (s *jobSource) putBack(w *worker, r *engine.Request) {
	m := &w.slots[r.User]
	s.back = append(s.back, step{dir: m.dir, file: m.file, off: r.Off, n: r.Len})
}

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
		Seed: seedOf(j) + uint64(n)*0xbf58476d1ce4e5b9, Offset: f.offset, Size: f.size, Pattern: p,
		ReadPercent: float64(j.RW.ReadPercent), SizesByKind: j.Block.SeqRand, Stride: j.RW.Stride, Run: j.RW.Every,
		Identical: j.RW.Sequencer == fiojob.SequencerIdentical, NoMap: j.Random.NoMap,
	}
	for d := range c.Sizes {
		b := &j.Block.Size[d]
		c.Sizes[d] = gen.Sizes{Min: b.Min, Max: b.Max, Unaligned: j.Block.Unaligned}
		for _, s := range b.Split {
			c.Sizes[d].Split = append(c.Sizes[d].Split, gen.Split{Size: s.Size, Percent: float64(s.Percent)})
		}
		if given(j, "blockalign") {
			c.Align[d] = j.Block.Align[d]
		}
		c.Dist[d] = distribution(&j.Random.Distribution[d])
		c.SeqPercent[d] = float64(100 - j.Random.Percent[d])
	}
	if j.Zone.Mode == fiojob.ZoneStrided {
		c.Zone = gen.Strided{Size: j.Zone.Size, Range: j.Zone.Range, Skip: j.Zone.Skip.Bytes}
	}
	return c, nil
}

func distribution(d *fiojob.Distribution) gen.Distribution {
	laws := [...]gen.Law{
		fiojob.DistRandom: gen.Uniform, fiojob.DistZipf: gen.Zipf, fiojob.DistPareto: gen.Pareto, fiojob.DistNormal: gen.Normal,
		fiojob.DistZoned: gen.Zoned, fiojob.DistZonedAbs: gen.ZonedAbs,
	}
	out := gen.Distribution{Law: laws[d.Kind], Param: d.Shape}
	if d.Center >= 0 {
		out.Center, out.HasCenter = d.Center, true
	}
	for _, z := range d.Zones {
		size := float64(z.Percent)
		if d.Kind == fiojob.DistZonedAbs {
			size = float64(z.Bytes)
		}
		out.Zones = append(out.Zones, gen.Zone{Access: float64(z.Access), Size: size})
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

// ioSize is how many bytes the job transfers per loop.
func ioSize(j *fiojob.Job, files []*file) int64 {
	total := int64(0)
	for _, f := range files {
		total += f.size
	}
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

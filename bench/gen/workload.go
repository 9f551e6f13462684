package gen

import (
	"errors"
	"fmt"
)

// Dir is the direction of a request, numbered as in fio's logs.
type Dir uint8

// The directions.
const (
	Read Dir = iota
	Write
	Trim
	Dirs = 3
)

var dirNames = [Dirs]string{"read", "write", "trim"}

func (d Dir) String() string {
	if int(d) < Dirs {
		return dirNames[d]
	}
	return fmt.Sprintf("Dir(%d)", uint8(d))
}

// Op is one request to be made.
type Op struct {
	Off int64
	Len uint32
	Dir Dir
}

// Pattern is the shape of a workload, fio's rw.
type Pattern uint8

// The patterns; PatternByName has fio's names for them.
const (
	SeqRead Pattern = iota
	SeqWrite
	SeqTrim
	SeqMixed
	SeqTrimWrite
	RandRead
	RandWrite
	RandTrim
	RandMixed
	RandTrimWrite
)

// PatternByName finds a pattern by fio's name.
func PatternByName(name string) (Pattern, bool) {
	p, ok := patternNames[name]
	return p, ok
}

var patternNames = map[string]Pattern{
	"read": SeqRead, "write": SeqWrite, "trim": SeqTrim, "rw": SeqMixed, "readwrite": SeqMixed,
	"trimwrite": SeqTrimWrite, "randread": RandRead, "randwrite": RandWrite, "randtrim": RandTrim,
	"randrw": RandMixed, "randtrimwrite": RandTrimWrite,
}

// Random says whether the pattern draws offsets.
func (p Pattern) Random() bool { return p >= RandRead }

// Has says whether the pattern issues requests of a direction.
func (p Pattern) Has(d Dir) bool {
	switch p {
	case SeqRead, RandRead:
		return d == Read
	case SeqWrite, RandWrite:
		return d == Write
	case SeqTrim, RandTrim:
		return d == Trim
	case SeqMixed, RandMixed:
		return d != Trim
	default:
		return d != Read
	}
}

// Config describes a workload over one range of one target.
type Config struct {
	Seed uint64
	// Offset and Size bound the range, in bytes.
	Offset, Size int64
	Pattern      Pattern
	// ReadPercent is the share of reads in a mix, by number of requests.
	ReadPercent float64
	Sizes       [Dirs]Sizes
	// SizesByKind takes Sizes[Read] for sequential and Sizes[Write] for random
	// requests, whatever their direction (fio's bs_is_seq_rand).
	SizesByKind bool
	// Align is what random offsets are multiples of; 0: the smallest size. Any
	// other value switches the coverage of each block per pass off, as in fio.
	Align [Dirs]int64
	// Stride is added after each sequential request (rw=read:8k); negative goes
	// backwards.
	Stride int64
	// Run is how many requests follow a random offset (rw=randread:8), 0 and 1
	// being the same; with Identical they repeat it (rw_sequencer=identical).
	Run       int
	Identical bool
	// NoMap draws uniform offsets without regard to those drawn before.
	NoMap bool
	Dist  [Dirs]Distribution
	// SeqPercent is the share of requests of a random pattern that go on where
	// the last one ended: 100 - percentage_random.
	SeqPercent [Dirs]float64
	// Zone, with a Range or Size above 0, is fio's zonemode=strided.
	Zone Strided
}

// Strided restricts requests to one zone until Size bytes are done, then goes
// on to the next, Range+Skip further, and from the last to the first.
type Strided struct {
	Size, Range, Skip int64
}

// Workload produces requests. It belongs to one thread.
type Workload struct {
	cfg      Config
	dirRand  Rand
	sizeRand Rand
	kindRand Rand
	readCut  uint64
	seqCut   [Dirs]uint64
	sizers   [Dirs]*sizer
	places   [Dirs]*placer
	align    [Dirs]int64
	low      int64 // the range in force: the whole or a zone
	high     int64
	zoneLeft int64
	last     [Dirs]place
	left     [Dirs]int // requests of a run that are still to come
	pair     bool      // a trim was issued whose write comes next
	plain    bool      // see isPlain
	wraps    uint64
}

// place is where a direction is: begin and end of its last request.
type place struct{ begin, end int64 }

// Streams of the seed.
const (
	streamDir = iota
	streamSize
	streamKind
	streamOffset // + direction
)

// New checks a configuration and makes its workload.
func New(cfg Config) (*Workload, error) {
	w := &Workload{cfg: cfg}
	if err := w.check(); err != nil {
		return nil, err
	}
	if err := w.start(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Workload) check() error {
	c := &w.cfg
	if c.Pattern > RandTrimWrite {
		return fmt.Errorf("no pattern %d", c.Pattern)
	}
	if c.Offset < 0 || c.Size <= 0 || c.Offset+c.Size < c.Offset {
		return fmt.Errorf("range %d+%d", c.Offset, c.Size)
	}
	if c.ReadPercent < 0 || c.ReadPercent > 100 {
		return fmt.Errorf("%v %% reads", c.ReadPercent)
	}
	for _, p := range c.SeqPercent {
		if p < 0 || p > 100 {
			return fmt.Errorf("%v %% sequential requests", p)
		}
	}
	if c.Run < 0 {
		return fmt.Errorf("runs of %d requests", c.Run)
	}
	z := &c.Zone
	if z.Size < 0 || z.Range < 0 || z.Skip < 0 {
		return fmt.Errorf("zone size %d range %d skip %d", z.Size, z.Range, z.Skip)
	}
	if z.Size == 0 && (z.Range > 0 || z.Skip > 0) {
		z.Size = z.Range
	}
	if z.Range == 0 {
		z.Range = z.Size
	}
	if z.Skip > 0 && z.Range == 0 {
		return errors.New("zone skip without a zone size")
	}
	return nil
}

// start puts everything to the beginning.
func (w *Workload) start() error {
	c := &w.cfg
	*w = Workload{
		cfg: *c, low: c.Offset, high: c.Offset + c.Size,
		dirRand:  NewRand(c.Seed, streamDir),
		sizeRand: NewRand(c.Seed, streamSize),
		kindRand: NewRand(c.Seed, streamKind),
		readCut:  chance(c.ReadPercent / 100),
	}
	c = &w.cfg
	for d := range Dir(Dirs) {
		var err error
		if w.sizers[d], err = newSizer(&c.Sizes[d]); err != nil {
			return fmt.Errorf("%v: %w", d, err)
		}
		w.seqCut[d] = chance(c.SeqPercent[d] / 100)
		if c.Align[d] < 0 {
			return fmt.Errorf("%v: alignment %d", d, c.Align[d])
		}
	}
	for d := range Dir(Dirs) {
		if !c.Pattern.Has(d) {
			continue
		}
		if w.sizers[d].min > c.Size {
			return fmt.Errorf("%v: a request of %d bytes does not fit the range of %d", d, w.sizers[d].min, c.Size)
		}
		if w.align[d] = c.Align[d]; w.align[d] == 0 {
			w.align[d] = w.sizer(d, c.Pattern.Random()).min
		}
	}
	if c.Zone.Size > 0 {
		if n := w.smallest(); c.Zone.Range < n {
			return fmt.Errorf("a request of %d bytes does not fit a zone of %d", n, c.Zone.Range)
		}
		w.enterZone(c.Offset)
	}
	w.rewind()
	w.plain = w.isPlain()
	return w.makePlaces()
}

// makePlaces makes the sources of random offsets: one for all directions where
// they share alignment and law, so that a mix visits each block once a pass.
func (w *Workload) makePlaces() error {
	c := &w.cfg
	if !c.Pattern.Random() {
		return nil
	}
	shared := [Dirs]bool{}
	for d := range Dir(Dirs) {
		if !c.Pattern.Has(d) || shared[d] {
			continue
		}
		n := w.blocks(d)
		if n == 0 {
			return fmt.Errorf("%v: no aligned request fits the range", d)
		}
		cover := !c.NoMap && c.Align[d] == 0
		p, err := newPlacer(&c.Dist[d], n, w.align[d], cover, NewRand(c.Seed, streamOffset+uint64(d)))
		if err != nil {
			return fmt.Errorf("%v: %w", d, err)
		}
		w.places[d] = p
		for e := d + 1; e < Dirs; e++ {
			if cover && c.Pattern.Has(e) && c.Dist[d].Law == Uniform && c.Dist[e].Law == Uniform &&
				w.align[e] == w.align[d] && c.Align[e] == 0 {
				w.places[e], shared[e] = p, true
			}
		}
	}
	return nil
}

// blocks is how many aligned places the present range has for the smallest
// request of a direction.
func (w *Workload) blocks(d Dir) uint64 {
	room := w.high - w.low - w.sizer(d, true).min
	if room < 0 {
		return 0
	}
	return uint64(room/w.align[d]) + 1
}

func (w *Workload) sizer(d Dir, random bool) *sizer {
	if !w.cfg.SizesByKind {
		return w.sizers[d]
	}
	if random {
		return w.sizers[Write]
	}
	return w.sizers[Read]
}

// Reset goes back to the first request.
func (w *Workload) Reset() { _ = w.start() } // the configuration is known good

// Wraps is how often a sequential position or a zone cycle has gone back to the
// beginning of the range.
func (w *Workload) Wraps() uint64 { return w.wraps }

// Pass is how many complete passes a random pattern that covers each block has
// begun anew; 0 for others.
func (w *Workload) Pass() uint64 {
	for _, p := range w.places {
		if p != nil && p.perm != nil {
			return p.perm.Pass()
		}
	}
	return 0
}

// rewind puts the sequential positions to the beginning of the range in force.
func (w *Workload) rewind() {
	for d := range w.last {
		w.last[d] = place{-1, w.low}
		w.left[d] = 0
	}
}

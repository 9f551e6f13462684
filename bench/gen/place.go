package gen

import (
	"fmt"
	"math"
)

// Law names a distribution of random offsets.
type Law uint8

// The laws of fio's random_distribution.
const (
	Uniform Law = iota
	Zipf
	Pareto
	Normal
	Zoned    // zones in percent of the range
	ZonedAbs // zones in bytes
)

var lawNames = [...]string{"random", "zipf", "pareto", "normal", "zoned", "zoned_abs"}

func (l Law) String() string {
	if int(l) < len(lawNames) {
		return lawNames[l]
	}
	return fmt.Sprintf("Law(%d)", uint8(l))
}

// Distribution says how random offsets are spread over the range.
type Distribution struct {
	Law Law
	// Param is zipf's theta, pareto's power (0 … 1) or normal's deviation
	// (0 … 100, percent of the range).
	Param float64
	// Center is where the likeliest block lies, 0 … 1. Without HasCenter it is
	// anywhere for zipf and pareto, and the middle for normal.
	Center    float64
	HasCenter bool
	// Local puts blocks of similar popularity next to each other. fio scatters
	// them all over the range, also those of normal; so do we unless Local.
	Local bool
	// Exact draws zipf from Zipf's law itself instead of fio's approximation,
	// and normal from a Gauss curve whose standard deviation is Param percent
	// of the range (fio's is 8.3 % at least, whatever Param says).
	Exact bool
	// Zones are for the zoned laws.
	Zones []Zone
}

// Zone is a share of the accesses and the size of the part of the range that
// gets it; parts follow each other from the beginning.
type Zone struct {
	Access float64 // percent
	Size   float64 // percent of the range, or bytes for ZonedAbs
}

// maxZones is fio's limit.
const maxZones = 256

// placer draws block numbers 0 … n-1 by one law.
type placer struct {
	kind   placerKind
	n      uint64
	clip   uint64
	rng    Rand
	perm   *Perm
	pop    *popularity
	keys   permKeys
	shift  uint64 // added to a block, modulo n
	spread bool   // scatter by keys
	dev    float64
	exact  bool
}

type placerKind uint8

const (
	placePerm placerKind = iota
	placeUniform
	placePopular
	placeNormal
)

// newPlacer makes a placer for n blocks of blockSize bytes. With cover, a
// uniform law visits each block once per pass.
func newPlacer(d *Distribution, n uint64, blockSize int64, cover bool, rng Rand) (*placer, error) {
	p := &placer{n: n, clip: n, rng: rng}
	if d.HasCenter && !(d.Center >= 0 && d.Center <= 1) {
		return nil, fmt.Errorf("center %v of %v: want between 0 and 1", d.Center, d.Law)
	}
	var err error
	switch d.Law {
	case Uniform:
		p.kind = placeUniform
		if cover {
			p.kind, p.perm = placePerm, NewPerm(n, rng)
		}
		return p, nil
	case Zipf:
		p.kind = placePopular
		p.pop, err = newZipf(n, d.Param, !d.Exact)
	case Pareto:
		p.kind = placePopular
		p.pop, err = newPareto(n, d.Param)
	case Normal:
		p.kind, p.exact = placeNormal, d.Exact
		if !(d.Param >= 0 && d.Param <= 100) {
			err = fmt.Errorf("normal deviation %v: want 0 to 100 percent", d.Param)
		}
		p.dev = d.Param / 100
		if !d.Exact {
			p.dev = min(p.dev, 0.5)
		}
	case Zoned, ZonedAbs:
		p.kind = placePopular
		p.pop, err = zonesOf(d, n, blockSize)
		return p, err
	default:
		err = fmt.Errorf("no law %v", d.Law)
	}
	if err != nil {
		return nil, err
	}
	p.arrange(d)
	return p, nil
}

// arrange decides where ranks lie. The likeliest rank is 0, or the middle for
// normal.
func (p *placer) arrange(d *Distribution) {
	p.keys = newPermKeys(p.n, &p.rng)
	p.spread = !d.Local
	top := uint64(0)
	if d.Law == Normal {
		top = p.n / 2
	}
	at := top
	if p.spread {
		at = p.keys.below(top, p.n)
	}
	want := at
	switch {
	case d.HasCenter:
		want = min(uint64(d.Center*float64(p.n)), p.n-1)
	case p.spread: // already anywhere
	case d.Law != Normal:
		want = p.rng.Below(p.n)
	}
	p.shift = (want + p.n - at) % p.n
}

// zonesOf turns percentages or bytes into ranges of blocks. Shares that are
// missing (zero) divide what is left of 100 % evenly.
func zonesOf(d *Distribution, n uint64, blockSize int64) (*popularity, error) {
	if len(d.Zones) == 0 || len(d.Zones) > maxZones {
		return nil, fmt.Errorf("%d zones: want 1 to %d", len(d.Zones), maxZones)
	}
	access := make([]float64, len(d.Zones))
	for i, z := range d.Zones {
		access[i] = z.Access
	}
	if err := shareRest(access); err != nil {
		return nil, fmt.Errorf("zones: %w", err)
	}
	zones := make([]blockZone, 0, len(d.Zones))
	begin, low := 0.0, uint64(0)
	for i, z := range d.Zones {
		if !(z.Size >= 0) {
			return nil, fmt.Errorf("zone %d has size %v", i, z.Size)
		}
		begin += z.Size
		end := begin / 100 * float64(n)
		if d.Law == ZonedAbs {
			end = begin / float64(blockSize)
		}
		high := min(uint64(math.Round(end)), n)
		zones = append(zones, blockZone{low, high, access[i]})
		low = high
	}
	if d.Law == Zoned && begin > 100+1e-9 {
		return nil, fmt.Errorf("zones cover %v %% of the range", begin)
	}
	return newZones(n, zones)
}

// shareRest divides what is missing to 100 evenly among the zeroes.
func shareRest(percent []float64) error {
	sum, blanks := 0.0, 0
	for _, p := range percent {
		if !(p >= 0) {
			return fmt.Errorf("share of %v %%", p)
		}
		if sum += p; p == 0 {
			blanks++
		}
	}
	if sum > 100+1e-9 {
		return fmt.Errorf("shares add up to %v %%", sum)
	}
	if blanks == 0 {
		if sum < 100-1e-9 {
			return fmt.Errorf("shares add up to %v %%, not 100", sum)
		}
		return nil
	}
	for i, p := range percent {
		if p == 0 {
			percent[i] = (100 - sum) / float64(blanks)
		}
	}
	return nil
}

// next draws a block.
func (p *placer) next() uint64 {
	var rank uint64
	switch p.kind {
	case placePerm:
		return p.perm.Next()
	case placeUniform:
		return p.rng.Below(p.n)
	case placePopular:
		rank = p.pop.next(&p.rng)
	case placeNormal:
		rank = p.normal()
	}
	if p.spread {
		rank = p.keys.below(rank, p.n)
	}
	if rank += p.shift; rank >= p.n {
		rank -= p.n
	}
	if rank >= p.clip {
		rank %= p.clip
	}
	return rank
}

// normal is fio's: the mean of twelve uniform numbers, whose deviation is 1/12
// of the range, and a uniform one as wide as dev.
func (p *placer) normal() uint64 {
	n := float64(p.n)
	if p.exact {
		return p.gauss()
	}
	sum := uint64(0)
	for range 6 {
		u := p.rng.Uint64()
		sum += u>>32 + u&math.MaxUint32
	}
	x := float64(sum) / (12 << 32) * n
	off := p.dev * n * (p.rng.Float64() - 0.5)
	for x+off < 0 || x+off >= n {
		off /= 2
	}
	return min(uint64(x+off), p.n-1)
}

// gauss draws by Marsaglia's polar method, again where the range is left.
func (p *placer) gauss() uint64 {
	n := float64(p.n)
	for {
		a, b := 2*p.rng.Float64()-1, 2*p.rng.Float64()-1
		s := a*a + b*b
		if s >= 1 || s == 0 {
			continue
		}
		x := n/2 + n*p.dev*a*math.Sqrt(-2*math.Log(s)/s)
		if x >= 0 && x < n {
			return uint64(x)
		}
	}
}

// resize begins a new pass over n blocks. Laws other than uniform stay made for
// the n they began with; what lies beyond a smaller one is folded into it.
func (p *placer) resize(n uint64) {
	switch p.kind {
	case placePerm:
		p.perm.restart(n)
	case placeUniform:
		p.n = n
	default:
		p.clip = n
	}
}

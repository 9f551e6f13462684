package gen

import "math/bits"

const (
	// permRounds is how many rounds the bijection takes, permRoundsFew up to 16
	// bits, in which each round mixes less.
	permRounds    = 4
	permRoundsFew = 6
	permBatch     = 64
	// permSmall is up to how many blocks an order is a table, shuffled: few
	// bits are not enough for the bijection to reach every order alike.
	permSmall = 256
)

// Perm visits each of n blocks exactly once per pass, in an order of its own
// for each pass, in constant memory and for any n.
//
// A keyed bijection of the b-bit numbers, 2^(b-1) < n <= 2^b, is applied to a
// counter; results at or above n are skipped. One round is an addition, a
// multiplication by an odd number and a xor with the number shifted right, each
// of which can be undone modulo 2^b, so the rounds together are a permutation.
// All keys come from the seed, fresh ones for each pass. Up to 256 blocks the
// order is a table, shuffled (Fisher and Yates) for each pass.
//
// fio keeps a bitmap of what it has visited (or walks a shift register, whose
// neighbours are correlated). A bitmap is a bit per block; this is a kilobyte.
type Perm struct {
	keys  permKeys
	n     uint64
	next  uint64 // the counter's next value, up to 1<<bits
	limit uint64 // 1<<bits
	pass  uint64
	rng   Rand
	seed  Rand // as at the beginning, for Reset
	pos   int
	have  int
	ahead [permBatch]uint64 // results not handed out yet: ahead[pos:have]
	small [permSmall]uint8
}

// permKeys are the keys of one bijection of b-bit numbers.
type permKeys struct {
	round  [permRoundsFew]struct{ add, mul uint64 }
	rounds int
	mask   uint64
	shift  uint
}

func newPermKeys(n uint64, r *Rand) permKeys {
	b := bits.Len64(max(n, 1) - 1)
	k := permKeys{mask: 1<<b - 1, shift: uint(max(1, (b+1)/2)), rounds: permRounds}
	if b <= 16 {
		k.rounds = permRoundsFew
	}
	for i := range k.rounds {
		k.round[i].add = r.Uint64()
		k.round[i].mul = r.Uint64() | 1
	}
	return k
}

// apply is the bijection.
func (k *permKeys) apply(x uint64) uint64 {
	for i := range k.round[:k.rounds] {
		x = (x + k.round[i].add) * k.round[i].mul & k.mask
		x ^= x >> (k.shift & 63)
	}
	return x
}

// below applies the bijection until the result is below n, which makes it a
// bijection of the numbers below n (cycle-walking, Black and Rogaway 2002).
func (k *permKeys) below(x, n uint64) uint64 {
	for x = k.apply(x); x >= n; {
		x = k.apply(x)
	}
	return x
}

// NewPerm makes a permutation of n blocks; n = 0 is taken as 1.
func NewPerm(n uint64, r Rand) *Perm {
	p := new(Perm)
	p.init(n, r)
	return p
}

func (p *Perm) init(n uint64, r Rand) {
	n = max(n, 1)
	*p = Perm{n: n, rng: r, seed: r}
	p.begin()
}

// begin makes the order of a pass.
func (p *Perm) begin() {
	p.next = 0
	if p.n > permSmall {
		p.keys = newPermKeys(p.n, &p.rng)
		p.limit = p.keys.mask + 1
		return
	}
	p.limit = p.n
	for i := range p.n {
		j := p.rng.Below(i + 1)
		p.small[i] = p.small[j]
		p.small[j] = uint8(i)
	}
}

// Reset goes back to the first block of the first pass.
func (p *Perm) Reset() { p.init(p.n, p.seed) }

// restart begins a pass in a new order over n blocks, dropping the rest of the
// present one.
func (p *Perm) restart(n uint64) {
	pass, seed := p.pass, p.seed
	p.init(n, p.rng)
	p.pass, p.seed = pass+1, seed
}

// Len is the number of blocks.
func (p *Perm) Len() uint64 { return p.n }

// Pass counts the passes that are complete or, in the course of one, begun.
// Right after the last block of the first pass it is 0 still.
func (p *Perm) Pass() uint64 { return p.pass }

// Next is the next block.
func (p *Perm) Next() uint64 {
	if p.pos == p.have {
		p.refill()
	}
	x := p.ahead[p.pos&(permBatch-1)]
	p.pos++
	return x
}

// Fill sets every element of dst: the batch variant of Next.
func (p *Perm) Fill(dst []uint64) {
	for len(dst) > 0 {
		if p.pos == p.have {
			p.refill()
		}
		n := copy(dst, p.ahead[p.pos:p.have])
		p.pos += n
		dst = dst[n:]
	}
}

// refill computes the next results: independent of each other, so that the
// processor overlaps them, and without a branch on whether one counts.
func (p *Perm) refill() {
	p.pos, p.have = 0, 0
	for p.have == 0 {
		if p.next == p.limit {
			p.begin()
			p.pass++
		}
		end := min(p.next+permBatch, p.limit)
		if p.n <= permSmall {
			for i, x := range p.small[p.next:end] {
				p.ahead[i] = uint64(x)
			}
			p.have = int(end - p.next)
			p.next = end
			return
		}
		have := 0
		k, n := &p.keys, p.n
		for x := p.next; x < end; x++ {
			y := k.apply(x)
			p.ahead[have&(permBatch-1)] = y
			if y < n {
				have++
			}
		}
		p.next, p.have = end, have
	}
}

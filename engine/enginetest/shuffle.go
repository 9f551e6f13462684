package enginetest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// ShuffleConfig describes a Shuffle.
type ShuffleConfig struct {
	Size    int64       // bytes, a multiple of Block
	Block   int64       // bytes
	Data    *engine.Ref // where blocks are; with room for Blocks more than Size has
	Backing *engine.Ref // read where nothing is allocated; may be nil, or shorter
	Miss    int         // of 1000 look-ups that have an answer, how many say nothing
	Fresh   bool        // new mappings need a flush
	Seed    uint64
}

// SpareBlocks is how many blocks a Shuffle's data child should have beyond its size: enough for blocks that wait for a grace period.
const SpareBlocks = 64

// Shuffle is an image format without a disk format: it maps blocks to random places, allocates on write, has ranges of zeroes, and a
// backing child. Its table is in memory. [Shuffle.Move] moves a block, [Shuffle.SwapBacking] exchanges the backing child, both under
// traffic.
type Shuffle struct {
	t       testing.TB
	cfg     ShuffleConfig
	size    atomic.Int64
	table   []atomic.Uint64
	backing atomic.Pointer[engine.Ref]
	asked   atomic.Uint64 // look-ups, for misses

	// mu: read-locked by data in place, locked by what changes the table. Children's locks come after it.
	mu      sync.RWMutex
	free    []uint64
	rng     *rand.Rand
	flushes atomic.Int64
	moved   atomic.Int64
	retired sync.WaitGroup // backing children that are being closed
}

// A table entry: how the block is stored, and its place in the data child, in blocks.
const (
	blockNone   = uint64(iota) // see the backing child
	blockZero                  // reads as zeroes
	blockMapped                // at the place
	blockFresh                 // at the place, and the mapping is not durable
	blockMoving                // at the place, but about to leave it: no look-up is answered
	blockState  = uint64(7)
	placeShift  = 3
)

// NewShuffle makes an image in which nothing is allocated.
func NewShuffle(t testing.TB, cfg ShuffleConfig) *Shuffle {
	if cfg.Size%cfg.Block != 0 || cfg.Data.Size() < cfg.Size+SpareBlocks*cfg.Block {
		t.Fatalf("toy shuffle: size %d, data of %d bytes, blocks of %d", cfg.Size, cfg.Data.Size(), cfg.Block)
	}
	s := &Shuffle{t: t, cfg: cfg, table: make([]atomic.Uint64, cfg.Size/cfg.Block), rng: rand.New(rand.NewPCG(cfg.Seed, 2))}
	s.size.Store(cfg.Size)
	s.backing.Store(cfg.Backing)
	for i := range uint64(cfg.Data.Size() / cfg.Block) {
		s.free = append(s.free, i)
	}
	s.rng.Shuffle(len(s.free), func(i, j int) { s.free[i], s.free[j] = s.free[j], s.free[i] })
	return s
}

// Info implements engine.Node.
func (s *Shuffle) Info() engine.Info {
	caps := engine.CapDiscard | engine.CapZero | engine.CapUnmapZero
	if s.cfg.Data.Writable() {
		caps |= engine.CapWritable
	}
	b := uint32(s.cfg.Block)
	return engine.Info{Driver: "toy-shuffle", Filename: "toy", Caps: caps, Limits: engine.Limits{ZeroAlign: b, DiscardAlign: b, ClusterSize: b}}
}

// Size implements engine.Node.
func (s *Shuffle) Size() int64 { return s.size.Load() }

// Children implements engine.Parent.
func (s *Shuffle) Children() []engine.Child {
	return []engine.Child{{Name: "data", Ref: s.cfg.Data}, {Name: "backing", Ref: s.backing.Load()}}
}

// Moved returns how many blocks were moved.
func (s *Shuffle) Moved() int64 { return s.moved.Load() }

// Flushes returns how many flushes the layer itself has seen.
func (s *Shuffle) Flushes() int64 { return s.flushes.Load() }

// split cuts a range at the next block's start.
func (s *Shuffle) split(off, n int64) (block, in, run int64) {
	block, in = off/s.cfg.Block, off%s.cfg.Block
	return block, in, min(n, s.cfg.Block-in)
}

func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// Map implements engine.Mapper.
func (s *Shuffle) Map(op engine.Op, off, n int64) (engine.Mapping, bool) {
	if s.cfg.Miss > 0 && mix(s.asked.Add(1)+s.cfg.Seed)%1000 < uint64(s.cfg.Miss) {
		return engine.Mapping{}, false
	}
	block, in, run := s.split(off, n)
	e := s.table[block].Load()
	switch state := e & blockState; {
	case state == blockMapped || state == blockFresh:
		m := engine.Mapping{Off: int64(e>>placeShift)*s.cfg.Block + in, Len: run, NeedFlush: state == blockFresh}
		// Blocks that happen to follow each other make one run.
		for m.Len < n && s.table[block+1].Load() == e+1<<placeShift {
			e += 1 << placeShift
			block++
			m.Len = min(n, m.Len+s.cfg.Block)
		}
		return m, true
	case op == engine.OpWrite:
	case state == blockZero:
		return engine.Mapping{Len: run, Kind: engine.MapZero}, true
	case state == blockNone:
		b := s.backing.Load()
		if b == nil || off >= b.Size() {
			return engine.Mapping{Len: run, Kind: engine.MapZero}, true
		}
		return engine.Mapping{Child: 1, Off: off, Len: min(run, b.Size()-off)}, true
	}
	return engine.Mapping{}, false
}

// readBelow reads what the backing child has; zeroes beyond it.
func (s *Shuffle) readBelow(ctx context.Context, p []byte, off int64) error {
	b, n := s.backing.Load(), int64(0)
	if b != nil {
		n = min(int64(len(p)), max(0, b.Size()-off))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return b.ReadAt(ctx, p[:n], off)
}

// ReadAt implements engine.Node.
func (s *Shuffle) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		block, in, run := s.split(off, int64(len(p)))
		if err := s.readBlock(ctx, p[:run], block, in); err != nil {
			return err
		}
		p, off = p[run:], off+run
	}
	return nil
}

func (s *Shuffle) readBlock(ctx context.Context, p []byte, block, in int64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch e := s.table[block].Load(); e & blockState {
	case blockNone:
		return s.readBelow(ctx, p, block*s.cfg.Block+in)
	case blockZero:
		clear(p)
		return nil
	default:
		return s.cfg.Data.ReadAt(ctx, p, int64(e>>placeShift)*s.cfg.Block+in)
	}
}

// WriteAt implements engine.Node.
func (s *Shuffle) WriteAt(ctx context.Context, p []byte, off int64, _ engine.WriteFlags) error {
	for len(p) > 0 {
		block, in, run := s.split(off, int64(len(p)))
		if done, err := s.writeInPlace(ctx, p[:run], block, in); err != nil {
			return err
		} else if !done {
			if err := s.allocate(ctx, p[:run], block, in); err != nil {
				return err
			}
		}
		p, off = p[run:], off+run
	}
	return nil
}

func hasPlace(e uint64) bool { return e&blockState >= blockMapped }

func (s *Shuffle) writeInPlace(ctx context.Context, p []byte, block, in int64) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.table[block].Load()
	if !hasPlace(e) {
		return false, nil
	}
	return true, s.cfg.Data.WriteAt(ctx, p, int64(e>>placeShift)*s.cfg.Block+in, 0)
}

// allocate writes a block to a new place, with what it had around p, and publishes it then.
func (s *Shuffle) allocate(ctx context.Context, p []byte, block, in int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table[block].Load()
	if hasPlace(e) {
		return s.cfg.Data.WriteAt(ctx, p, int64(e>>placeShift)*s.cfg.Block+in, 0)
	}
	place, err := s.take()
	if err != nil {
		return err
	}
	whole := make([]byte, s.cfg.Block)
	if e&blockState == blockNone {
		err = s.readBelow(ctx, whole, block*s.cfg.Block)
	}
	copy(whole[in:], p)
	if err == nil {
		err = s.cfg.Data.WriteAt(ctx, whole, int64(place)*s.cfg.Block, 0)
	}
	if err != nil {
		s.free = append(s.free, place)
		return err
	}
	state := blockMapped
	if s.cfg.Fresh {
		state = blockFresh
	}
	s.table[block].Store(place<<placeShift | state)
	return nil
}

func (s *Shuffle) take() (uint64, error) {
	if len(s.free) == 0 {
		return 0, engine.Errf(engine.ErrNoSpace, "all blocks are taken")
	}
	i := s.rng.IntN(len(s.free))
	place := s.free[i]
	s.free = slices.Delete(s.free, i, i+1)
	return place, nil
}

// release gives a place back after a grace period.
func (s *Shuffle) release(place uint64) {
	s.cfg.Data.Domain().Defer(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free = append(s.free, place)
	})
}

// unmap makes whole blocks read as zeroes.
func (s *Shuffle) unmap(off, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for block := off / s.cfg.Block; block < (off+n)/s.cfg.Block; block++ {
		if e := s.table[block].Swap(blockZero); hasPlace(e) {
			s.release(e >> placeShift)
		}
	}
}

// Discard implements engine.Discarder: what is discarded reads as zeroes.
func (s *Shuffle) Discard(_ context.Context, off, n int64) error {
	s.unmap(off, n)
	return nil
}

// WriteZeroes implements engine.ZeroWriter.
func (s *Shuffle) WriteZeroes(_ context.Context, off, n int64, _ engine.WriteFlags) error {
	s.unmap(off, n)
	return nil
}

// Flush implements engine.Node.
func (s *Shuffle) Flush(ctx context.Context) error {
	if err := s.cfg.Data.Flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.table {
		if e := s.table[i].Load(); e&blockState == blockFresh {
			s.table[i].Store(e - blockFresh + blockMapped)
		}
	}
	s.flushes.Add(1)
	return nil
}

// Resize implements engine.Resizer, up to the size that it was made with.
func (s *Shuffle) Resize(_ context.Context, size int64, _ engine.ResizeOptions) error {
	if size > s.cfg.Size || size%s.cfg.Block != 0 {
		return engine.Errf(engine.ErrUnsupported, "size %d: blocks of %d, at most %d", size, s.cfg.Block, s.cfg.Size)
	}
	old := s.size.Load()
	if size < old {
		s.size.Store(size)
		s.unmap(size, old-size)
		return nil
	}
	s.unmap(old, size-old) // what a backing file has there must not show
	s.size.Store(size)
	return nil
}

// Extents implements engine.Node.
func (s *Shuffle) Extents(_ context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for n > 0 {
		block, in, run := s.split(off, n)
		e := s.table[block].Load()
		x := engine.Extent{Off: off, Len: run, Flags: engine.ExtentAllocated | engine.ExtentZero}
		switch {
		case hasPlace(e):
			x.Flags = engine.ExtentAllocated | engine.ExtentData | engine.ExtentOffset
			x.HostOff, x.File = int64(e>>placeShift)*s.cfg.Block+in, s.cfg.Data
		case e == blockNone:
			if b := s.backing.Load(); b != nil && off < b.Size() {
				x.Len = min(run, b.Size()-off)
				x.Flags, x.HostOff, x.File, x.Depth = engine.ExtentData|engine.ExtentOffset, off, b, 1
			} else {
				x.Flags = engine.ExtentZero
			}
		}
		dst = append(dst, x)
		off, n = off+x.Len, n-x.Len
	}
	return dst, nil
}

// Move takes a mapped block to another place: unpublish, drain, act. It reports whether there was one to move.
func (s *Shuffle) Move(block int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table[block].Load()
	if state := e & blockState; state != blockMapped && state != blockFresh {
		return false
	}
	moving := e&^blockState | blockMoving
	s.table[block].Store(moving)
	s.cfg.Data.Domain().Defer(func() { s.finishMove(block, moving) })
	return true
}

func (s *Shuffle) finishMove(block int64, moving uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table[block].Load() != moving {
		return // unmapped meanwhile, which gave the place back
	}
	old := moving >> placeShift
	place, err := s.take()
	if err != nil {
		s.table[block].Store(old<<placeShift | blockFresh)
		return
	}
	ctx, whole := context.Background(), make([]byte, s.cfg.Block)
	err = s.cfg.Data.ReadAt(ctx, whole, int64(old)*s.cfg.Block)
	if err == nil {
		err = s.cfg.Data.WriteAt(ctx, whole, int64(place)*s.cfg.Block, 0)
	}
	if err != nil {
		old, place = place, old
	}
	s.table[block].Store(place<<placeShift | blockFresh)
	// Nobody has looked at the old place since the grace period, and it is reused at once.
	s.free = append(s.free, old)
	s.moved.Add(1)
}

// SwapBacking exchanges the backing child for one with the same content; the old one is closed when nobody uses it any more.
func (s *Shuffle) SwapBacking(ref *engine.Ref) {
	old := s.backing.Swap(ref)
	engine.GraphChanged()
	s.retired.Add(1)
	old.Retire(func(err error) {
		defer s.retired.Done()
		if err != nil {
			s.t.Error(err)
		}
	})
}

// Close implements engine.Node. Blocks on the move stay where they are.
func (s *Shuffle) Close() error {
	if err := s.cfg.Data.Domain().Barrier(context.Background()); err != nil {
		return err
	}
	s.retired.Wait()
	err := s.cfg.Data.Close()
	if b := s.backing.Load(); b != nil {
		if e := b.Close(); err == nil {
			err = e
		}
	}
	return err
}

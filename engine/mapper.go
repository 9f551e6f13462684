package engine

// Op is the kind of a request.
type Op uint8

// The operations of the polled plane.
const (
	OpRead Op = iota
	OpWrite
	OpFlush
	OpDiscard
	OpZero
	OpNop // goes through every layer and back without touching data, for measuring the engine itself
)

var opNames = [...]string{"read", "write", "flush", "discard", "write zeroes", "nop"}

func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "unknown operation"
}

// MapKind says what a mapping leads to.
type MapKind uint8

const (
	// MapData means: the run is at (Child, Off).
	MapData MapKind = iota
	// MapZero means: the run reads as zeroes.
	MapZero
)

// Mapping is the longest run that starts at the offset asked for.
type Mapping struct {
	Off   int64 // bytes, in the child
	Len   int64 // bytes, at most what was asked for, more than zero
	Child uint16
	Kind  MapKind
	// NeedFlush means: a durable write here needs a flush of the node that maps besides (the mapping itself is not durable yet).
	NeedFlush bool
}

// Mapper answers where a range lives: memory only, no lock, no I/O, no allocation, from any thread at once. False means that only the
// blocking node can tell (or, for writes, that the range must be allocated, copied or is shared).
//
// off and n are inside the node and n is more than 0; op is OpRead or OpWrite, and a write is never answered by MapZero. What it answers
// must stay true until a grace period has passed (see [Domain]). A write that was answered comes to the node's WriteAt all the same when no
// leaf takes it as it is; then nothing of the answer is used.
type Mapper interface {
	Parent
	Map(op Op, off, n int64) (Mapping, bool)
}

// Stager is a filter that can be flattened: it has one child, and says what it does to requests on their way. A filter without it is
// opaque: everything goes through its blocking methods.
type Stager interface {
	Stage() Stage
}

// Stage is a filter's part in a flattened graph; nil members are not needed.
type Stage struct {
	Child     *Ref
	Admit     Admitter
	Transform Transformer
	Observe   Observer
	Shift     int64 // bytes added to the offset (raw's offset=, a partition)
}

// Admitter decides when a request may go: throttle, delay. Called once per request, from the Path's thread; now and the answer are in
// nanoseconds of the engine's clock ([Now]); an answer not after now means at once. The request is charged by the call.
type Admitter interface {
	Admit(op Op, n int64, now int64) (at int64)
}

// Regulator is an Admitter that has to choose: which of several waiting members goes first is not known when a request comes. A time after
// now from Admit or Again means: wait, and ask by Again when that time has come; nothing is charged before the answer is "at once". A request
// that ends without having been let through is taken back by Withdraw. From the Path's thread too; it does not allocate, and takes no lock
// that anybody holds for longer than a few dozen nanoseconds.
type Regulator interface {
	Admitter
	Again(op Op, n int64, now int64) (at int64)
	Withdraw(op Op, n int64)
}

// Transformer changes data between this layer and its child, length for length: encryption. off is in this layer. Unit is the
// granule in bytes; requests that are not whole units take the slow lane.
type Transformer interface {
	Unit() uint32
	Encode(dst, src []byte, off int64)
	Decode(p []byte, off int64)
}

// Observer sees every completed request of a layer: trace, verify, latency per layer. Called on the Path's thread; it must not block.
type Observer interface {
	Observe(op Op, off, n int64, issued, done int64, err error)
}

package fiojob

import "math"

// Kind is the shape of an option's value.
type Kind uint8

// The kinds. All integers take size suffixes, as in fio, except where noted.
const (
	KindString    Kind = iota // text, as it stands
	KindFlag                  // bare, or =0 or =1
	KindBool                  // 0 or 1; bare means 1
	KindInt                   // integer, up to three by direction (Option.Dirs)
	KindSize                  // bytes, up to three by direction
	KindAmount                // bytes, N% of the file, or Nz zones
	KindSizeRange             // one size or two, joined by '-' or ':'
	KindRange                 // min-max by direction, as bsrange
	KindTime                  // duration; Option.Unit says what a bare number means
	KindTimeRange             // one duration or two
	KindEnum                  // one of Values, with a ":tail" where Option.Tail
	KindSet                   // several of Values joined by ',', with a ":count"
	KindFloats                // numbers joined by ':', at most MaxLen of them
	KindList                  // names joined by ':', "\:" for a colon in a name
	KindCPUs                  // 0,2-5
	KindPattern               // bytes: 0x…, "text", 'file', decimal, %o
	KindSplit                 // own syntax, parsed by the row's setter
)

var kindNames = [...]string{
	KindString: "text", KindFlag: "flag", KindBool: "bool", KindInt: "integer", KindSize: "size",
	KindAmount: "size, % or z", KindSizeRange: "size or range", KindRange: "ranges", KindTime: "time",
	KindTimeRange: "time or range", KindEnum: "choice", KindSet: "choices", KindFloats: "numbers",
	KindList: "names", KindCPUs: "CPU list", KindPattern: "pattern", KindSplit: "split",
}

func (k Kind) String() string { return kindNames[k] }

// Status says what becomes of a key or of one of its values.
type Status uint8

const (
	// Honoured keys do what fio's manual says.
	Honoured Status = iota
	// Equivalent keys ask for what this program does anyway or in another way;
	// Note says how. They are accepted with that note.
	Equivalent
	// Refused keys are errors that carry Note as the reason.
	Refused
)

var statusNames = [...]string{Honoured: "honoured", Equivalent: "equivalent", Refused: "refused"}

func (s Status) String() string { return statusNames[s] }

// Category groups options in help and in the documentation.
type Category uint8

// The categories, in the order they are printed.
const (
	CatJob Category = iota
	CatTime
	CatFile
	CatIO
	CatBlock
	CatBuffer
	CatDepth
	CatRate
	CatLatency
	CatVerify
	CatReplay
	CatZone
	CatCPU
	CatError
	CatReport
	CatLog
	CatEngine
	CatOther
)

var categoryNames = [...]string{
	CatJob: "Jobs and their order", CatTime: "Time", CatFile: "Files and devices", CatIO: "Kind of I/O",
	CatBlock: "Block sizes", CatBuffer: "Buffers", CatDepth: "Depth and batches", CatRate: "Rate and think time",
	CatLatency: "Latency targets", CatVerify: "Verification", CatReplay: "Trace replay", CatZone: "Zones",
	CatCPU: "CPUs, memory and priority", CatError: "Errors", CatReport: "Statistics and reports", CatLog: "Logs",
	CatEngine: "Options of I/O engines", CatOther: "Options of other engines and profiles of fio",
}

func (c Category) String() string { return categoryNames[c] }

// Value is one choice of an enumeration.
type Value struct {
	Name   string
	Code   int
	Help   string
	Status Status
	Note   string // how, if Equivalent; why, if Refused
}

// rank orders the keys of a section of a job file: some say how others are to
// be read, and some rely on others.
type rank int8

const (
	early rank = iota - 1
	inOrder
	late
	engineLast // what is an option depends on the engine
)

func (o *Option) rank() rank {
	if o.Engine() {
		return engineLast
	}
	return o.Rank
}

// Option is one key of the language: a row of the table.
type Option struct {
	Name     string
	Aliases  []string
	Kind     Kind
	Category Category
	Help     string
	Default  string // in fio's spelling; empty where fio has none
	Values   []Value
	Tail     bool  // KindEnum: text may follow the choice after a ':'
	Dirs     int   // how many comma-separated values by direction (0: one)
	Min, Max int64 // KindInt and KindSize; Max 0 means as large as the kind holds
	FMax     float64
	MaxLen   int  // KindFloats
	Pow2     bool // KindInt, KindSize: a power of two
	Unit     unit // KindTime: what a bare number counts
	BareOK   bool // may stand without a value though its kind has one
	Rank     rank // when it is applied, of the keys of a section of a job file
	Engines  []string
	Since    string // first version of fio that has it, where later than 3.33; "blkbench" for ours
	Status   Status
	Note     string

	set setter
}

// Engine reports whether the option belongs to I/O engines rather than to jobs.
func (o *Option) Engine() bool { return o.Engines != nil }

// Bare reports whether the key may stand without "=value".
func (o *Option) Bare() bool { return o.Kind == KindFlag || o.Kind == KindBool || o.BareOK }

// Names returns the name and its aliases.
func (o *Option) Names() []string { return append([]string{o.Name}, o.Aliases...) }

func (o *Option) maxInt() int64 {
	switch {
	case o.Max != 0:
		return o.Max
	case o.Kind == KindInt:
		return math.MaxInt32
	default:
		return math.MaxInt64
	}
}

func (o *Option) dirs() int { return max(o.Dirs, 1) }

// value finds a choice by name.
func (o *Option) value(name string) *Value {
	for i := range o.Values {
		if o.Values[i].Name == name {
			return &o.Values[i]
		}
	}
	return nil
}

func (o *Option) valueNames() []string {
	var names []string
	for i := range o.Values {
		if o.Values[i].Status != Refused {
			names = append(names, o.Values[i].Name)
		}
	}
	return names
}

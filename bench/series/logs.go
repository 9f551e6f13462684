package series

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/blkbench/blkbench/bench/gen"
)

// Kind is a kind of log.
type Kind uint8

// The kinds of logs.
const (
	Slat Kind = iota
	Clat
	Lat
	BW
	IOPS
	ClatHist
	// Kinds is their number.
	Kinds
)

var kindNames = [Kinds]string{"slat", "clat", "lat", "bw", "iops", "clat_hist"}

func (k Kind) String() string { return kindNames[k] }

// Window says what a windowed log holds of a window.
type Window uint8

// What log_window_value asks for.
const (
	Average Window = iota
	Maximum
	Both
)

// Options are fio's log_* keys. Times are nanoseconds.
type Options struct {
	// Prefix of the file name by kind; "" is no log of that kind.
	Prefix [Kinds]string
	// Job is the number in the file name, from 1; 0 leaves it out (per_job_logs=0).
	Job int
	// Append adds to a file that is there instead of beginning it anew: for the
	// second and later jobs that share a file.
	Append bool
	// Avg is the window of all logs but histograms; 0: every single request.
	Avg int64
	// Hist is the window of histograms; 0: none are written.
	Hist       int64
	Coarseness int
	Window     Window
	Offset     bool // offsets
	Prio       bool // priorities as they are, not as one bit
	IssueTime  bool
	// Epoch is added to every time: Unix nanoseconds at the start of the run for
	// log_unix_epoch.
	Epoch int64
	// Start is the time of the run's start on the clock of events and intervals.
	Start int64
}

// FileName is the name of a log: prefix_clat.1.log, or prefix_clat.log for job
// 0.
func FileName(prefix string, k Kind, job int) string {
	if job == 0 {
		return fmt.Sprintf("%s_%v.log", prefix, k)
	}
	return fmt.Sprintf("%s_%v.%d.log", prefix, k, job)
}

// Event is one completed request.
type Event struct {
	Done, Issued    int64 // clock
	Slat, Clat, Lat uint64
	Off             int64
	Len             uint32
	Prio            uint16
	Dir             gen.Dir
	HighPriority    bool // of the real-time class: what the column says without Prio
	_               [8]byte
}

// Logs writes the logs of one job. It belongs to one goroutine, and not to the
// measuring thread: writing blocks.
type Logs struct {
	o     Options
	out   [Kinds]*output
	win   windows
	hist  histWindow
	names []string
	line  []byte
	bins  []uint64
}

// output is one file.
type output struct {
	f *os.File
	w *bufio.Writer
}

// Open creates the files.
func Open(o Options) (*Logs, error) {
	if o.Coarseness < 0 || o.Coarseness > 6 {
		return nil, fmt.Errorf("histogram coarseness %d: 0 to 6", o.Coarseness)
	}
	if o.Avg < 0 || o.Hist < 0 {
		return nil, fmt.Errorf("log windows of %d and %d ns", o.Avg, o.Hist)
	}
	l := &Logs{o: o}
	l.win.begin, l.win.due = o.Start, due(o.Start, o.Avg, o.Start)
	l.hist.begin, l.hist.due = o.Start, due(o.Start, o.Hist, o.Start)
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if !o.Append {
		flags |= os.O_TRUNC
	}
	for k, prefix := range o.Prefix {
		if prefix == "" {
			continue
		}
		name := FileName(prefix, Kind(k), o.Job)
		f, err := os.OpenFile(name, flags, 0o644)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.names = append(l.names, name)
		l.out[k] = &output{f, bufio.NewWriterSize(f, 1<<16)}
	}
	return l, nil
}

// Names are the files being written.
func (l *Logs) Names() []string { return l.names }

// EveryRequest says whether the logs need Event calls: there is one that is not
// windowed.
func (l *Logs) EveryRequest() bool {
	for k, out := range l.out {
		if out != nil && Kind(k) != ClatHist && l.o.Avg == 0 {
			return true
		}
	}
	return false
}

// Windowed says whether the logs need Interval calls, and the lengths of the
// two windows: intervals should divide those that are not 0.
func (l *Logs) Windowed() (avg, hist int64) {
	for k, out := range l.out {
		switch {
		case out == nil:
		case Kind(k) == ClatHist:
			hist = l.o.Hist
		default:
			avg = l.o.Avg
		}
	}
	return avg, hist
}

// Close writes the windows that are under way and closes the files. It answers
// the first error of all writing.
func (l *Logs) Close() error {
	l.flushWindows(l.win.last)
	l.flushHist(l.hist.last)
	var err error
	for k, out := range l.out {
		if out == nil {
			continue
		}
		err = errors.Join(err, out.w.Flush(), out.f.Close())
		l.out[k] = nil
	}
	return err
}

// row is one line of a log.
type row struct {
	time       int64 // ns since the start
	value, top uint64
	both       bool
	dir        gen.Dir
	block      uint32
	off        int64
	prio       uint16
	high       bool
	issued     int64
}

func (l *Logs) write(k Kind, r *row) {
	out := l.out[k]
	if out == nil {
		return
	}
	b := l.millis(r.time)
	num := func(v uint64) {
		b = append(b, ", "...)
		b = strconv.AppendUint(b, v, 10)
	}
	num(r.value)
	if r.both {
		num(r.top)
	}
	num(uint64(r.dir))
	num(uint64(r.block))
	if l.o.Offset {
		num(uint64(r.off))
	}
	switch {
	case l.o.Prio:
		b = fmt.Appendf(b, ", 0x%04x", r.prio)
	case r.high:
		num(1)
	default:
		num(0)
	}
	if l.o.IssueTime {
		num(uint64(r.issued))
	}
	b = append(b, '\n')
	l.line = b
	_, _ = out.w.Write(b) // bufio keeps its error until Flush
}

// millis begins a line with its time column.
func (l *Logs) millis(since int64) []byte {
	return strconv.AppendInt(l.line[:0], (l.o.Epoch+since)/1_000_000, 10)
}

// Event writes a single request to the logs that are not windowed.
func (l *Logs) Event(e *Event) {
	if l.o.Avg > 0 {
		return
	}
	r := row{
		time: e.Done - l.o.Start, dir: e.Dir, block: e.Len, off: e.Off, prio: e.Prio, high: e.HighPriority,
		issued: e.Issued - l.o.Start,
	}
	for k, v := range [...]uint64{Slat: e.Slat, Clat: e.Clat, Lat: e.Lat} {
		r.value = v
		l.write(Kind(k), &r)
	}
	r.value = uint64(e.Len) * 1_000_000 / max(e.Clat, 1)
	l.write(BW, &r)
	r.value = 1
	l.write(IOPS, &r)
}

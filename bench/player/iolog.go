package player

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/blkbench/blkbench/bench/iolog"
	"github.com/blkbench/blkbench/engine/trace"
)

var fromIolog = map[iolog.Action]trace.Op{
	iolog.Read: trace.Read, iolog.Write: trace.Write, iolog.Trim: trace.Discard, iolog.Sync: trace.Flush, iolog.DataSync: trace.Flush,
}

// Load reads a trace, or a fio iolog of version 2 or 3: the requests in the order of their times, and the nodes' names.
func Load(in io.ReadSeeker) ([]trace.Entry, []string, error) {
	var head [4]byte
	n, err := io.ReadFull(in, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, fmt.Errorf("neither a trace nor an iolog: %w", err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	if trace.IsTrace(head[:n]) {
		return trace.Load(in)
	}
	return loadIolog(in)
}

func loadIolog(in io.Reader) ([]trace.Entry, []string, error) {
	r, err := iolog.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	var list []trace.Entry
	var waited int64 // µs, of version 2
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, r.Files(), nil
		}
		if err != nil {
			return nil, nil, err
		}
		if e.Action == iolog.Wait {
			waited += e.Off
			continue
		}
		op, ok := fromIolog[e.Action]
		if !ok {
			continue
		}
		t := trace.Entry{Op: op, Node: uint16(e.File), Off: e.Off, At: (e.At + waited) * 1000, Len: uint32(e.Len)}
		if op == trace.Flush {
			t.Off, t.Len = 0, 0
		}
		if e.Len > math.MaxUint32 || e.File > math.MaxUint16 || t.At < 0 {
			return nil, nil, fmt.Errorf("line %d: a length, a time or a number of files that is too large", r.Line())
		}
		list = append(list, t)
	}
}

var toIolog = [...]iolog.Action{
	trace.Read: iolog.Read, trace.Write: iolog.Write, trace.Flush: iolog.Sync, trace.Discard: iolog.Trim, trace.Zero: iolog.Write,
}

// WriteIolog writes a trace as fio's version 3 has it. Writes of zeroes become writes.
func WriteIolog(out io.Writer, list []trace.Entry, names []string) error {
	w, err := iolog.NewWriter(out)
	if err != nil {
		return err
	}
	for i, name := range names {
		name = strings.Join(strings.Fields(name), "_")
		for prior := range i {
			if names[prior] == names[i] {
				name = fmt.Sprintf("%s#%d", name, i)
				break
			}
		}
		n, err := w.Add(0, name)
		if err == nil {
			err = w.Write(&iolog.Entry{Action: iolog.Open, File: n})
		}
		if err != nil {
			return err
		}
	}
	var last int64
	for i := range list {
		e := &list[i]
		last = e.At / 1000
		if err := w.Write(&iolog.Entry{Action: toIolog[e.Op], File: int(e.Node), At: last, Off: e.Off, Len: int64(e.Len)}); err != nil {
			return err
		}
	}
	for i := range names {
		if err := w.Write(&iolog.Entry{Action: iolog.Close, File: i, At: last}); err != nil {
			return err
		}
	}
	return w.Flush()
}

package live

import (
	"bytes"
	"fmt"
	"io"

	"github.com/blkbench/blkbench/bench/result"
)

// State writes a state once, in lines of plain text: what SIGUSR1 asks for.
func State(w io.Writer, l *result.Live) error {
	var f frame
	var out []byte
	keep := func() {
		out = append(append(out, bytes.TrimRight(f.line, " ")...), '\n')
		f.line = f.line[:0]
	}
	f.progress(l, defaultWidth)
	if l.Left >= 0 {
		f.line = append(appendClock(append(f.line, ", "...), l.Elapsed), " so far"...)
	}
	keep()
	for d := range l.Dir {
		if l.Dir[d].IOPS > 0 || l.Dir[d].BW > 0 {
			f.direction(l, d, 0)
			keep()
		}
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

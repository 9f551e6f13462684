package bench

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/iolog"
)

// replay is a trace that a job plays (read_iolog), and what was found when it was read through before the run.
type replay struct {
	job      *fiojob.Job
	in       *os.File
	name     string
	files    []string // to be opened, in the order of the trace's numbers; one with replay_redirect
	longest  int64
	bytes    int64
	writes   bool
	requests int64
}

// maxReplay is the longest request of a trace, in bytes.
const maxReplay = 1 << 28

// openReplay opens a job's trace and reads it through once; nil when it has none.
func openReplay(j *fiojob.Job) (*replay, error) {
	if len(j.Replay.Logs) == 0 {
		return nil, nil
	}
	p := &replay{job: j, name: j.Replay.Logs[j.Clone%len(j.Replay.Logs)]}
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("%s: read_iolog: %w", j.Name, err)
	}
	if err := p.scan(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: read_iolog %s: %w", j.Name, p.name, err), p.close())
	}
	return p, nil
}

func (p *replay) open() error {
	var err error
	if p.name != "-" {
		p.in, err = os.Open(p.name)
		return err
	}
	// Standard input is kept, since it is read twice.
	if p.in, err = os.CreateTemp("", "trace"); err != nil {
		return err
	}
	if err := os.Remove(p.in.Name()); err != nil {
		return err
	}
	_, err = io.Copy(p.in, os.Stdin)
	return err
}

func (p *replay) close() error { return p.in.Close() }

// reader begins the trace anew.
func (p *replay) reader() (*iolog.Reader, error) {
	if _, err := p.in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return iolog.NewReader(p.in)
}

// scan finds out which files the trace names and how long its requests are.
func (p *replay) scan() error {
	r, err := p.reader()
	if err != nil {
		return err
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if p.skips(e.Action) || !e.Action.Moves() {
			continue
		}
		if e.Len > maxReplay {
			return fmt.Errorf("line %d: %d bytes in one request: at most %d", r.Line(), e.Len, maxReplay)
		}
		if e.Action != iolog.Trim {
			p.longest = max(p.longest, e.Len)
		}
		p.bytes += e.Len
		p.requests++
		p.writes = p.writes || e.Action != iolog.Read
	}
	p.files = r.Files()
	if to := p.job.Replay.Redirect; to != "" && len(p.files) > 0 {
		p.files = []string{to}
	}
	if len(p.files) == 0 {
		return errors.New("it names no file")
	}
	return nil
}

// skips reports whether replay_skip leaves an action out.
func (p *replay) skips(a iolog.Action) bool {
	s := &p.job.Replay.Skip
	switch a {
	case iolog.Read:
		return s.Read
	case iolog.Write:
		return s.Write
	case iolog.Trim:
		return s.Trim
	case iolog.Sync, iolog.DataSync:
		return s.Sync
	default:
		return false
	}
}

// replaySource plays the trace.
type replaySource struct {
	p     *replay
	w     *worker
	r     *iolog.Reader
	loop  int
	base  int64 // clock ns that times count from; 0: not begun
	waits int64 // version 2: µs of waits so far
}

// minWait is the shortest wait that counts, in µs, as with fio.
const minWait = 100

func (s *replaySource) next(st *step) bool {
	if s.base == 0 {
		s.base = s.w.clock.Now()
	}
	for {
		e, err := s.r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) { // it was good when it was read before
				s.w.setFailure(fmt.Errorf("%s: read_iolog %s: %w", s.w.job.Name, s.p.name, err))
			}
			return false
		}
		if e.Action == iolog.Wait && e.Off >= minWait {
			s.waits += e.Off
		}
		if e.Action <= iolog.Wait || s.p.skips(e.Action) {
			continue
		}
		s.fill(st, &e)
		return true
	}
}

func (s *replaySource) fill(st *step, e *iolog.Entry) {
	o := &s.p.job.Replay
	*st = step{file: s.w.files[min(e.File, len(s.w.files)-1)], sync: e.Action >= iolog.Sync, data: e.Action == iolog.DataSync}
	switch e.Action {
	case iolog.Write:
		st.dir = fiojob.Write
	case iolog.Trim:
		st.dir = fiojob.Trim
	default:
	}
	if o.Redirect != "" {
		st.file = s.w.files[0]
	}
	if !st.sync {
		st.off, st.n = e.Off/max(1, o.Scale), uint32(e.Len)
		if o.Align > 0 {
			st.off &^= o.Align - 1
		}
	}
	if !o.NoStall {
		at := e.At + s.waits
		if o.TimeScale != 100 && o.TimeScale > 0 {
			at = at * 100 / int64(o.TimeScale)
		}
		st.at = s.base + at*1000
	}
}

func (s *replaySource) want() (want, other gen.Dir, ok bool) { return gen.Read, gen.Read, true }

// nextOf ignores the direction: the trace decides.
func (s *replaySource) nextOf(_ gen.Dir, st *step) bool { return s.next(st) }

func (s *replaySource) again() bool {
	if s.loop++; s.loop >= s.w.job.Time.Loops && !s.w.job.Time.TimeBased {
		return false
	}
	r, err := s.p.reader()
	if err != nil {
		s.w.setFailure(err)
		return false
	}
	s.r, s.base, s.waits = r, 0, 0
	return true
}

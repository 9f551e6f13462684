package live

import (
	"strconv"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// statusLine is fio's: it returns to the first column, and pads so that nothing of a longer one before stays.
type statusLine struct {
	buf     []byte
	last    int           // columns of the one on the screen
	since   time.Duration // when the line began
	started bool
}

func (s *statusLine) draw(l *result.Live, newline time.Duration) []byte {
	s.buf = s.buf[:0]
	if !s.started {
		s.started, s.since = true, l.Elapsed
	}
	if newline > 0 && l.Elapsed-s.since >= newline {
		s.buf = append(s.buf, '\n')
		s.last, s.since = 0, l.Elapsed
	}
	start := len(s.buf)
	s.buf = appendStatus(s.buf, l)
	n := len(s.buf) - start
	for i := n; i < s.last; i++ {
		s.buf = append(s.buf, ' ')
	}
	s.last = n
	return append(s.buf, '\r')
}

// clear leaves the line where it is and goes to the next, as fio does.
func (s *statusLine) clear() []byte {
	if s.last == 0 {
		return nil
	}
	s.last = 0
	s.buf = append(s.buf[:0], '\n')
	return s.buf
}

// appendStatus appends Jobs: 1 (f=1): [r(1)][50.0%][r=3093MiB/s][r=792k IOPS][eta 00m:05s].
func appendStatus(b []byte, l *result.Live) []byte {
	b = append(b, "Jobs: "...)
	b = strconv.AppendInt(b, int64(l.Running), 10)
	b = append(b, " (f="...)
	b = strconv.AppendInt(b, int64(l.Files), 10)
	b = append(b, ')')
	if l.Running == 0 {
		return b
	}
	b = append(b, ": ["...)
	b = appendLetters(b, l)
	b = append(b, "]["...)
	if l.Done < 0 || l.State == "ramp" {
		b = append(b, "-.-%"...)
	} else {
		b = append(strconv.AppendFloat(b, units.Finite(min(l.Done, 1)*100), 'f', 1, 64), '%')
	}
	b = append(b, ']')
	moves := false
	for d := range l.Dir {
		moves = moves || l.Dir[d].IOPS > 0 || l.Dir[d].BW > 0
	}
	if moves {
		b = append(b, '[')
		b = appendRates(b, l, func(b []byte, v *result.LiveDir) []byte {
			return units.AppendFio(b, whole(v.BW), units.FioDigits, true, "B/s")
		})
		b = append(b, "]["...)
		b = appendRates(b, l, func(b []byte, v *result.LiveDir) []byte {
			return units.AppendFio(b, whole(v.IOPS), units.FioDigits, false, "")
		})
		b = append(b, " IOPS]"...)
	}
	b = append(b, "[eta "...)
	return append(appendETA(b, l.Left), ']')
}

func whole(f float64) uint64 {
	if f = units.Finite(f); f > 0 && f < 1<<62 {
		return uint64(f)
	}
	return 0
}

func appendRates(b []byte, l *result.Live, value func([]byte, *result.LiveDir) []byte) []byte {
	first := true
	for d := range l.Dir {
		v := &l.Dir[d]
		if v.IOPS <= 0 && v.BW <= 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, names[d][0], '=')
		b = value(b, v)
	}
	return b
}

// appendLetters condenses one letter a job: RRW becomes R(2),W(1). Without letters, those of the directions under way stand for all jobs.
func appendLetters(b []byte, l *result.Live) []byte {
	s := l.Letters
	if s == "" {
		b = append(b, letter(l), '(')
		return append(strconv.AppendInt(b, int64(l.Running), 10), ')')
	}
	for i := 0; i < len(s); {
		k := i
		for k < len(s) && s[k] == s[i] {
			k++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, s[i], '(')
		b = append(strconv.AppendInt(b, int64(k-i), 10), ')')
		i = k
	}
	return b
}

func letter(l *result.Live) byte {
	switch r, w, t := l.Dir[0].IOPS > 0, l.Dir[1].IOPS > 0, l.Dir[2].IOPS > 0; {
	case l.State == "ramp":
		return '/'
	case l.State == "verifying":
		return 'V'
	case r && w:
		return 'm'
	case r:
		return 'r'
	case w:
		return 'w'
	case t:
		return 'd'
	}
	return 'I'
}

// appendETA appends 00m:05s, with hours and days where there are any; what is not known is as far away as can be.
func appendETA(b []byte, t time.Duration) []byte {
	if t < 0 {
		return append(b, "--"...)
	}
	s := int64((t + time.Second - 1) / time.Second)
	days, hours := s/86400, s/3600%24
	if days > 0 {
		b = append(appendTwo(b, days), "d:"...)
	}
	if days > 0 || hours > 0 {
		b = append(appendTwo(b, hours), "h:"...)
	}
	b = append(appendTwo(b, s/60%60), "m:"...)
	return append(appendTwo(b, s%60), 's')
}

func appendTwo(b []byte, n int64) []byte {
	if n < 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, n, 10)
}

//go:build !amd64

package clock

func lineNow(l *line) int64 { return l.at(ticks()) }

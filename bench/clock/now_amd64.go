package clock

// lineNow is l.at(ticks()) in one call.
//
//go:noescape
func lineNow(l *line) int64

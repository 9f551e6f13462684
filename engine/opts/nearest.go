package opts

import "strings"

// maxNearest bounds the names that are compared: nothing anybody meant is longer.
const maxNearest = 64

// Nearest returns the known name that name was most likely meant to be, or ""
// when none is close. Case, and underscore against hyphen, count for nothing;
// a name that is a beginning or an end of a known one counts as close.
func Nearest(name string, known []string) string {
	if name == "" || len(name) > maxNearest {
		return ""
	}
	want := fold(name)
	best, bestCost := "", 1+len(want)/3
	for _, k := range known {
		have := fold(k)
		if len(have) > maxNearest {
			continue
		}
		cost := distance(want, have)
		if len(want) >= 3 && len(have) >= 3 && cost > 1 &&
			(strings.HasPrefix(have, want) || strings.HasPrefix(want, have) || strings.HasSuffix(have, want) || strings.HasSuffix(want, have)) {
			cost = 1
		}
		if cost < bestCost || (cost == bestCost && best == "") {
			best, bestCost = k, cost
		}
	}
	return best
}

func fold(s string) string { return strings.ToLower(normKey(s)) }

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours cost one each.
func distance(a, b string) int {
	var rows [3][maxNearest + 1]int
	prev2, prev, cur := rows[0][:len(b)+1], rows[1][:len(b)+1], rows[2][:len(b)+1]
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			sub := 1
			if a[i-1] == b[j-1] {
				sub = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+sub)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// maxListed bounds the known names that a message spells out.
const maxListed = 24

// suggest is the end of an "unknown" message: the nearest known name, or all
// known names where none is near and they are few.
func suggest(name string, known []string) string {
	if n := Nearest(name, known); n != "" {
		return " (nearest: " + n + ")"
	}
	switch {
	case len(known) == 0:
		return ""
	case len(known) > maxListed:
		return " (known: " + strings.Join(known[:maxListed], ", ") + ", …)"
	}
	return " (known: " + strings.Join(known, ", ") + ")"
}

package imgcmd

import "testing"

// pairwise returns rows in which every two values of two columns come together; empty values are left out of a row.
func pairwise(columns [][]string) [][]string {
	type pair struct{ c, v, d, w int }
	left := make(map[pair]bool)
	var order []pair
	for c := range columns {
		for d := c + 1; d < len(columns); d++ {
			for v := range columns[c] {
				for w := range columns[d] {
					left[pair{c, v, d, w}] = true
					order = append(order, pair{c, v, d, w})
				}
			}
		}
	}
	var rows [][]string
	for _, first := range order {
		if !left[first] {
			continue
		}
		row := make([]int, len(columns))
		for c := range row {
			row[c] = -1
		}
		row[first.c], row[first.d] = first.v, first.w
		gain := func(c, v int) int {
			n := 0
			for d, w := range row {
				switch {
				case w < 0 || d == c:
				case d < c && left[pair{d, w, c, v}], d > c && left[pair{c, v, d, w}]:
					n++
				}
			}
			return n
		}
		for c := range row {
			if row[c] >= 0 {
				continue
			}
			best, most := 0, -1
			for v := range columns[c] {
				if g := gain(c, v); g > most {
					best, most = v, g
				}
			}
			row[c] = best
		}
		for c := range row {
			for d := c + 1; d < len(row); d++ {
				delete(left, pair{c, row[c], d, row[d]})
			}
		}
		var words []string
		for c, v := range row {
			if columns[c][v] != "" {
				words = append(words, columns[c][v])
			}
		}
		rows = append(rows, words)
	}
	return rows
}

func TestPairwiseHasEveryPair(t *testing.T) {
	columns := [][]string{{"a", "b", "c"}, {"d", "e"}, {"f", "g", "h", "i"}}
	rows := pairwise(columns)
	if len(rows) > 16 {
		t.Errorf("%d rows", len(rows))
	}
	for c := range columns {
		for d := c + 1; d < len(columns); d++ {
			for _, v := range columns[c] {
				for _, w := range columns[d] {
					found := false
					for _, row := range rows {
						found = found || row[c] == v && row[d] == w
					}
					if !found {
						t.Errorf("%s and %s never come together", v, w)
					}
				}
			}
		}
	}
}

package enginetest

import (
	"slices"
	"time"
)

// shortenFor bounds the search for a shorter history.
const shortenFor = 30 * time.Second

// Shorten removes batches and steps from a history and makes steps smaller as long as run still fails, and returns what is left with
// its error.
func Shorten(h History, err error, run func(History) error) (History, error) {
	until := time.Now().Add(shortenFor)
	fails := func(c History) bool {
		if time.Now().After(until) {
			return false
		}
		// What depends on the scheduler fails now and then: three tries.
		for range 3 {
			if e := run(c); e != nil {
				h, err = c, e
				return true
			}
		}
		return false
	}
	removeBatches(&h, fails)
	removeSteps(&h, fails)
	for {
		before := time.Now()
		if !smaller(&h, fails) || before.After(until) {
			return h, err
		}
	}
}

// removeBatches removes ever smaller groups of batches; fails replaces *h when it reports true.
func removeBatches(h *History, fails func(History) bool) {
	for size := len(*h) / 2; size >= 1; size /= 2 {
		for at := len(*h) - size; at >= 0; at -= size {
			if at+size > len(*h) {
				continue
			}
			fails(slices.Delete(slices.Clone(*h), at, at+size))
		}
	}
}

func removeSteps(h *History, fails func(History) bool) {
	for b := len(*h) - 1; b >= 0; b-- {
		for s := range slices.Backward((*h)[b]) {
			c := slices.Clone(*h)
			c[b] = slices.Delete(slices.Clone(c[b]), s, s+1)
			fails(c)
		}
	}
}

// smaller halves lengths and drops flags, and reports whether anything was taken.
func smaller(h *History, fails func(History) bool) bool {
	shorter := false
	for b := range *h {
		for i := range (*h)[b] {
			s := (*h)[b][i]
			for _, try := range []Step{
				{Kind: s.Kind, Off: s.Off, Len: s.Len / 2, Fill: s.Fill, Flags: s.Flags},
				{Kind: s.Kind, Off: s.Off + s.Len/2, Len: s.Len - s.Len/2, Fill: s.Fill, Flags: s.Flags},
				{Kind: s.Kind, Off: s.Off, Len: s.Len, Fill: s.Fill},
			} {
				if try == s || (try.Len == 0 && s.Len > 0) || s.Kind == StepResize {
					continue
				}
				c := slices.Clone(*h)
				c[b] = slices.Clone(c[b])
				c[b][i] = try
				if fails(c) {
					shorter = true
					break
				}
			}
		}
	}
	return shorter
}

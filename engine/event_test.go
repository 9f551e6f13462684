package engine

import (
	"slices"
	"testing"
)

// TestEventNames: every event has a name of its own, by which it is found.
func TestEventNames(t *testing.T) {
	var seen []string
	for e := range Events {
		got, ok := ParseEvent(e.String())
		if !ok || got != e || slices.Contains(seen, e.String()) {
			t.Errorf("event %d is called %q, which is event %d (%t)", e, e, got, ok)
		}
		seen = append(seen, e.String())
	}
	if e, ok := ParseEvent("l2-load"); !ok || e != EventL2Load {
		t.Error("hyphens are underscores")
	}
	if _, ok := ParseEvent("l2_lo"); ok {
		t.Error("half a name")
	}
}

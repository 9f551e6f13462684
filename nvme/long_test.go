package nvme

import "testing"

// Long skips the test under -short, but for the race detector's runs.
func Long(t *testing.T) {
	t.Helper()
	if testing.Short() && !raceEnabled {
		t.Skip("left out by -short")
	}
}

package enginetest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// PeersEnv is the environment variable that, when it is 1, turns a missing peer from a skip into a failure.
const PeersEnv = "BLKBENCH_REQUIRE_PEERS"

// Long skips the test under -short: a conformance suite, a replay, a peer, whatever takes more than a moment. The race detector's runs are
// -short and leave none of it out.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() && !raceEnabled {
		t.Skip("left out by -short")
	}
}

// Require skips the test, which is a long one, unless all tools are on PATH (or are files, when they have a slash).
func Require(t testing.TB, tools ...string) {
	t.Helper()
	Long(t)
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	RequireThat(t, len(missing) == 0, strings.Join(missing, ", "))
}

// RequireThat skips the test with "requires what" unless ok.
func RequireThat(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv(PeersEnv) == "1":
		t.Fatalf("requires %s, and %s=1 says that it is there", what, PeersEnv)
	default:
		t.Skipf("requires %s", what)
	}
}

// RequireRoot skips the test unless it runs as root.
func RequireRoot(t testing.TB) {
	t.Helper()
	RequireThat(t, os.Geteuid() == 0, "root")
}

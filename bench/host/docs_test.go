package host_test

import (
	"os"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/host"
)

// TestEveryHintIsDocumented keeps the table of hints whole.
func TestEveryHintIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range host.Keys() {
		if !strings.Contains(string(doc), "`"+key+"`") {
			t.Errorf("docs/report.md does not explain %s", key)
		}
	}
}

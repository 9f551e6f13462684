package report_test

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/report"
)

// TestEveryExtraIsDocumented keeps the tables of what is under "blkbench" whole.
func TestEveryExtraIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Extras map[string]any `json:"blkbench"`
		Jobs   []struct {
			Extras map[string]any `json:"blkbench"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal(render(t, func(w io.Writer) error { return report.JSON(w, sample(), report.JSONOptions{Bins: true}) }), &doc); err != nil {
		t.Fatal(err)
	}
	check := func(m map[string]any) {
		for k := range m {
			if !strings.Contains(string(text), "`"+k+"`") {
				t.Errorf("docs/report.md does not explain %s", k)
			}
		}
	}
	check(doc.Extras)
	check(doc.Extras["host"].(map[string]any))
	for _, j := range doc.Jobs {
		check(j.Extras)
	}
}

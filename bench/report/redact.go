package report

import (
	"strings"

	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine/opts"
)

// redacted is an option's value as a report may show it.
func redacted(o result.KV) string {
	prefix := o.Key + "="
	return strings.TrimPrefix(opts.RedactName(prefix+o.Value), prefix)
}

func redactedAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = redactedName(s)
	}
	return out
}

// redactedName is a name, or a text that holds one.
func redactedName(s string) string {
	fields := strings.Split(s, " ")
	for i, f := range fields {
		fields[i] = opts.RedactName(f)
	}
	return strings.Join(fields, " ")
}

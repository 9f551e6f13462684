package getopt

import (
	"fmt"
	"io"
	"strings"
)

// Usage prints a table as nvme-cli does.
func Usage(w io.Writer, table []Option) {
	for _, o := range table {
		arg := ""
		if o.Arg != "" {
			arg = "=<" + o.Arg + ">"
		}
		left := "--" + o.Long + arg
		if o.Short != "" {
			left += ", -" + o.Short
			if o.Arg != "" {
				left += " <" + o.Arg + ">"
			}
		}
		fmt.Fprintf(w, "  [  %-33s ] --- %s\n", left, strings.Join(Fold(o.Help, 80-44), "\n"+strings.Repeat(" ", 44)))
	}
}

// Fold breaks text into lines of at most width characters.
func Fold(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// runMan writes the manual page, made from the same table as the help.
func runMan(_ context.Context, a *app, args []string) int {
	if len(args) > 0 {
		a.errorf("man takes no argument, got '%s'", args[0])
		return exitUsage
	}
	writeMan(a.stdout)
	return exitOK
}

func writeMan(w io.Writer) {
	fmt.Fprintf(w, ".TH BLKBENCH 1 \"\" \"blkbench %s\" \"User Commands\"\n.SH NAME\nblkbench \\- %s\n.SH SYNOPSIS\n.B blkbench\n.I VERB\n[options]\n",
		roff(version()), roff(strings.TrimPrefix(tagline, "blkbench ")))
	fmt.Fprint(w, ".SH VERBS\n")
	for i := range verbs {
		v := &verbs[i]
		fmt.Fprintf(w, ".SS %s\n%s.\n.PP\n.B blkbench %s\n%s\n", roff(v.name), roff(v.summary), roff(v.name), roff(v.usage))
		for para := range strings.SplitSeq(strings.TrimSpace(v.long), "\n\n") {
			if para != "" {
				fmt.Fprintf(w, ".PP\n%s\n", roff(para))
			}
		}
		if v.flags == nil {
			continue
		}
		for _, f := range v.flags() {
			fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(f.spelled()), roff(f.help))
		}
	}
	fmt.Fprint(w, ".SH EXIT STATUS\n0: done. 1: the work failed. 2: the command line is wrong. 130: ended by Ctrl-C, with a report.\n"+
		"Called through a link, the codes are those of the program that the link is named after.\n"+
		".SH LINKS\n")
	for i := range verbs {
		if verbs[i].link != "" {
			fmt.Fprintf(w, ".TP\n.B %s\nis blkbench %s\n", roff(verbs[i].link), roff(verbs[i].name))
		}
	}
}

// roff escapes text for a manual page.
func roff(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = strings.ReplaceAll(s, "-", `\-`)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

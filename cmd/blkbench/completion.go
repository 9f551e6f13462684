package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// runCompletion writes a completion script for a shell.
func runCompletion(_ context.Context, a *app, args []string) int {
	if len(args) != 1 {
		a.errorf("completion takes the shell's name: bash, zsh or fish")
		return exitUsage
	}
	switch args[0] {
	case "bash":
		bashCompletion(a.stdout)
	case "zsh":
		fmt.Fprint(a.stdout, "#compdef blkbench\nautoload -U +X bashcompinit && bashcompinit\n")
		bashCompletion(a.stdout)
	case "fish":
		fishCompletion(a.stdout)
	default:
		a.errorf("completion for '%s' is not there: want bash, zsh or fish", args[0])
		return exitUsage
	}
	return exitOK
}

func bashCompletion(w io.Writer) {
	var names []string
	for i := range verbs {
		names = append(names, verbs[i].name)
	}
	fmt.Fprintf(w, `_blkbench() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=
	if [ "$COMP_CWORD" -eq 1 ]; then
		words='%s help --help --version'
	else
		case ${COMP_WORDS[1]} in
`, strings.Join(names, " "))
	for i := range verbs {
		v := &verbs[i]
		if v.flags == nil {
			continue
		}
		var flags []string
		for _, f := range v.flags() {
			name := f.name
			if f.arg != "" && strings.HasPrefix(name, "--") {
				name += "="
			}
			flags = append(flags, name)
		}
		fmt.Fprintf(w, "\t\t%s) words='%s' ;;\n", v.name, strings.Join(flags, " "))
	}
	fmt.Fprintf(w, "\t\thelp) words='%s' ;;\n", strings.Join(names, " "))
	fmt.Fprint(w, `		esac
	fi
	case $cur in
	-*) compopt -o nospace 2>/dev/null; COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
	*) COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -- "$cur")) ;;
	esac
}
complete -F _blkbench blkbench
`)
}

func fishCompletion(w io.Writer) {
	for i := range verbs {
		v := &verbs[i]
		fmt.Fprintf(w, "complete -c blkbench -n __fish_use_subcommand -f -a %s -d %s\n", v.name, fishQuote(v.summary))
		if v.flags == nil {
			continue
		}
		for _, f := range v.flags() {
			if long, ok := strings.CutPrefix(f.name, "--"); ok {
				req := ""
				if f.arg != "" {
					req = " -r"
				}
				fmt.Fprintf(w, "complete -c blkbench -n '__fish_seen_subcommand_from %s' -l %s%s -d %s\n", v.name, long, req, fishQuote(f.help))
			}
		}
	}
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine/opts"
)

// cmdHelp prints one job key, or all.
func (a *app) cmdHelp(key string) int {
	if key == "all" {
		for _, o := range fiojob.Options() {
			a.printf("%-26s: %s\n", o.Name, o.Help)
		}
		return exitOK
	}
	o, ok := fiojob.Lookup(key)
	if !ok {
		var names []string
		for _, o := range fiojob.Options() {
			names = append(names, o.Names()...)
		}
		a.errorf("no such key '%s'%s", key, didYouMean(opts.Nearest(key, names)))
		return exitUsage
	}
	a.printf("%20s: %s\n", o.Name, o.Help)
	if len(o.Aliases) > 0 {
		a.printf("%20s: %s\n", "also", strings.Join(o.Aliases, ", "))
	}
	a.printf("%20s: %s\n%20s: %s\n", "type", o.Kind, "status", o.Status)
	if o.Note != "" {
		a.printf("%20s: %s\n", "note", o.Note)
	}
	return exitOK
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean '%s'?", name)
}

// engHelp prints the engines, or the keys of one.
func (a *app) engHelp(engine string) int {
	engine, _, _ = strings.Cut(engine, ",")
	var names []string
	for _, o := range fiojob.Options() {
		for _, e := range o.Engines {
			if !slices.Contains(names, e) {
				names = append(names, e)
			}
		}
	}
	slices.Sort(names)
	if engine == "" || engine == "list" {
		a.printf("Engines with keys of their own:\n\t%s\n", strings.Join(names, "\n\t"))
		return exitOK
	}
	found := false
	for _, o := range fiojob.Options() {
		if slices.Contains(o.Engines, engine) {
			found = true
			a.printf("%-26s: %s\n", o.Name, o.Help)
		}
	}
	if !found {
		a.errorf("no engine '%s' with keys of its own%s", engine, didYouMean(opts.Nearest(engine, names)))
		return exitUsage
	}
	return exitOK
}

package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
)

// release is set by -ldflags "-X main.release=v1.2.3" in a release build.
var release = ""

// version is the release, or the commit that the program was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	switch {
	case rev != "":
		return "devel-" + rev + dirty
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return "devel"
}

// runVersion prints the version and the facts of the build.
func runVersion(_ context.Context, a *app, args []string) int {
	verbose := false
	for _, arg := range args {
		switch arg {
		case "-v", "--verbose":
			verbose = true
		default:
			a.errorf("version takes -v only, got '%s'", arg)
			return exitUsage
		}
	}
	a.printf("blkbench %s\n%s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return exitOK
	}
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" || s.Key == "GOAMD64" || s.Key == "GOARM64" || strings.HasPrefix(s.Key, "vcs.") || s.Key == "-tags" {
			a.printf("%s=%s\n", s.Key, s.Value)
		}
	}
	if verbose {
		for _, d := range info.Deps {
			a.printf("%s %s\n", d.Path, d.Version)
		}
	}
	return exitOK
}

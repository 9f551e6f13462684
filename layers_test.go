package blkbench_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/blkbench/blkbench/"

// layers is the import table of docs/architecture.md: what a package of ours may import of ours, outside tests. The first pattern that
// matches counts; one that ends in /... stands for the package and all below it.
var layers = []struct {
	pkg string
	may []string
}{
	{"cmd/...", []string{"..."}},
	{"engine/enginetest/...", []string{"engine", "engine/dma", "engine/opts", "engine/enginetest/..."}},
	{"engine/dma", nil},
	{"engine/convert", []string{"engine", "engine/dma", "engine/opts"}},
	{"engine/opts", nil},
	{"engine/trace", nil},
	{"engine/filter/internal/filtertest", []string{"engine", "engine/enginetest/..."}},
	{"engine/filter/...", []string{"engine", "engine/dma", "engine/opts", "engine/trace", "formats/internal/...", "engine/filter/internal/..."}},
	{"engine", []string{"engine/dma", "engine/opts"}},
	{"bench/...", []string{"bench/...", "engine", "engine/dma", "engine/opts", "engine/trace"}},
	{"formats/...", []string{"engine", "engine/dma", "engine/opts", "formats/internal/..."}},
	{"protocols/nbd/wire", nil},
	{"protocols/...", []string{"engine", "engine/dma", "engine/opts", "uring", "nvme", "vfio/...", "protocols/internal/..."}},
	{"nvme/...", []string{"vfio/mmio", "nvme"}},
	{"vfio/mmio", nil},
	{"vfio/...", []string{"vfio/mmio", "vfio"}},
	{"uring", nil},
}

// helpers of tests: nothing but tests imports them.
var testOnly = []string{"engine/enginetest/...", "engine/filter/internal/filtertest", "nvme/nvmetest", "bench/internal/fiotest"}

// top are the folders that there may be.
var top = []string{"bench", "cmd", "docs", "engine", "formats", "nvme", "protocols", "uring", "vfio"}

type pkg struct {
	ImportPath, Dir, Name string
	Imports               []string
}

// list asks the go command for all packages but this folder's, which has nothing but tests.
func list(t *testing.T, arch string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Name,Imports", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	out, err := cmd.Output()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, e.Stderr)
		}
		t.Fatalf("requires the go command: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkgs
		case err != nil:
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, module) {
			pkgs = append(pkgs, p)
		}
	}
}

func matches(pattern, name string) bool {
	if base, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(name+"/", base)
	}
	return pattern == name
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// denied says why a package must not import another of ours; empty: it may.
func denied(from, to string) string {
	if matchesAny(testOnly, to) && !matchesAny(testOnly, from) {
		return "only tests import it"
	}
	for _, l := range layers {
		switch {
		case !matches(l.pkg, from):
			continue
		case matchesAny(l.may, to), isOwn(from, to):
			return ""
		}
		return l.pkg + " may import " + strings.Join(append(l.may, "nothing else of ours"), ", ")
	}
	return "the package is in no layer"
}

// isOwn reports whether to is a part of the driver or program that from is a part of.
func isOwn(from, to string) bool {
	parts := strings.Split(from, "/")
	if len(parts) < 2 || (parts[0] != "formats" && parts[0] != "protocols") {
		return false
	}
	return strings.HasPrefix(to+"/", parts[0]+"/"+parts[1]+"/")
}

// TestLayers checks the imports of every package against the table, for both architectures.
func TestLayers(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, p := range list(t, arch) {
			from := strings.TrimPrefix(p.ImportPath, module)
			for _, imp := range p.Imports {
				if to, ours := strings.CutPrefix(imp, module); ours {
					if why := denied(from, to); why != "" {
						t.Errorf("%s: %s imports %s: %s", arch, from, to, why)
					}
				}
			}
			if !slices.Contains(top, strings.Split(from, "/")[0]) {
				t.Errorf("%s: the folders at the top are %v", from, top)
			}
		}
	}
}

// TestLayersFindsFaults tries the table itself.
func TestLayersFindsFaults(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"engine", "engine/dma", true},
		{"engine", "uring", false},
		{"engine", "engine/enginetest", false},
		{"engine/dma", "engine", false},
		{"formats/qcow2", "formats/raw", false},
		{"formats/qcow2", "formats/internal/crypt", true},
		{"formats/qcow2", "protocols/file", false},
		{"formats/qcow2", "formats/qcow2/l1l2", true},
		{"protocols/file", "uring", true},
		{"protocols/nbd/server", "protocols/nbd/wire", true},
		{"protocols/nbd/wire", "engine", false},
		{"protocols/file", "formats/raw", false},
		{"protocols/file", "bench", false},
		{"bench", "nvme", false},
		{"bench/report", "bench/hist", true},
		{"nvme", "vfio/mmio", true},
		{"nvme", "vfio/pci", false},
		{"vfio/pci", "vfio/mmio", true},
		{"vfio/mmio", "vfio", false},
		{"uring", "engine/dma", false},
		{"cmd/blkbench", "nvme", true},
		{"cmd/blkbench", "engine/enginetest", false},
		{"pkg/anything", "engine", false},
	} {
		if why := denied(c.from, c.to); (why == "") != c.ok {
			t.Errorf("%s imports %s: %q, want ok=%v", c.from, c.to, why, c.ok)
		}
	}
}

// TestForbidden looks for what the style rules out and no linter of the list finds.
func TestForbidden(t *testing.T) {
	for _, p := range list(t, runtime.GOARCH) {
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "misc"}, p.Name) {
			t.Errorf("%s: the name says nothing", p.ImportPath)
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		documented := false
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || f.Doc != nil
			for _, fault := range faults(f) {
				t.Errorf("%s: %s", fset.Position(fault.pos), fault.what)
			}
		}
		if !documented {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

type fault struct {
	pos  token.Pos
	what string
}

// faults finds init functions, blank imports of packages and work left over.
func faults(f *ast.File) []fault {
	var out []fault
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, fault{fn.Pos(), "init: drivers are listed in cmd/blkbench/drivers.go"})
		}
	}
	for _, imp := range f.Imports {
		if imp.Name != nil && imp.Name.Name == "_" && imp.Path.Value != `"embed"` && imp.Path.Value != `"unsafe"` {
			out = append(out, fault{imp.Pos(), "blank import: drivers are listed in cmd/blkbench/drivers.go"})
		}
	}
	for _, g := range f.Comments {
		for _, c := range g.List {
			for _, word := range []string{"TODO", "FIXME", "XXX"} {
				if strings.Contains(c.Text, word+":") || strings.Contains(c.Text, word+"(") {
					out = append(out, fault{c.Pos(), "work left over: " + c.Text})
				}
			}
		}
	}
	return out
}

// TestForbiddenFindsFaults tries the finder itself.
func TestForbiddenFindsFaults(t *testing.T) {
	const src = "package p\nimport _ \"net/http/pprof\"\nimport _ \"embed\"\nfunc init() {}\n// TODO" + ": later\nfunc (t T) init() {}\ntype T int\n"
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if got := faults(f); len(got) != 3 {
		t.Errorf("%d faults, want 3: %v", len(got), got)
	}
}

// TestNoStrayFolders: no pkg/, no internal/ at the top, and no folder whose name says nothing.
func TestNoStrayFolders(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case name == "pkg" || name == "internal" || slices.Contains([]string{"util", "utils", "common", "types", "helpers"}, path.Base(name)):
			t.Errorf("%s: no such folder", name)
		case name != "." && strings.HasPrefix(path.Base(name), "."), path.Base(name) == "testdata":
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

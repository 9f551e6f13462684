package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Image is what the guest's root consists of. The zero value has the init and the standard modules.
type Image struct {
	// Tests are Go packages whose test binaries go to /test/NAME, NAME being the last element of the path.
	Tests []string
	// Commands are Go main packages, built to /bin/NAME.
	Commands []string
	// Programs are programs of the host, by name or path, copied with the libraries they need.
	Programs []string
	// Files are further files, contents by path in the guest.
	Files map[string][]byte
	// Modules are kernel modules beyond the standard ones, in the order of insertion.
	Modules []string
}

// standardModules make vfio-pci work, in the order of insertion.
var standardModules = []string{"irqbypass", "vfio", "vfio_iommu_type1", "vfio_virqfd", "vfio-pci-core", "vfio-pci"}

// instructions are what init reads from /etc/guest.json.
type instructions struct {
	Modules []string `json:"modules"`
	Jobs    []Job    `json:"jobs"`
}

// build writes the initramfs for jobs to path.
func (img Image) build(k *kernel, path string, jobs []Job) error {
	dir, err := os.MkdirTemp("", "blkbench-guest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var archive bytes.Buffer
	c := newCPIO(&archive)
	for _, d := range []string{"dev", "proc", "sys", "tmp", "run", "etc", "root"} {
		if err := c.add(cpioEntry{name: d, mode: fs.ModeDir | 0o755}); err != nil {
			return err
		}
	}
	todo := instructions{Jobs: jobs}
	for _, m := range append(append([]string{}, standardModules...), img.Modules...) {
		file, err := k.module(m)
		if err != nil {
			return err
		}
		name := "modules/" + m + ".ko"
		todo.Modules = append(todo.Modules, "/"+name)
		if err := addFile(c, name, file); err != nil {
			return err
		}
	}
	if err := img.addGo(c, dir); err != nil {
		return err
	}
	for _, p := range img.Programs {
		if err := addProgram(c, p); err != nil {
			return err
		}
	}
	text, err := json.Marshal(todo)
	if err != nil {
		return err
	}
	if err := c.add(cpioEntry{name: "etc/guest.json", mode: 0o644, body: text}); err != nil {
		return err
	}
	for name, body := range img.Files {
		if err := c.add(cpioEntry{name: strings.TrimPrefix(name, "/"), mode: 0o755, body: body}); err != nil {
			return err
		}
	}
	if err := c.close(); err != nil {
		return err
	}
	return os.WriteFile(path, archive.Bytes(), 0o600)
}

const module = "github.com/blkbench/blkbench"

// addGo builds init, commands and test binaries.
func (img Image) addGo(c *cpioWriter, dir string) error {
	build := func(target, name string, args ...string) error {
		out := filepath.Join(dir, filepath.Base(name))
		cmd := exec.Command("go", append(args, "-ldflags=-s -w", "-o", out, target)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS=linux")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", target, err, text)
		}
		defer os.Remove(out)
		return addFile(c, name, out)
	}
	if err := build(module+"/engine/enginetest/guest/init", "init", "build"); err != nil {
		return err
	}
	for _, p := range img.Commands {
		if err := build(module+"/"+p, "bin/"+filepath.Base(p), "build"); err != nil {
			return err
		}
	}
	for _, p := range img.Tests {
		if err := build(module+"/"+p, "test/"+filepath.Base(p), "test", "-c"); err != nil {
			return err
		}
	}
	return nil
}

func addFile(c *cpioWriter, name, from string) error {
	body, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return c.add(cpioEntry{name: name, mode: 0o755, body: body})
}

var libraryLine = regexp.MustCompile(`(?m)(/\S+) \(0x[0-9a-f]+\)$`)

// addProgram copies a program to /bin and its libraries to where it looks for them.
func addProgram(c *cpioWriter, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := addFile(c, "bin/"+filepath.Base(name), path); err != nil {
		return err
	}
	text, err := exec.Command("ldd", path).Output()
	if err != nil {
		return nil //nolint:nilerr // "not a dynamic executable": it is static
	}
	for _, m := range libraryLine.FindAllSubmatch(text, -1) {
		lib := string(m[1])
		if err := addFile(c, strings.TrimPrefix(lib, "/"), lib); err != nil {
			return err
		}
	}
	return nil
}

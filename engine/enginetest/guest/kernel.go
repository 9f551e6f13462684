package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// kernel is an unpacked kernel package.
type kernel struct {
	image   string
	modules string
}

// errRequires is what a host lacks; the test that needs it skips.
type errRequires struct{ what string }

func (e errRequires) Error() string { return "requires " + e.what }

var dependsLine = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-\S+)$`)

// openKernel finds the kernel in the cache, or fetches it. Several tests at once fetch it once.
func openKernel() (*kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "blkbench", "guest")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	if k, err := findKernel(cache); err == nil {
		return k, nil
	}
	if err := fetchKernel(cache); err != nil {
		return nil, err
	}
	return findKernel(cache)
}

func findKernel(cache string) (*kernel, error) {
	images, err := filepath.Glob(filepath.Join(cache, "linux-image-*", "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		return nil, fs.ErrNotExist
	}
	image := images[len(images)-1]
	version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
	return &kernel{image: image, modules: filepath.Join(filepath.Dir(image), "..", "lib", "modules", version)}, nil
}

// fetchKernel downloads the package that linux-image-cloud-amd64 stands for, and unpacks it. Nothing is installed.
func fetchKernel(cache string) error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return errRequires{tool + " (the guest's kernel is Debian's)"}
		}
	}
	text, err := exec.Command("apt-cache", "depends", "linux-image-cloud-amd64").CombinedOutput()
	if err != nil {
		return errRequires{"the package linux-image-cloud-amd64 in apt's lists: " + strings.TrimSpace(string(text))}
	}
	m := dependsLine.FindSubmatch(text)
	if m == nil {
		return errRequires{"a versioned kernel package; apt-cache says: " + string(text)}
	}
	name := string(m[1])
	tmp, err := os.MkdirTemp(cache, "fetch")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	get := exec.Command("apt-get", "download", name)
	get.Dir = tmp
	if text, err := get.CombinedOutput(); err != nil {
		return errRequires{fmt.Sprintf("a download of %s: %v: %s", name, err, text)}
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download left %v in %s", debs, tmp)
	}
	unpacked := filepath.Join(tmp, name)
	if text, err := exec.Command("dpkg", "-x", debs[0], unpacked).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg -x: %w: %s", err, text)
	}
	return os.Rename(unpacked, filepath.Join(cache, name))
}

// module finds a module by name, with hyphens and underscores alike.
func (k *kernel) module(name string) (string, error) {
	want := strings.ReplaceAll(name, "-", "_") + ".ko"
	var found string
	err := filepath.WalkDir(k.modules, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.ReplaceAll(d.Name(), "-", "_") == want {
			found = path
			return filepath.SkipAll
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if found == "" {
		return "", fmt.Errorf("kernel module %s is not in %s", name, k.modules)
	}
	return found, nil
}

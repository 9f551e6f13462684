package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// newTarget is an image that a verb makes and fills. Under our own name a file gets its name when it is complete: until then it stands
// beside it under another, which is removed when the verb fails. Through the link it is made in place.
type newTarget struct {
	c     *call
	name  string      // what the user calls it
	at    string      // where it is made
	held  *engine.Ref // the file that is replaced: locked, so that nobody writes to it and loses that
	ready bool
}

// target prepares a new image. Where name is no plain file, or through the link, it is made in place.
func (c *call) newTarget(ctx context.Context, name string) (*newTarget, error) {
	n := &newTarget{c: c, name: name, at: name}
	t, err := opts.ParseName(name)
	if err != nil || c.env.Link || t.Driver() != "" && t.Driver() != "file" {
		return n, nil //nolint:nilerr // creation says it better
	}
	path, _ := t.String("filename")
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil || !st.Mode().IsRegular():
		return n, nil //nolint:nilerr // likewise
	default:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
		if n.held, err = c.eng.OpenName(ctx, path, "file", engine.OpenFlags{Write: true}); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		// The folder takes no new names: creation finds out whether the file itself can be written.
		return n, n.release()
	}
	n.at = f.Name()
	mode := os.FileMode(0o644)
	if st != nil {
		mode = st.Mode().Perm()
	}
	return n, errors.Join(f.Chmod(mode), f.Close())
}

func (n *newTarget) release() error {
	if n.held == nil {
		return nil
	}
	err := n.held.Close()
	n.held = nil
	return err
}

// create makes the image. Its errors are texts as qemu-img has them, without the name.
func (n *newTarget) create(ctx context.Context, img *NewImage, known []formatOption, tree *opts.Tree) error {
	target, _, err := n.c.target(n.at)
	if err != nil {
		return err
	}
	if n.at == n.name {
		// What is replaced in place must not be in use.
		if err := n.release(); err != nil {
			return err
		}
	}
	return img.explain(n.c.eng.Create(ctx, img.Format, target, n.at, img.Size, tree, engine.OpenFlags{Write: true, NoBacking: true}), known)
}

// finish gives the complete image its name; it is on the disk before. Called when the image is closed.
func (n *newTarget) finish() error {
	if n.at == n.name {
		return n.release()
	}
	path := n.name
	if t, err := opts.ParseName(n.name); err == nil {
		path, _ = t.String("filename")
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := syncFile(n.at); err != nil {
		return err
	}
	if err := os.Rename(n.at, path); err != nil {
		return err
	}
	n.ready = true
	return errors.Join(syncFile(filepath.Dir(path)), n.release())
}

// abandon removes what is not complete; after finish it does nothing.
func (n *newTarget) abandon() {
	_ = n.release()
	if n.at != n.name && !n.ready {
		_ = os.Remove(n.at)
	}
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

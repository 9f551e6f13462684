package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openedFile is what a reference from inside an image has led to.
type openedFile struct {
	name string
	file *os.File
	root *os.Root // the file's own folder, which references from inside it are bound to
}

func (o *openedFile) close() {
	if o != nil {
		_ = o.file.Close()
		_ = o.root.Close()
	}
}

// resolveReference applies the policy to a name that the image of the request has inside, and makes it absolute or relative to the image.
// Where only the image's folder is allowed the file is opened, too.
func (r *OpenRequest) resolveReference(name string, flags OpenFlags) (string, *openedFile, error) {
	full := ResolveName(r.Filename, name)
	switch r.Env.References {
	case ReferencesNone:
		return "", nil, Errf(ErrPermission, "the image refers to '%s', which is not followed: allow it by --references=folder or --references=allow", name)
	case ReferencesFolder:
		if isJSONName(name) || hasProtocol(name) {
			return "", nil, Errf(ErrPermission, "the image refers to '%s', which is no plain file name: allow it by --references=allow", name)
		}
		opened, err := r.openInFolder(name, full, flags)
		return full, opened, err
	case ReferencesAllow:
	}
	return full, nil, nil
}

// openInFolder opens a regular file in the image's folder or below. Links are followed as far as they stay inside; the check and the
// opening are one.
func (r *OpenRequest) openInFolder(name, full string, flags OpenFlags) (*openedFile, error) {
	dir := filepath.Dir(r.Filename)
	rel := name
	if filepath.IsAbs(name) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if rel, err = filepath.Rel(abs, name); err != nil {
			return nil, Errf(ErrPermission, "the image refers to '%s' outside its folder: allow it by --references=allow", name)
		}
	}
	root, err := r.folder(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := openRegular(root, rel, flags)
	if errors.Is(err, errNotRegular) {
		return nil, Errf(ErrPermission, "the image refers to '%s', which is not a regular file: allow it by --references=allow", name)
	}
	if err != nil {
		return nil, Errf(ErrPermission, "the image refers to '%s', which is not a file in its folder (%v): allow it by --references=allow", name, err)
	}
	below, err := root.OpenRoot(filepath.Dir(rel))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &openedFile{name: full, file: f, root: below}, nil
}

// folder opens the folder that the image's references are bound to. Of an image that was itself reached by a reference it is opened from
// the folder that this one was bound to.
func (r *OpenRequest) folder(dir string) (*os.Root, error) {
	if r.opened != nil {
		return r.opened.root.OpenRoot(".")
	}
	return os.OpenRoot(dir)
}

var errNotRegular = errors.New("not a regular file")

// openRegular opens a regular file below a root, and nothing else: a device is not even opened, and a pipe does not block.
func openRegular(root *os.Root, rel string, flags OpenFlags) (*os.File, error) {
	st, err := root.Stat(rel)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	mode := os.O_RDONLY
	if flags.Write {
		mode = os.O_RDWR
	}
	f, err := root.OpenFile(rel, mode|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil && flags.Write && flags.AutoReadOnly && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)) {
		f, err = root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, err
	}
	st, err = f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errNotRegular
	}
	if err == nil {
		err = blocking(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// blocking takes O_NONBLOCK away again: with it io_uring answers EAGAIN for what is not cached.
func blocking(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = raw.Control(func(fd uintptr) {
		var have int
		if have, ferr = unix.FcntlInt(fd, unix.F_GETFL, 0); ferr == nil {
			_, ferr = unix.FcntlInt(fd, unix.F_SETFL, have&^unix.O_NONBLOCK)
		}
	})
	return errors.Join(err, ferr)
}

// MayFollow says whether the user's policy allows to follow a name that the image base has inside; nil, or an error that names the switch.
// Who follows it through an OpenRequest needs no asking, and gets what was checked.
func (e *Env) MayFollow(base, name string) error {
	r := &OpenRequest{Env: e, Filename: base}
	_, opened, err := r.resolveReference(name, OpenFlags{})
	opened.close()
	return err
}

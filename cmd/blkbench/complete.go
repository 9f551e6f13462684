package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// completeFile is a file that appears under its name when all of it is written, and not at all otherwise. What is no regular file
// (/dev/stdout, a pipe) is written directly.
type completeFile struct {
	*os.File
	name string
	temp bool
}

func createComplete(name string) (*completeFile, error) {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		if st.IsDir() {
			return nil, fmt.Errorf("%s: is a directory, not a file to write", name)
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &completeFile{File: f, name: name}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err // the name of the temporary file says nothing
		}
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return &completeFile{File: f, name: name, temp: true}, nil
}

// commit gives the file its name.
func (f *completeFile) commit() error {
	if !f.temp {
		return f.Close()
	}
	err := errors.Join(f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// discard removes what was written.
func (f *completeFile) discard() {
	f.Close()
	if f.temp {
		os.Remove(f.Name())
	}
}

// writeFile writes a whole file, or none.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := createComplete(name)
	if err != nil {
		return err
	}
	return f.write(write)
}

// write fills the file and gives it its name, or discards it.
func (f *completeFile) write(write func(io.Writer) error) error {
	if err := write(f); err != nil {
		f.discard()
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return f.commit()
}

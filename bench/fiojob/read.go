package fiojob

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// jobFile reads a job file a user named.
func (r *resolver) jobFile(name string) ([]byte, error) {
	if name == "-" {
		if r.stdin {
			return nil, errors.New("standard input is read already")
		}
		r.stdin = true
	}
	if r.env.Open == nil {
		return nil, errors.New("no files here")
	}
	f, err := r.env.Open(name)
	if err != nil {
		return nil, err
	}
	return readLimited(f)
}

func readLimited(f io.ReadCloser) ([]byte, error) {
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return data, err
}

// open opens a file on behalf of a job file: one in its folder or below, unless
// --allow-include says any. What a command line asks for is opened anyway.
func (r *resolver) open(path string) (io.ReadCloser, error) {
	if len(r.files) == 0 || r.plan.Run.AllowInclude {
		if r.env.Open == nil {
			return nil, errors.New("no files here")
		}
		return r.env.Open(path)
	}
	dir := filepath.Dir(r.files[len(r.files)-1])
	rel, err := relative(dir, path)
	if err != nil {
		return nil, err
	}
	if r.env.OpenIn == nil {
		return nil, errors.New("no files here")
	}
	return r.env.OpenIn(dir, rel)
}

// relative is path as seen from dir; going up is an error.
func relative(dir, path string) (string, error) {
	rel := filepath.Clean(path)
	if filepath.IsAbs(path) || filepath.IsAbs(dir) {
		absDir, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		dir, rel = absDir, abs
	}
	rel, err := filepath.Rel(dir, rel)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("%w: %s is outside %s, the folder of the job file: --allow-include lets it be read", ErrPermission, path, dir)
	}
	return rel, nil
}

// readSmall reads the beginning of a file a pattern names.
func (r *resolver) readSmall(name string, limit int) ([]byte, error) {
	if r == nil {
		return nil, errors.New("no files here")
	}
	from := ""
	if n := len(r.files); n > 0 {
		from = r.files[n-1]
	}
	_, f, err := r.find(name, from)
	if err != nil {
		return nil, readError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	if err != nil {
		return nil, readError(err)
	}
	return data, nil
}

func readError(err error) error {
	if errors.Is(err, ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRead, err)
}

// includeFile reads an included file.
func (r *resolver) includeFile(name, from string) (path string, data []byte, err error) {
	path, f, err := r.find(name, from)
	if err != nil {
		return "", nil, err
	}
	data, err = readLimited(f)
	return path, data, err
}

// find opens a file another names: beside that one, else from the current folder.
func (r *resolver) find(name, from string) (path string, f io.ReadCloser, err error) {
	beside := filepath.Clean(name)
	if !filepath.IsAbs(name) {
		beside = filepath.Join(filepath.Dir(from), name)
	}
	for _, path := range slices.Compact([]string{beside, filepath.Clean(name)}) {
		f, oerr := r.open(path)
		if oerr == nil {
			return path, f, nil
		}
		switch {
		case err == nil:
			err = oerr
		case errors.Is(oerr, ErrPermission):
			err = fmt.Errorf("%w: not in %s, and the current folder is looked in only with --allow-include", ErrPermission, filepath.Dir(beside))
		}
	}
	return "", nil, err
}

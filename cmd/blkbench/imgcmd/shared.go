package imgcmd

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// NamesFormat reports whether a tree says what the format is, so that nothing is probed.
func NamesFormat(e *engine.Env, t *opts.Tree) bool { return namesFormat(e, t) }

// BaseName is the file name that references inside an image are relative to, of an image that is named on a command line.
func BaseName(name string, t *opts.Tree) string { return baseName(name, t) }

// OpenReason says why an image could not be opened: what follows "can't open device X: ".
func OpenReason(err error) string { return openReason(err) }

// WriteSpecific prints what only an image's own format has, as info does; nothing where there is nothing.
func WriteSpecific(w io.Writer, n engine.Node) error {
	d, ok := n.(engine.Describer)
	if !ok {
		return nil
	}
	specific := d.Describe().Specific
	if specific == nil {
		return nil
	}
	v, err := generic(specific)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "Format specific information:")
	writeTree(w, v, 1)
	return nil
}

package imgcmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// objectTypes are the objects that drivers look up.
var objectTypes = []string{"secret", "tls-creds-x509", "tls-creds-psk", "tls-creds-anon", "throttle-group", "iothread"}

// NewEngine makes what images are opened in: the registry, the objects of --object and the policy of --references.
func NewEngine(env *Env, references string, objects []string) (*engine.Env, error) {
	e := &engine.Env{Registry: env.Registry, Warn: env.warn}
	switch references {
	case "":
		if env.Link {
			e.References = engine.ReferencesAllow
		}
	case "none":
	case "folder":
		e.References = engine.ReferencesFolder
	case "allow":
		e.References = engine.ReferencesAllow
	default:
		return nil, fmt.Errorf("--references must be none, folder or allow, not '%s'", references)
	}
	if len(objects) > 0 {
		e.Objects = new(opts.Objects)
	}
	for _, text := range objects {
		obj, err := opts.ParseObject(text)
		if err != nil {
			return nil, objectError(err)
		}
		if !slices.Contains(objectTypes, obj.Type) {
			return nil, fmt.Errorf("Parameter 'qom-type' does not accept value '%s'", obj.Type) //nolint:staticcheck // qemu-img's words
		}
		if err := e.Objects.Put(obj); err != nil {
			return nil, fmt.Errorf("attempt to add duplicate property '%s' to object (type 'container')", obj.ID)
		}
	}
	return e, nil
}

// objectError gives the commonest mistakes qemu-img's words.
func objectError(err error) error {
	e, ok := errors.AsType[*opts.Error](err)
	switch {
	case !ok:
	case errors.Is(e.Kind, opts.ErrMissing) && (e.Key == "id" || e.Key == "qom-type"):
		return fmt.Errorf("Parameter '%s' is missing", e.Key) //nolint:staticcheck // qemu-img's words
	case errors.Is(e.Kind, opts.ErrMissing) && strings.Contains(e.Msg, "data or file"):
		return errors.New("Either 'file' or 'data' must be provided") //nolint:staticcheck // qemu-img's words
	case errors.Is(e.Kind, opts.ErrConflict) && strings.Contains(e.Msg, "excludes data"):
		return errors.New("'file' and 'data' are mutually exclusive")
	}
	return err
}

// warn prints what is no error. The note on probed raw images stands alone, as QEMU prints it.
func (env *Env) warn(msg string) {
	if strings.HasPrefix(msg, "Image format was not specified") {
		fmt.Fprintf(env.Stderr, "WARNING: %s\n", msg)
		return
	}
	fmt.Fprintf(env.Stderr, "%s: warning: %s\n", env.Prog, msg)
}

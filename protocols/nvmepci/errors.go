package nvmepci

import (
	"errors"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio"
)

// kinds sorts what the transports say under the engine's kinds.
var kinds = []struct{ cause, kind error }{
	{vfio.ErrAddress, engine.ErrOption},
	{vfio.ErrNoDevice, engine.ErrNotFound},
	{vfio.ErrNoIOMMU, engine.ErrUnsupported},
	{vfio.ErrNotBound, engine.ErrLocked},
	{vfio.ErrNotViable, engine.ErrLocked},
	{vfio.ErrBusy, engine.ErrLocked},
	{vfio.ErrPermission, engine.ErrPermission},
	{vfio.ErrMemlock, engine.ErrPermission},
	{vfio.ErrTimeout, engine.ErrTimeout},
	{vfio.ErrGone, engine.ErrClosed},
	{nvme.ErrNoNamespace, engine.ErrNotFound},
	{nvme.ErrUnsupported, engine.ErrUnsupported},
	{nvme.ErrNotNVMe, engine.ErrUnsupported},
	{nvme.ErrTimeout, engine.ErrTimeout},
	{nvme.ErrRemoved, engine.ErrClosed},
	{nvme.ErrClosed, engine.ErrClosed},
	{nvme.ErrFatal, engine.ErrIO},
	{nvme.ErrMalformed, engine.ErrIO},
	{nvme.ErrReset, engine.ErrIO},
}

// statuses sorts the codes that mean more than an input/output error.
var statuses = map[nvme.Status]error{
	nvme.StatusInvalidOpcode: engine.ErrUnsupported, nvme.StatusLBAOutOfRange: engine.ErrRange,
	nvme.StatusCapacityExceeded: engine.ErrNoSpace, nvme.StatusNamespaceProtected: engine.ErrReadOnly,
	nvme.StatusReadOnlyRange: engine.ErrReadOnly, nvme.StatusAccessDenied: engine.ErrPermission,
}

// failure gives an error of a transport its kind.
func failure(err error) error {
	if err == nil {
		return nil
	}
	kind := engine.KindOf(err)
	if status, ok := errors.AsType[*nvme.StatusError](err); ok {
		kind = statusKind(status.Status)
	}
	for _, k := range kinds {
		if errors.Is(err, k.cause) {
			kind = k.kind
			break
		}
	}
	return &engine.Error{Kind: kind, Len: -1, Cause: err}
}

func statusKind(s nvme.Status) error {
	if k, ok := statuses[s.Code()]; ok {
		return k
	}
	return engine.ErrIO
}

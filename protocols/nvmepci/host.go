package nvmepci

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio"
)

// controllers are those that the process has attached to, by address or socket: a function can be attached to once.
var controllers = table{hosts: map[string]*host{}}

type table struct {
	mu    sync.Mutex
	hosts map[string]*host
}

// host is a controller with its users.
type host struct {
	name  string
	ctrl  *nvme.Controller
	users int // guarded by controllers.mu

	mu     sync.Mutex
	uses   []use
	arenas map[*dma.Arena]*mapped
	pairs  int // polled queue pairs that exist
	shared *sharedPair
}

// use is what one node does with a namespace, and lets others do.
type use struct {
	nsid         uint32
	perm, shared engine.Perm
}

// mapped is an arena that the controller can reach.
type mapped struct {
	region nvme.Region
	users  int
}

// acquire attaches to the controller, or adds a user to it.
func (t *table) acquire(ctx context.Context, o *Options) (*host, error) {
	name := o.Device
	if o.Socket != "" {
		name = filepath.Clean(o.Socket)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.hosts[name]; h != nil {
		h.users++
		return h, nil
	}
	var dev nvme.Device
	var err error
	if o.Socket != "" {
		dev, err = vfio.Dial(name)
	} else {
		dev, err = vfio.Open(name)
	}
	if err != nil {
		return nil, failure(err)
	}
	opt := nvme.Options{
		QueueSize: o.QueueSize, Interrupts: o.Interrupts, Timeout: time.Duration(o.TimeoutSecs) * time.Second,
		NoSGL: o.SGL == "off", NoShadowDoorbells: o.Shadow == "off", CMB: o.CMB, HostMemory: o.HostMemory, Queues: 64,
	}
	if o.HostMemory == 0 {
		opt.HostMemory = -1
	}
	ctrl, err := nvme.Attach(ctx, dev, opt)
	if err != nil {
		return nil, errors.Join(failure(err), dev.Close())
	}
	// The blocking plane has its queue before pollers take the rest.
	if err := ctrl.OpenBlocking(ctx); err != nil {
		return nil, errors.Join(failure(err), ctrl.Close())
	}
	h := &host{name: name, ctrl: ctrl, users: 1, arenas: map[*dma.Arena]*mapped{}}
	t.hosts[name] = h
	return h, nil
}

// release takes a user away; the last one shuts the controller down.
func (h *host) release() error {
	controllers.mu.Lock()
	defer controllers.mu.Unlock()
	if h.users--; h.users > 0 {
		return nil
	}
	delete(controllers.hosts, h.name)
	return h.ctrl.Close()
}

// enter checks a node's use of its namespace against the others': what one does the other must share.
func (h *host) enter(u use) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.uses {
		if o.nsid == u.nsid && (u.perm&^o.shared != 0 || o.perm&^u.shared != 0) {
			return engine.Errf(engine.ErrLocked, "namespace %d of %s is open in this process for another use", u.nsid, h.name)
		}
	}
	h.uses = append(h.uses, u)
	return nil
}

func (h *host) leave(u use) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.uses, u); i >= 0 {
		h.uses = slices.Delete(h.uses, i, i+1)
	}
}

// mapArenas makes arenas reachable for the controller and returns the address of each arena's first byte, by number.
func (h *host) mapArenas(arenas []*dma.Arena) ([]uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	top := 0
	for _, a := range arenas {
		top = max(top, int(a.ID())+1)
	}
	bases := make([]uint64, top)
	for i, a := range arenas {
		m := h.arenas[a]
		if m == nil {
			r, err := h.ctrl.Map(a.Bytes(0, a.Len()), a.FD(), 0)
			if err != nil {
				return nil, errors.Join(failure(err), h.unmapLocked(arenas[:i]))
			}
			m = &mapped{region: r}
			h.arenas[a] = m
		}
		m.users++
		bases[a.ID()] = m.region.IOVA
	}
	return bases, nil
}

func (h *host) unmapArenas(arenas []*dma.Arena) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unmapLocked(arenas)
}

func (h *host) unmapLocked(arenas []*dma.Arena) error {
	var err error
	for _, a := range arenas {
		m := h.arenas[a]
		if m == nil {
			continue
		}
		if m.users--; m.users == 0 {
			delete(h.arenas, a)
			err = errors.Join(err, h.ctrl.Unmap(m.region))
		}
	}
	return err
}

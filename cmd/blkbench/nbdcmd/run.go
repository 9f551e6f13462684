package nbdcmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/server"
)

func (c *call) run(ctx context.Context) error {
	o := &c.o
	if o.Fork && os.Getenv(readyEnv) == "" {
		return c.fork()
	}
	c.ready = readyPipe()
	switch {
	case o.Disconnect:
		if err := disconnect(c.images[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.env.Stdout, "%s disconnected\n", c.images[0])
		return nil
	case o.List:
		return c.list(ctx)
	}
	return c.serve(ctx)
}

// serve exports the images until it is told to stop.
func (c *call) serve(ctx context.Context) (err error) {
	o := &c.o
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	objects, authz := splitObjects(o.Objects)
	c.eng, err = imgcmd.NewEngine(&imgcmd.Env{
		Stdin: c.env.Stdin, Stdout: c.env.Stdout, Stderr: c.env.Stderr, Prog: c.env.Prog, Link: c.env.Link, Version: c.env.Version,
		Registry: c.env.Registry,
	}, o.References, objects)
	if err != nil {
		return err
	}
	cfg := server.Config{Clients: c.shared, Default: !c.env.Link, NoRing: c.flags.AIO == "threads"}
	if cfg.TLS, cfg.Authorize, err = c.serverTLS(authz); err != nil {
		return err
	}
	if o.Verbose {
		cfg.Log = func(format string, args ...any) { c.errorf(format, args...) }
	}
	last := make(chan struct{})
	var once sync.Once
	if c.env.Link && !o.Persistent && o.Connect == nil {
		cfg.Left = func(served bool, clients int) {
			if served && clients == 0 {
				once.Do(func() { close(last) })
			}
		}
	}
	if o.Connect != nil {
		if err := checkDevice(*o.Connect); err != nil {
			return err
		}
	}
	place, err := c.listen()
	if err != nil {
		return err
	}
	defer place.close()
	exports, err := c.openAll(ctx)
	defer func() {
		for _, x := range exports {
			err = errors.Join(err, x.Root.Close())
		}
	}()
	if err != nil {
		return err
	}
	srv := server.New(cfg)
	for _, x := range exports {
		if err := srv.Add(x); err != nil {
			return addError(x, err)
		}
	}
	if o.PIDFile != nil {
		if err := os.WriteFile(*o.PIDFile, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
			return fmt.Errorf("Could not create '%s': %s", *o.PIDFile, reason(err)) //nolint:staticcheck // qemu-nbd's words
		}
	}
	if !c.env.Link {
		for _, x := range exports {
			fmt.Fprintln(c.env.Stdout, place.uri(x.Name, cfg.TLS != nil))
		}
	}
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(place.l) }()
	if o.Connect != nil {
		if err := c.connectKernel(place, exports[0].Name); err != nil {
			return errors.Join(err, stopServer(ctx, srv))
		}
		go func() {
			awaitKernel(*o.Connect)
			failed <- nil
		}()
	}
	c.detach()
	select {
	case <-ctx.Done():
	case <-last:
	case err = <-failed:
	}
	if o.Connect != nil && ctx.Err() != nil {
		err = disconnect(*o.Connect)
	}
	if errors.Is(err, server.ErrClosed) {
		err = nil
	}
	return errors.Join(err, stopServer(ctx, srv))
}

// stopServer gives what is in flight a minute.
func stopServer(ctx context.Context, srv *server.Server) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return srv.Shutdown(limit)
}

// addError gives what an export lacks qemu-nbd's words.
func addError(x *server.Export, err error) error {
	if errors.Is(err, engine.ErrRange) {
		return fmt.Errorf("Offset (%d) cannot be greater than size of the containing file (%d)", x.Offset, x.Root.Size()) //nolint:staticcheck // qemu-nbd's words
	}
	if len(x.Bitmaps) > 0 {
		return fmt.Errorf("Bitmap '%s' is not found", x.Bitmaps[0]) //nolint:staticcheck // qemu-nbd's words
	}
	return err
}

// openAll opens every image; on an error what was opened is returned as well.
func (c *call) openAll(ctx context.Context) ([]*server.Export, error) {
	var list []*server.Export
	for _, name := range c.images {
		x, err := c.openExport(ctx, name)
		if err != nil {
			return list, err
		}
		list = append(list, x)
	}
	return list, nil
}

// openExport opens one image and says how it is exported. What is put over the image (a filter) belongs between the two.
func (c *call) openExport(ctx context.Context, name string) (*server.Export, error) {
	o := &c.o
	img := imgcmd.Image{Name: name, ImageOpts: o.ImageOpts, Flags: c.flags, Probe: true}
	if o.Format != nil {
		img.Format = *o.Format
	}
	ref, err := imgcmd.Open(ctx, c.eng, &img)
	if err != nil {
		if e, ok := errors.AsType[*imgcmd.OpenError](err); ok {
			text := strings.TrimPrefix(e.Error(), fmt.Sprintf("Could not open '%s': ", name))
			return nil, fmt.Errorf("Failed to blk_new_open '%s': %s", name, text) //nolint:staticcheck // qemu-nbd's words
		}
		return nil, err
	}
	x := &server.Export{
		Root: ref, Offset: c.offset, ReadOnly: o.ReadOnly || o.LoadSnap != nil, AllocationDepth: o.Depth, Bitmaps: o.Bitmaps, Single: c.shared == 1,
	}
	if !c.env.Link {
		x.Name = baseName(name, ref)
	}
	if o.ExportName != nil {
		x.Name = *o.ExportName
	}
	if o.Description != nil {
		x.Description = *o.Description
	}
	if o.LoadSnap != nil {
		if err := loadSnapshot(ctx, ref, *o.LoadSnap); err != nil {
			return nil, errors.Join(fmt.Errorf("Failed to load snapshot: %w", err), ref.Close()) //nolint:staticcheck // qemu-nbd's words
		}
	}
	return x, nil
}

// baseName is the name of the export of an image under our own name.
func baseName(name string, ref *engine.Ref) string {
	if strings.HasPrefix(name, "json:") || strings.Contains(name, "driver=") {
		name = ref.Info().Filename
	}
	if u, err := url.Parse(name); err == nil && u.Scheme != "" && u.Host+u.Path != "" {
		name = u.Host + u.Path
	}
	return filepath.Base(name)
}

func loadSnapshot(ctx context.Context, ref *engine.Ref, param string) error {
	s, ok := ref.Node().(engine.Snapshotter)
	if !ok {
		return fmt.Errorf("Block format '%s' used by device '' does not support temporarily loading internal snapshots", ref.Info().Driver) //nolint:staticcheck // qemu-nbd's words
	}
	for part := range strings.SplitSeq(param, ",") {
		if v, ok := strings.CutPrefix(part, "snapshot.id="); ok {
			param = v
			break
		}
		if v, ok := strings.CutPrefix(part, "snapshot.name="); ok {
			param = v
		}
	}
	return s.OpenSnapshot(ctx, param)
}

// reason is an error of the system in the C library's words.
func reason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		s := errno.Error()
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return err.Error()
}

// place is where the server listens.
type place struct {
	l    net.Listener
	path string // of a Unix socket
	dir  string // to be removed with it
}

func (p *place) close() {
	p.l.Close()
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

// uri is how a client names an export.
func (p *place) uri(export string, tls bool) string {
	scheme := "nbd"
	if tls {
		scheme = "nbds"
	}
	if p.path != "" {
		return scheme + "+unix:///" + url.PathEscape(export) + "?socket=" + url.QueryEscape(p.path)
	}
	return scheme + "://" + p.l.Addr().String() + "/" + url.PathEscape(export)
}

// socketFD is the first descriptor of systemd's socket activation.
const socketFD = 3

// listen finds out where, and listens there.
func (c *call) listen() (*place, error) {
	o := &c.o
	if os.Getenv("LISTEN_PID") == fmt.Sprint(os.Getpid()) && os.Getenv("LISTEN_FDS") != "" {
		if os.Getenv("LISTEN_FDS") != "1" {
			return nil, errors.New("qemu-nbd does not support socket activation with LISTEN_FDS > 1")
		}
		if o.Socket != nil || o.Port != nil || o.Bind != nil || o.Connect != nil {
			return nil, errors.New("Socket, port, address and device can't be set when using socket activation") //nolint:staticcheck // as qemu-nbd begins
		}
		f := os.NewFile(socketFD, "socket activation")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		return &place{l: l}, nil
	}
	tcp := o.Port != nil || o.Bind != nil || (c.env.Link && o.Connect == nil)
	switch {
	case o.Socket != nil:
		return listenUnix(*o.Socket)
	case !tcp && o.Connect != nil && c.env.Link:
		return listenUnix("/var/lock/qemu-nbd-" + filepath.Base(*o.Connect))
	case !tcp:
		dir, err := os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "blkbench-nbd-")
		if err != nil {
			return nil, err
		}
		p, err := listenUnix(filepath.Join(dir, "socket"))
		if err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
		p.dir = dir
		return p, nil
	}
	host, port := "127.0.0.1", "10809"
	if c.env.Link {
		host = "0.0.0.0"
	}
	if o.Bind != nil {
		host = *o.Bind
	}
	if o.Port != nil {
		port = *o.Port
	}
	network := "tcp"
	if host == "0.0.0.0" {
		network = "tcp4"
	}
	l, err := net.Listen(network, net.JoinHostPort(host, port))
	if err != nil {
		if e, ok := errors.AsType[*net.DNSError](err); ok {
			return nil, fmt.Errorf("address resolution failed for %s:%s: %s", host, port, e.Err)
		}
		if _, ok := errors.AsType[*net.AddrError](err); ok {
			return nil, fmt.Errorf("address resolution failed for %s:%s: %v", host, port, err.Error())
		}
		return nil, fmt.Errorf("Failed to bind socket: %s", reason(err)) //nolint:staticcheck // qemu-nbd's words
	}
	return &place{l: l}, nil
}

// listenUnix replaces a socket that nobody listens at.
func listenUnix(path string) (*place, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, fmt.Errorf("Failed to bind socket to %s: Address already in use", path) //nolint:staticcheck // qemu-nbd's words
		}
		_ = os.Remove(path) // what follows says why it is still there
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("Failed to bind socket to %s: %s", path, reason(err)) //nolint:staticcheck // qemu-nbd's words
	}
	return &place{l: l, path: path}, nil
}

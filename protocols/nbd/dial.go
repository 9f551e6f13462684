package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/engine"
)

const (
	// handshakeLimit is how long connecting and negotiating may take where open-timeout does not say.
	handshakeLimit = 10 * time.Second
	// between two tries to connect.
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
)

// dialer makes sessions. It does not change, and any goroutine may use it.
type dialer struct {
	network, addr string
	export        string
	context       string
	tls           *tls.Config
	limit         time.Duration
}

func newDialer(o *Options, env *engine.Env) (*dialer, error) {
	network, addr, err := o.address()
	if err != nil {
		return nil, err
	}
	cfg, err := o.tlsConfig(env)
	if err != nil {
		return nil, err
	}
	d := &dialer{network: network, addr: addr, export: o.Export, context: o.DirtyBitmap, tls: cfg, limit: o.OpenTimeout}
	if d.limit == 0 {
		d.limit = handshakeLimit
	}
	return d, nil
}

// dial connects and negotiates, once.
func (d *dialer) dial(ctx context.Context) (net.Conn, *session, error) {
	start := time.Now()
	c, err := (&net.Dialer{Timeout: d.limit}).DialContext(ctx, d.network, d.addr)
	if err != nil {
		return nil, nil, err
	}
	h := &handshake{export: d.export, context: d.context, tls: d.tls}
	return negotiate(ctx, c, h, d.limit, max(time.Millisecond, d.limit-time.Since(start)))
}

// dialUntil tries again until a time, as long as nobody answers. With the time past it tries once.
func (d *dialer) dialUntil(ctx context.Context, until time.Time) (net.Conn, *session, error) {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		c, s, err := d.dial(ctx)
		if err == nil || !absent(err) || time.Now().Add(pause).After(until) {
			return c, s, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// absent reports whether there is no server at the address just now: another try may find one.
func absent(err error) bool {
	for _, e := range []error{
		syscall.ECONNREFUSED, syscall.ENOENT, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EAGAIN, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		syscall.EPIPE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	op, ok := errors.AsType[*net.OpError](err)
	return (ok && (op.Timeout() || op.Temporary())) || isEOF(err)
}

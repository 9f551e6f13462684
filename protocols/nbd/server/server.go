package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/blkbench/blkbench/engine"
)

// Config is how a server deals with its clients. The zero value serves everybody.
type Config struct {
	TLS       *tls.Config                     // clients have to use it; nil: there is none
	Authorize func(tls.ConnectionState) error // may refuse a client after the handshake of TLS
	Clients   int                             // served at once; others wait unaccepted. 0: no limit

	HandshakeLimit time.Duration // for the whole negotiation; 0: 30 s
	IdleLimit      time.Duration // a client that asks nothing for so long is hung up on; 0: never
	StallLimit     time.Duration // see the package comment, and how long a shutdown waits for clients; 0: 30 s

	Threads int  // pollers for each export that has several clients; 0: one for each processor, at most 4
	Default bool // the only export answers to the empty name as well
	NoRing  bool // goroutines serve everything

	Log  func(format string, args ...any) // what happens to clients; nil: nobody listens
	Left func(served bool, clients int)   // a client has gone; served: it had reached an export
}

// Server exports nodes to clients.
type Server struct {
	cfg   Config
	slots chan struct{} // one for each client, where there is a limit
	quit  chan struct{}
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup // clients and pollers

	mu        sync.Mutex
	closing   bool
	list      []*Export
	listeners []net.Listener
	greeting  map[net.Conn]struct{} // in negotiation
	serving   map[*blocking]struct{}
	clients   int
}

// New makes a server without exports and listeners.
func New(cfg Config) *Server {
	if cfg.HandshakeLimit == 0 {
		cfg.HandshakeLimit = 30 * time.Second
	}
	if cfg.StallLimit == 0 {
		cfg.StallLimit = 30 * time.Second
	}
	if cfg.Threads <= 0 {
		cfg.Threads = min(4, runtime.NumCPU())
	}
	s := &Server{cfg: cfg, quit: make(chan struct{}), greeting: map[net.Conn]struct{}{}, serving: map[*blocking]struct{}{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if cfg.Clients > 0 {
		s.slots = make(chan struct{}, cfg.Clients)
	}
	return s
}

// Add offers an export. The names of exports differ.
func (s *Server) Add(x *Export) error {
	if err := x.prepare(); err != nil {
		return err
	}
	x.file.Store(!s.cfg.NoRing && s.cfg.TLS == nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.list {
		if have.Name == x.Name {
			return engine.Errf(engine.ErrExist, "two exports named '%s'", x.Name)
		}
	}
	s.list = append(s.list, x)
	return nil
}

func (s *Server) exports() []*Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// find returns an export by its name.
func (s *Server) find(name string) *Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.list {
		if x.Name == name {
			return x
		}
	}
	if name == "" && s.cfg.Default && len(s.list) == 1 {
		return s.list[0]
	}
	return nil
}

func (s *Server) logf(format string, args ...any) {
	if s.cfg.Log != nil {
		s.cfg.Log(format, args...)
	}
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("NBD server closed")

// Serve accepts clients until the listener fails or the server is shut down. It may be called for several listeners at once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return errors.Join(ErrClosed, l.Close())
	}
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	for {
		if s.slots != nil {
			select {
			case s.slots <- struct{}{}:
			case <-s.quit:
				return ErrClosed
			}
		}
		c, err := l.Accept()
		if err != nil {
			if s.slots != nil {
				<-s.slots
			}
			select {
			case <-s.quit:
				return ErrClosed
			default:
			}
			if again(err) {
				time.Sleep(10 * time.Millisecond) // out of descriptors, say: clients that leave give some back
				continue
			}
			return err
		}
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			c.Close()
			return ErrClosed
		}
		s.clients++
		s.greeting[c] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go s.client(c)
	}
}

// again reports errors of accept(2) that pass.
func again(err error) bool {
	for _, e := range passing {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// client negotiates with one client and serves it, or hands it to a poller.
func (s *Server) client(c net.Conn) {
	served := false
	who := describe(c)
	_ = c.SetDeadline(time.Now().Add(s.cfg.HandshakeLimit))
	n := &negotiation{srv: s, conn: c}
	sess, err := n.run()
	s.mu.Lock()
	delete(s.greeting, c)
	closing := s.closing
	s.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, errAborted):
		s.logf("%s: negotiation: %v", who, err)
	case sess == nil || closing:
	default:
		served = true
		s.logf("%s: export '%s'", who, sess.exp.Name)
		_ = c.SetDeadline(time.Time{})
		if sess.exp.file.Load() && !n.tls {
			if done, err := s.toPoller(sess, c, who); done {
				return // the poller says goodbye
			} else if err != nil {
				s.logf("%s: served without io_uring: %v", who, err)
			}
		}
		if err := s.serveBlocking(sess, n.conn); err != nil {
			s.logf("%s: %v", who, err)
		}
	}
	n.conn.Close()
	s.left(who, served)
}

// left counts a client that has gone.
func (s *Server) left(who string, served bool) {
	s.mu.Lock()
	s.clients--
	n := s.clients
	s.mu.Unlock()
	s.logf("%s: gone", who)
	if s.slots != nil {
		<-s.slots
	}
	if s.cfg.Left != nil {
		s.cfg.Left(served, n)
	}
	s.wg.Done()
}

// Clients returns how many clients there are.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

func describe(c net.Conn) string {
	if a := c.RemoteAddr().String(); a != "" && a != "@" {
		return a
	}
	return "client at " + c.LocalAddr().String()
}

// Shutdown stops listening, finishes the requests that are in flight, says nothing more to clients, and flushes every export.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	if first {
		close(s.quit)
	}
	for _, l := range s.listeners {
		l.Close()
	}
	for c := range s.greeting {
		c.Close()
	}
	for b := range s.serving {
		b.drain(s.cfg.StallLimit)
	}
	list := slices.Clone(s.list)
	s.mu.Unlock()
	for _, x := range list {
		x.drain()
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		s.stop()
		err = fmt.Errorf("clients are still there: %w", ctx.Err())
	}
	for _, x := range list {
		if !x.ReadOnly {
			err = errors.Join(err, x.Root.Flush(context.WithoutCancel(ctx)))
		}
	}
	return err
}

// leavesAreFiles reports whether everything that a flattened graph submits to goes through the poller's ring.
func leavesAreFiles(stages []string) bool {
	leaf := false
	for _, st := range stages {
		kind, driver, _ := strings.Cut(st, ":")
		switch kind {
		case "leaf":
			if driver != "file" && driver != "host_device" {
				return false
			}
			leaf = true
		case "opaque":
			return false
		}
	}
	return leaf
}

package nbd

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// address turns the server's options into what package net dials.
func (o *Options) address() (network, addr string, err error) {
	s := &o.Server
	refuse := func(format string, args ...any) (string, string, error) {
		return "", "", engine.Errf(engine.ErrOption, format, args...)
	}
	switch s.Type {
	case "":
		return refuse("server: address missing, as in server.type=inet,server.host=HOST or nbd://HOST/EXPORT")
	case "unix":
		switch {
		case s.Path == "":
			return refuse("server.path: missing for a Unix socket")
		case s.Host != "" || s.Port != "":
			return refuse("server.host and server.port: not for a Unix socket")
		case s.Abstract:
			return "unix", "@" + s.Path, nil
		}
		return "unix", s.Path, nil
	case "inet", "tcp":
		switch {
		case s.Host == "":
			return refuse("server.host: missing")
		case s.Path != "" || s.Abstract:
			return refuse("server.path: not for TCP")
		}
		port := s.Port
		if port == "" {
			port = strconv.Itoa(wire.Port)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return refuse("server.port: %q is no port", port)
		}
		return "tcp", net.JoinHostPort(s.Host, port), nil
	default:
		return "", "", engine.Errf(engine.ErrUnsupported, "server.type=%s: want inet or unix", s.Type)
	}
}

// uri is what a user would write to open the export again.
func (o *Options) uri() string {
	scheme := "nbd"
	if o.wantsTLS() {
		scheme = "nbds"
	}
	name := "/" + strings.ReplaceAll(url.PathEscape(o.Export), "%2F", "/")
	if o.Server.Type == "unix" {
		// url.QueryEscape makes a plus of a space, which a URI's path-like parameter does not undo.
		return scheme + "+unix://" + name + "?socket=" + strings.ReplaceAll(url.PathEscape(o.Server.Path), "%2F", "/")
	}
	_, addr, _ := o.address()
	if host, port, err := net.SplitHostPort(addr); err == nil && port == strconv.Itoa(wire.Port) {
		if addr = host; strings.Contains(host, ":") {
			addr = "[" + host + "]"
		}
	}
	return scheme + "://" + addr + name
}

func (o *Options) wantsTLS() bool { return o.TLS || o.TLSCreds != "" }

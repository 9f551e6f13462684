package opts

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// uri is a name of the form scheme://[user@]host[:port]/path?query#fragment
// (RFC 3986 §3), every part percent-decoded.
type uri struct {
	scheme   string
	user     string
	hasUser  bool
	host     string // without the brackets of an IPv6 address
	port     string // decimal without leading zeros, "" where absent
	path     string
	query    []param
	fragment string
}

type param struct {
	name, value string
	pos         int
}

// parseURI cuts s, whose scheme has been recognised.
func parseURI(s string) (*uri, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return nil, uriErr(0, "", "want "+display(strings.SplitN(s, ":", 2)[0])+"://…")
	}
	u := &uri{scheme: scheme}
	base := len(scheme) + len("://")
	var err error
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		if u.fragment, err = unescape(rest[i+1:], base+i+1); err != nil {
			return nil, err
		}
		rest = rest[:i]
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		if err := u.parseQuery(rest[i+1:], base+i+1); err != nil {
			return nil, err
		}
		rest = rest[:i]
	}
	authority, spill := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, spill = rest[:i], rest[i:]
		if u.path, err = unescape(rest[i:], base+i); err != nil {
			return nil, err
		}
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		u.hasUser = true
		if u.user, err = unescape(authority[:i], base); err != nil {
			return nil, err
		}
		base += i + 1
		authority = authority[i+1:]
	}
	u.host, u.port, err = hostPort(authority, base)
	var e *Error
	if errors.As(err, &e) && strings.Contains(spill, "@") {
		e.Value = hidden // a password with a slash in it ends up where the port is
	}
	return u, err
}

func uriErr(pos int, value, msg string) error {
	return &Error{Pos: pos, Value: value, Msg: msg, Kind: ErrSyntax}
}

// hostPort cuts "host", "host:port", "[v6]" and "[v6]:port" and checks the
// numbers. An empty host is allowed here.
func hostPort(s string, pos int) (host, port string, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok = strings.Cut(rest, "]")
		if !ok || (rest != "" && rest[0] != ':') {
			return "", "", uriErr(pos, s, "want [IPv6 address] or [IPv6 address]:port")
		}
		if host, err = unescape(host, pos+1); err != nil {
			return "", "", err
		}
		if a, e := netip.ParseAddr(host); e != nil || !a.Is6() {
			return "", "", uriErr(pos, host, "want an IPv6 address in the brackets")
		}
		if rest == "" {
			return host, "", nil
		}
		port, err = parsePort(rest[1:], pos+len(s)-len(rest)+1)
		return host, port, err
	}
	if strings.Count(s, ":") > 1 {
		return "", "", uriErr(pos, s, "want an IPv6 address in [brackets]")
	}
	name, rest, hasPort := strings.Cut(s, ":")
	if host, err = unescape(name, pos); err != nil {
		return "", "", err
	}
	if i := strings.IndexAny(host, " \t\r\n/@[]"); i >= 0 {
		return "", "", uriErr(pos, host, "want a host name or address")
	}
	if hasPort {
		port, err = parsePort(rest, pos+len(name)+1)
	}
	return host, port, err
}

// parsePort checks a decimal port from 1 to 65535. An empty one means the
// default (RFC 3986 §3.2.3).
func parsePort(s string, pos int) (string, error) {
	if s == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return "", &Error{Pos: pos, Value: s, Want: "a port from 1 to 65535", Kind: ErrValue}
	}
	return strconv.FormatUint(n, 10), nil
}

// parseQuery cuts "name=value&…"; ';' separates as well. A plus is a plus.
func (u *uri) parseQuery(s string, pos int) error {
	for s != "" {
		n := strings.IndexAny(s, "&;")
		item := s
		if n >= 0 {
			item = s[:n]
		}
		if item != "" {
			name, value, _ := strings.Cut(item, "=")
			p := param{pos: pos}
			var err error
			if p.name, err = unescape(name, pos); err != nil {
				return err
			}
			if p.value, err = unescape(value, pos+len(name)+1); err != nil {
				return err
			}
			u.query = append(u.query, p)
		}
		if n < 0 {
			return nil
		}
		s = s[n+1:]
		pos += n + 1
	}
	return nil
}

// params returns the query parameters by name, where all are known, none is
// given twice and none is empty.
func (u *uri) params(known ...string) (map[string]string, error) {
	got := make(map[string]string, len(u.query))
	for _, p := range u.query {
		name := ""
		for _, k := range known {
			if sameKey(k, p.name) {
				name = k
			}
		}
		switch _, twice := got[name]; {
		case name == "" && len(known) == 0:
			return nil, &Error{Key: p.name, Pos: p.pos, Msg: "unknown query parameter: " + u.scheme + " takes none", Kind: ErrUnknown}
		case name == "":
			return nil, &Error{Key: p.name, Pos: p.pos, Msg: "unknown query parameter of " + u.scheme + suggest(p.name, known), Kind: ErrUnknown}
		case twice:
			return nil, &Error{Key: p.name, Pos: p.pos, Msg: "query parameter given twice", Kind: ErrConflict}
		case p.value == "":
			return nil, &Error{Key: p.name, Pos: p.pos, Msg: "query parameter without a value", Kind: ErrValue}
		}
		got[name] = p.value
	}
	return got, nil
}

// unescape decodes %XX. pos is the offset of s in the source.
func unescape(s string, pos int) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", uriErr(pos+i, "", "want two hexadecimal digits after %")
		}
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		switch {
		case !ok1 || !ok2:
			return "", uriErr(pos+i, "", "want two hexadecimal digits after %")
		case hi == 0 && lo == 0:
			return "", uriErr(pos+i, "", "zero byte in a name")
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), nil
}

package opts

import (
	"strconv"
	"strings"
)

// normalizers rewrite the spellings of older manuals, by driver.
var normalizers = map[string]func(*Tree) error{
	"nbd":      normalizeNBD,
	"ssh":      normalizeSSH,
	"gluster":  normalizeGluster,
	"sheepdog": normalizeServer,
}

// Normalize rewrites, in every node below t that names its driver, keys of older
// manuals into today's, so that drivers bind one form:
//
//	nbd       host= port= path=         server.type= server.host= server.port= server.path=
//	ssh       host= port=               server.host= server.port=
//	          host_key_check=T:HEX      host-key-check.mode= .type= .hash=
//	gluster   type=tcp socket=          type=inet path= (in each element of server)
//
// Both spellings at once are a conflict. It is idempotent; [ParseName],
// [ParseTarget] and [ParseImageOpts] have called it.
func (t *Tree) Normalize() error {
	if f := normalizers[t.Driver()]; f != nil {
		if err := f(t); err != nil {
			return err
		}
	}
	for i := range t.entries {
		if err := t.entries[i].val.normalize(); err != nil {
			return err
		}
	}
	return nil
}

func (v Value) normalize() error {
	if v.tree != nil {
		return v.tree.Normalize()
	}
	for i := range v.list {
		if err := v.list[i].normalize(); err != nil {
			return err
		}
	}
	return nil
}

// move renames a key of t to a path where nothing may be yet.
func (t *Tree) move(from, to string) error {
	v, ok := t.Get(from)
	if !ok {
		return nil
	}
	if t.Has(to) {
		return &Error{Key: join(t.at, from), Pos: v.pos, Msg: "is another spelling of " + join(t.at, to) + ", which is given too", Kind: ErrConflict}
	}
	if err := t.Set(to, v); err != nil {
		return err
	}
	t.Delete(from)
	return nil
}

// setDefault sets a path that has no value yet.
func (t *Tree) setDefault(path, value string) error {
	if t.Has(path) {
		return nil
	}
	return t.Set(path, value)
}

func normalizeNBD(t *Tree) error {
	kind := ""
	switch path, inet := t.Has("path"), t.Has("host") || t.Has("port"); {
	case path && inet:
		return &Error{Key: join(t.at, "path"), Pos: -1, Msg: "excludes host and port", Kind: ErrConflict}
	case (path || inet) && t.Has("server"):
		return &Error{Key: join(t.at, "server"), Pos: -1, Msg: "excludes host, port and path", Kind: ErrConflict}
	case path:
		kind = "unix"
	case inet:
		kind = "inet"
	}
	if kind == "" {
		return normalizeServer(t)
	}
	if err := t.Set("server.type", kind); err != nil {
		return err
	}
	for _, key := range [...]string{"host", "port", "path"} {
		if err := t.move(key, "server."+key); err != nil {
			return err
		}
	}
	if kind == "inet" {
		return t.setDefault("server.port", nbdPort)
	}
	return nil
}

func normalizeSSH(t *Tree) error {
	if t.Has("host") || t.Has("port") {
		for _, key := range [...]string{"host", "port"} {
			if err := t.move(key, "server."+key); err != nil {
				return err
			}
		}
		if err := t.setDefault("server.port", sshPort); err != nil {
			return err
		}
	}
	v, ok := t.Get("host-key-check")
	if !ok || !v.scalar() {
		return nil
	}
	t.Delete("host-key-check")
	return setHostKeyCheck(t, v.text, v.pos)
}

// setHostKeyCheck sets what host_key_check=check means.
func setHostKeyCheck(t *Tree, check string, pos int) error {
	set := func(key, value string) error { return t.Set("host-key-check."+key, value) }
	switch kind, hash, _ := strings.Cut(check, ":"); kind {
	case "yes", "no":
		if hash != "" {
			break
		}
		return set("mode", map[string]string{"yes": "known_hosts", "no": "none"}[kind])
	case "md5", "sha1", "sha256":
		if hash == "" {
			break
		}
		for _, kv := range [...][2]string{{"mode", "hash"}, {"type", kind}, {"hash", hash}} {
			if err := set(kv[0], kv[1]); err != nil {
				return err
			}
		}
		return nil
	}
	return &Error{Key: join(t.at, "host_key_check"), Value: check, Pos: pos, Want: "yes, no, md5:HEX, sha1:HEX or sha256:HEX", Kind: ErrValue}
}

func normalizeGluster(t *Tree) error {
	servers, _ := t.List("server")
	for i := range servers {
		at := "server." + strconv.Itoa(i)
		if s, ok := t.Sub(at); ok {
			if err := s.normalizeAddress(); err != nil {
				return err
			}
		}
	}
	return nil
}

func normalizeServer(t *Tree) error {
	if s, ok := t.Sub("server"); ok {
		return s.normalizeAddress()
	}
	return nil
}

// normalizeAddress makes a socket address of older manuals one of today's:
// type tcp is inet, the socket of a unix address its path.
func (t *Tree) normalizeAddress() error {
	switch kind, _ := t.String("type"); kind {
	case "tcp":
		v, _ := t.Get("type")
		v.text = "inet"
		return t.Set("type", v)
	case "unix":
		return t.move("socket", "path")
	}
	return nil
}

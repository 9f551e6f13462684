package opts

import (
	"net"
	"strconv"
	"strings"
)

// Default ports, by the registrations of IANA and the tools' own manuals.
const (
	nbdPort      = "10809"
	sshPort      = "22"
	iscsiPort    = "3260"
	glusterPort  = "24007"
	sheepdogPort = "7000"
)

// uriRules say which parts a scheme's URIs have.
type uriRules struct {
	noHost      bool // the authority must be empty
	needHost    bool
	user        bool
	fragment    bool
	params      []string
	needParam   string
	defaultHost string
	defaultPort string
}

// parseByRules parses s, applies defaults and refuses parts that the scheme
// does not have.
func parseByRules(s string, r uriRules) (*uri, map[string]string, error) {
	u, err := parseURI(s)
	if err != nil {
		return nil, nil, err
	}
	q, err := u.params(r.params...)
	if err != nil {
		return nil, nil, err
	}
	refuse := func(msg string) error {
		return &Error{Value: u.scheme + "://", Pos: len(u.scheme) + 3, Msg: msg, Kind: ErrSyntax}
	}
	switch {
	case u.hasUser && !r.user:
		return nil, nil, refuse("takes no user")
	case u.fragment != "" && !r.fragment:
		return nil, nil, refuse("takes no #fragment; a # in a name is written %23")
	case r.noHost && (u.host != "" || u.port != ""):
		return nil, nil, refuse("takes no host: a unix socket is reached by ?socket=PATH")
	case r.needHost && u.host == "":
		return nil, nil, refuse("host is missing")
	case r.needParam != "" && q[r.needParam] == "":
		return nil, nil, refuse("query parameter " + r.needParam + "= is missing")
	}
	if u.host == "" {
		u.host = r.defaultHost
	}
	if u.port == "" {
		u.port = r.defaultPort
	}
	return u, q, nil
}

func missing(what, form string) error {
	return &Error{Pos: -1, Msg: what + " is missing", Want: form, Kind: ErrSyntax}
}

// stripped parses PROTO:PATH. What follows is a path even where it looks like a
// further protocol.
func stripped(driver string) func(string) (*Tree, error) {
	return func(s string) (*Tree, error) {
		path := s[len(driver)+1:]
		if path == "" {
			return nil, missing("path", driver+":PATH")
		}
		if i := strings.IndexAny(path, ":/"); i >= 0 && path[i] == ':' {
			path = "./" + path
		}
		return pathTree(driver, path)
	}
}

func nvmeName(s string) (*Tree, error) {
	const form = "nvme://DDDD:BB:DD.F/NAMESPACE"
	rest, ok := strings.CutPrefix(s, "nvme://")
	device, ns, hasNS := strings.Cut(rest, "/")
	if !ok || device == "" {
		return nil, missing("PCI address", form)
	}
	if i := strings.IndexAny(rest, "?#@"); i >= 0 {
		return nil, &Error{Pos: len("nvme://") + i, Value: rest[i:], Want: form, Kind: ErrSyntax}
	}
	b := driverTree("nvme")
	b.set("device", device)
	if hasNS {
		n, err := namespace(ns, len("nvme://")+len(device)+1)
		if err != nil {
			return nil, err
		}
		b.set("namespace", n)
	}
	return b.done()
}

// namespace checks a namespace identifier; an empty one is the first.
// NVMe Base 2.0d §3.2.1.
func namespace(s string, pos int) (string, error) {
	if s == "" {
		return "1", nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n > 0xfffffffe {
		return "", &Error{Key: "namespace", Value: s, Pos: pos, Want: "a number from 1 to 4294967294", Kind: ErrValue}
	}
	return strconv.FormatUint(n, 10), nil
}

// nvmeVFIOUserName takes the path of a socket, after which a number is a
// namespace.
func nvmeVFIOUserName(s string) (*Tree, error) {
	u, _, err := parseByRules(s, uriRules{noHost: true})
	if err != nil {
		return nil, err
	}
	socket, ns := u.path, ""
	if i := strings.LastIndexByte(u.path, '/'); i > 0 && (i+1 == len(u.path) || isIndex(u.path[i+1:])) {
		socket, ns = u.path[:i], u.path[i+1:]
	}
	if strings.Trim(socket, "/") == "" {
		return nil, missing("socket", "nvme+vfio-user:///PATH/TO/SOCKET/NAMESPACE")
	}
	if ns, err = namespace(ns, len(s)-len(ns)); err != nil {
		return nil, err
	}
	b := driverTree("nvme")
	b.set("socket", socket)
	b.set("namespace", ns)
	return b.done()
}

// tlsParams are the query parameters of the nbds schemes.
// NBD uri.md, "NBD over TLS", and libnbd's extensions.
var tlsParams = []string{"tls-certificates", "tls-psk-file", "tls-hostname", "tls-verify-peer"}

func nbdName(s string) (*Tree, error) {
	scheme, _, isURI := strings.Cut(s, "://")
	if !isURI || strings.Contains(scheme, ":") {
		return nbdColonName(s)
	}
	unix, tls := strings.HasSuffix(scheme, "+unix"), strings.HasPrefix(scheme, "nbds")
	r := uriRules{needHost: !unix, noHost: unix, user: tls, defaultPort: nbdPort}
	if unix {
		r.params, r.needParam = []string{"socket"}, "socket"
	}
	if tls {
		r.params = append(r.params, tlsParams...)
	}
	u, q, err := parseByRules(s, r)
	if err != nil {
		return nil, err
	}
	b := driverTree("nbd")
	b.setIf("export", strings.TrimLeft(u.path, "/"))
	if unix {
		b.unixServer("server", q["socket"])
	} else {
		b.inetServer("server", "inet", u.host, u.port)
	}
	if tls {
		b.set("tls", "on")
		b.setIf("tls-username", u.user)
		for _, p := range tlsParams {
			b.setIf(p, q[p])
		}
	}
	return b.done()
}

func (b *treeBuilder) inetServer(at, kind, host, port string) {
	b.set(at+".type", kind)
	b.set(at+".host", host)
	b.set(at+".port", port)
}

func (b *treeBuilder) unixServer(at, path string) {
	b.set(at+".type", "unix")
	b.set(at+".path", path)
}

// nbdColonName parses the older nbd:HOST:PORT[:exportname=E] and
// nbd:unix:PATH[:exportname=E].
func nbdColonName(s string) (*Tree, error) {
	const form = "nbd:HOST:PORT or nbd:unix:PATH, then :exportname=EXPORT"
	rest, ok := strings.CutPrefix(s, "nbd:")
	if !ok {
		return nil, missing("//", strings.SplitN(s, ":", 2)[0]+"://…")
	}
	rest, export, hasExport := strings.Cut(rest, ":exportname=")
	if rest == "" || (hasExport && export == "") {
		return nil, missing("address or export", form)
	}
	b := driverTree("nbd")
	b.setIf("export", export)
	if path, ok := strings.CutPrefix(rest, "unix:"); ok {
		if path == "" {
			return nil, missing("socket", form)
		}
		b.unixServer("server", path)
		return b.done()
	}
	host, port, err := hostPort(rest, len("nbd:"))
	if err != nil {
		return nil, err
	}
	if host == "" || port == "" {
		return nil, missing("host or port", form)
	}
	b.inetServer("server", "inet", host, port)
	return b.done()
}

// iscsiName cuts USER%PASSWORD by itself: the percent sign is no escape there.
func iscsiName(s string) (*Tree, error) {
	const form = "iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET-IQN/LUN"
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return nil, missing("//", form)
	}
	b := driverTree("iscsi")
	b.set("transport", map[string]string{"iscsi": "tcp", "iser": "iser"}[scheme])
	login, address, hasLogin := strings.Cut(rest, "@")
	if !hasLogin {
		login, address = "", rest
	}
	u, _, err := parseByRules(scheme+"://"+address, uriRules{needHost: true, defaultPort: iscsiPort})
	if err != nil {
		return nil, in(err, "", len(rest)-len(address))
	}
	i := strings.LastIndexByte(u.path, '/')
	if i <= 1 {
		return nil, missing("target or LUN", form)
	}
	target, lun := u.path[1:i], u.path[i+1:]
	switch n, err := strconv.ParseUint(lun, 10, 16); {
	case err != nil || n > 16383:
		return nil, &Error{Key: "lun", Value: lun, Pos: len(s) - len(lun), Want: "a number from 0 to 16383", Kind: ErrValue}
	default:
		lun = strconv.FormatUint(n, 10)
	}
	b.set("portal", net.JoinHostPort(u.host, u.port))
	b.set("target", target)
	b.set("lun", lun)
	if !hasLogin {
		return b.done()
	}
	sep := "%"
	if !strings.Contains(login, sep) {
		sep = ":"
	}
	user, password, hasPassword := strings.Cut(login, sep)
	if user == "" {
		return nil, missing("user", form)
	}
	b.set("user", user)
	if hasPassword {
		b.set("password", password)
	}
	return b.done()
}

func sshName(s string) (*Tree, error) {
	u, q, err := parseByRules(s, uriRules{needHost: true, user: true, defaultPort: sshPort, params: []string{"host_key_check"}})
	if err != nil {
		return nil, err
	}
	if strings.Trim(u.path, "/") == "" {
		return nil, missing("remote path", "ssh://[USER@]HOST[:PORT]/PATH")
	}
	if i := strings.IndexByte(u.user, ':'); i >= 0 {
		return nil, &Error{Value: u.user[:i+1] + hidden, Pos: len("ssh://"), Msg: "a password has no place in an ssh URI", Want: "USER@, with a key or an agent", Kind: ErrSyntax}
	}
	b := driverTree("ssh")
	b.setIf("user", u.user)
	b.set("server.host", u.host)
	b.set("server.port", u.port)
	b.set("path", u.path)
	if check := q["host_key_check"]; check != "" {
		if err := setHostKeyCheck(b.t, check, -1); err != nil {
			return nil, err
		}
	}
	return b.done()
}

func glusterName(s string) (*Tree, error) {
	scheme, _, _ := strings.Cut(s, ":")
	_, transport, _ := strings.Cut(scheme, "+")
	unix := transport == "unix"
	r := uriRules{noHost: unix, defaultHost: "localhost", defaultPort: glusterPort}
	if unix {
		r.params, r.needParam = []string{"socket"}, "socket"
	}
	u, q, err := parseByRules(s, r)
	if err != nil {
		return nil, err
	}
	volume, path, _ := strings.Cut(strings.TrimLeft(u.path, "/"), "/")
	if path = strings.TrimLeft(path, "/"); volume == "" || path == "" {
		return nil, missing("volume or path", scheme+"://HOST/VOLUME/PATH")
	}
	b := driverTree("gluster")
	b.set("volume", volume)
	b.set("path", path)
	switch transport {
	case "unix":
		b.unixServer("server.0", q["socket"])
	case "rdma": // kept, so that the driver can say that it uses TCP instead
		b.inetServer("server.0", "rdma", u.host, u.port)
	default:
		b.inetServer("server.0", "inet", u.host, u.port)
	}
	return b.done()
}

func sheepdogName(s string) (*Tree, error) {
	if rest, ok := strings.CutPrefix(s, "sheepdog:"); ok && !strings.HasPrefix(rest, "//") {
		return sheepdogColonName(rest)
	}
	scheme, _, _ := strings.Cut(s, ":")
	unix := strings.HasSuffix(scheme, "+unix")
	r := uriRules{noHost: unix, fragment: true, defaultHost: "localhost", defaultPort: sheepdogPort}
	if unix {
		r.params, r.needParam = []string{"socket"}, "socket"
	}
	u, q, err := parseByRules(s, r)
	if err != nil {
		return nil, err
	}
	b := driverTree("sheepdog")
	if unix {
		b.unixServer("server", q["socket"])
	} else {
		b.inetServer("server", "inet", u.host, u.port)
	}
	return b.sheepdogImage(strings.TrimPrefix(u.path, "/"), u.fragment)
}

// sheepdogColonName parses the oldest form, [HOST:PORT:]IMAGE[:TAG].
func sheepdogColonName(s string) (*Tree, error) {
	host, port := "localhost", sheepdogPort
	if strings.Count(s, ":") >= 2 {
		host, s, _ = strings.Cut(s, ":")
		port, s, _ = strings.Cut(s, ":")
	}
	host, port, err := hostPort(host+":"+port, len("sheepdog:"))
	if err != nil {
		return nil, err
	}
	if host == "" || port == "" {
		return nil, missing("host or port", "sheepdog:HOST:PORT:IMAGE")
	}
	b := driverTree("sheepdog")
	b.inetServer("server", "inet", host, port)
	image, tag, _ := strings.Cut(s, ":")
	return b.sheepdogImage(image, tag)
}

// sheepdogImage sets the image and its snapshot, whose number or name tag is.
func (b *treeBuilder) sheepdogImage(image, tag string) (*Tree, error) {
	if image == "" {
		return nil, missing("image", "sheepdog://HOST:PORT/IMAGE")
	}
	b.set("vdi", image)
	if n, err := strconv.ParseUint(tag, 10, 32); err == nil && n > 0 {
		b.set("snap-id", strconv.FormatUint(n, 10))
	} else {
		b.setIf("tag", tag)
	}
	return b.done()
}

// curlName keeps the URL as it is: what is in it is between the server and
// the driver.
func curlName(s string) (*Tree, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	if !ok || authority[strings.LastIndexByte(authority, '@')+1:] == "" {
		return nil, missing("host", strings.SplitN(scheme, ":", 2)[0]+"://HOST/PATH")
	}
	b := driverTree(scheme)
	b.set("url", s)
	return b.done()
}

// fatName takes its options in any order; the first part that is none of them
// begins the directory.
func fatName(s string) (*Tree, error) {
	const form = "fat:[floppy:][rw:][12:|16:|32:]DIR"
	options := map[string]struct{ key, value string }{
		"floppy": {"floppy", "on"}, "rw": {"rw", "on"},
		"12": {"fat-type", "12"}, "16": {"fat-type", "16"}, "32": {"fat-type", "32"},
	}
	b := driverTree("vvfat")
	dir := strings.TrimPrefix(s, "fat:")
	for {
		word, rest, more := strings.Cut(dir, ":")
		if !more || strings.Contains(word, "/") {
			break
		}
		o, ok := options[word]
		pos := len(s) - len(dir)
		switch {
		case !ok:
			return nil, &Error{
				Value: word, Pos: pos, Kind: ErrUnknown, Want: form,
				Msg: "unknown fat option" + suggest(word, []string{"floppy", "rw", "12", "16", "32"}) + "; a directory with a colon is written ./" + display(dir),
			}
		case b.t.Has(o.key):
			return nil, &Error{Value: word, Pos: pos, Msg: o.key + " given twice", Kind: ErrConflict}
		}
		b.set(o.key, o.value)
		dir = rest
	}
	if dir == "" {
		return nil, missing("directory", form)
	}
	b.set("dir", dir)
	return b.done()
}

func nullName(s string) (*Tree, error) {
	driver, rest, _ := strings.Cut(s, ":")
	if rest != "//" {
		return nil, &Error{Value: s, Pos: len(driver) + 1, Want: driver + ":// alone; options are written driver=" + driver + ",size=1G", Kind: ErrSyntax}
	}
	return driverTree(driver).done()
}

// maxWrappers is how many names may be inside one another.
const maxWrappers = 16

// wrapperName parses blkdebug:[CONFIG]:NAME and blkverify:RAW:NAME. NAME is a name of its own, down to a depth.
func wrapperName(scheme, s string) (*Tree, error) {
	first, name, ok := strings.Cut(s[len(scheme)+1:], ":")
	if strings.Count(s, "blkdebug:")+strings.Count(s, "blkverify:") > maxWrappers {
		return nil, tooDeep("", 0)
	}
	b := driverTree(scheme)
	child := "image"
	switch {
	case scheme == "blkdebug" && (!ok || name == ""):
		return nil, &Error{Value: s, Pos: 0, Msg: "blkdebug requires both config file and image path", Kind: ErrSyntax}
	case scheme == "blkdebug":
		b.setIf("config", first)
	case !ok || first == "" || name == "":
		return nil, &Error{Value: s, Pos: 0, Msg: "blkverify requires raw copy and original image path", Kind: ErrSyntax}
	default:
		child = "test"
		b.set("raw.filename", first)
	}
	inner, err := ParseName(name)
	if err != nil {
		return nil, in(err, "", len(s)-len(name))
	}
	if b.err == nil {
		b.err = b.t.Set(child, inner)
	}
	return b.done()
}

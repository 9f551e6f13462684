package opts

import (
	"slices"
	"strings"
)

// Protocol is one prefix that a name may have, for help and completion.
type Protocol struct {
	Scheme string // without the colon
	Driver string // the driver it decides
	Form   string // the name's shape, placeholders in capitals
	parse  func(s string) (*Tree, error)
}

// protocols in the order of the help text; a form may fill several rows.
var protocols = []Protocol{
	{"file", "file", "file:PATH", stripped("file")},
	{"host_device", "host_device", "host_device:PATH", stripped("host_device")},
	{"host_cdrom", "host_cdrom", "host_cdrom:PATH", stripped("host_cdrom")},
	{"nvme", "nvme", "nvme://DDDD:BB:DD.F[/NAMESPACE]", nvmeName},
	{"nvme+vfio-user", "nvme", "nvme+vfio-user:///SOCKET[/NAMESPACE]", nvmeVFIOUserName},
	{"nbd", "nbd", "nbd://HOST[:PORT]/[EXPORT]", nbdName},
	{"nbd+tcp", "nbd", "nbd+tcp://HOST[:PORT]/[EXPORT]", nbdName},
	{"nbd+unix", "nbd", "nbd+unix:///[EXPORT]?socket=PATH", nbdName},
	{"nbds", "nbd", "nbds://[USER@]HOST[:PORT]/[EXPORT][?tls-certificates=DIR]", nbdName},
	{"nbds+unix", "nbd", "nbds+unix:///[EXPORT]?socket=PATH", nbdName},
	{"iscsi", "iscsi", "iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET-IQN/LUN", iscsiName},
	{"iser", "iscsi", "iser://[USER[%PASSWORD]@]HOST[:PORT]/TARGET-IQN/LUN", iscsiName},
	{"ssh", "ssh", "ssh://[USER@]HOST[:PORT]/PATH[?host_key_check=yes|no|TYPE:HEX]", sshName},
	{"gluster", "gluster", "gluster://[HOST[:PORT]]/VOLUME/PATH", glusterName},
	{"gluster+tcp", "gluster", "gluster+tcp://[HOST[:PORT]]/VOLUME/PATH", glusterName},
	{"gluster+unix", "gluster", "gluster+unix:///VOLUME/PATH?socket=PATH", glusterName},
	{"gluster+rdma", "gluster", "gluster+rdma://[HOST[:PORT]]/VOLUME/PATH", glusterName},
	{"sheepdog", "sheepdog", "sheepdog://[HOST[:PORT]]/IMAGE[#TAG]", sheepdogName},
	{"sheepdog+tcp", "sheepdog", "sheepdog+tcp://[HOST[:PORT]]/IMAGE[#TAG]", sheepdogName},
	{"sheepdog+unix", "sheepdog", "sheepdog+unix:///IMAGE?socket=PATH[#TAG]", sheepdogName},
	{"http", "http", "http://HOST/PATH", curlName},
	{"https", "https", "https://HOST/PATH", curlName},
	{"ftp", "ftp", "ftp://HOST/PATH", curlName},
	{"ftps", "ftps", "ftps://HOST/PATH", curlName},
	{"fat", "vvfat", "fat:[floppy:][rw:][12:|16:|32:]DIR", fatName},
	{"null-co", "null-co", "null-co://", nullName},
	{"null-aio", "null-aio", "null-aio://", nullName},
	{"blkdebug", "blkdebug", "blkdebug:[CONFIG]:NAME", nil},
	{"blkverify", "blkverify", "blkverify:RAW:NAME", nil},
}

// Protocols returns the prefixes that [ParseName] knows.
func Protocols() []Protocol { return slices.Clone(protocols) }

// ParseName parses what stands for a target:
//
//	disk.qcow2  /dev/sdb  ./odd:name     {"filename": …}, no driver: the caller probes
//	file:PATH  nbd://…  fat:rw:DIR  …    the tree of that protocol, see [Protocols]
//	json:{…}                             that object
//
// A protocol prefix is letters, digits, '+', '-', '.' and '_' up to a colon
// before any slash; an unknown one is an error, and ./ in front of a path that
// has a colon keeps it a path.
func ParseName(s string) (*Tree, error) {
	if s == "" {
		return nil, &Error{Pos: 0, Msg: "empty name", Want: "a path, a URI or json:{…}", Kind: ErrSyntax}
	}
	if err := checkText(s); err != nil {
		return nil, err
	}
	if rest, ok := strings.CutPrefix(s, "json:"); ok {
		t, err := ParseJSON([]byte(rest))
		if err != nil {
			return nil, in(err, "", len("json:"))
		}
		return t, t.Normalize()
	}
	if err := windowsName(s); err != nil {
		return nil, err
	}
	scheme, ok := protocolPrefix(s)
	if !ok {
		return pathTree("", s)
	}
	i := slices.IndexFunc(protocols, func(p Protocol) bool { return p.Scheme == scheme })
	if i < 0 {
		known := make([]string, len(protocols))
		for i := range protocols {
			known[i] = protocols[i].Scheme
		}
		e := &Error{Value: scheme, Pos: 0, Msg: "unknown protocol (known: " + strings.Join(known, ", ") + ")", Kind: ErrUnknown}
		if n := Nearest(scheme, known); n != "" {
			e.Msg = strings.Replace(e.Msg, "(", "(nearest: "+n+"; ", 1)
		}
		if !strings.Contains(s, "://") {
			e.Msg += "; a path with a colon is written ./" + display(s)
		}
		return nil, e
	}
	var t *Tree
	var err error
	if protocols[i].parse != nil {
		t, err = protocols[i].parse(s)
	} else {
		t, err = wrapperName(scheme, s) // whose name has another inside: it comes back here
	}
	if err != nil {
		return nil, err
	}
	t.scheme = true
	return t, nil
}

// ParseTarget parses what a command line takes for a target: a name, or an
// image option string where the text begins with one of the keys driver=,
// file=, file.driver= and file.filename= (./driver=x is a path).
func ParseTarget(s string) (*Tree, error) {
	for _, key := range [...]string{"driver=", "file=", "file.driver=", "file.filename="} {
		if strings.HasPrefix(s, key) {
			return ParseImageOpts(s)
		}
	}
	return ParseName(s)
}

// ParseImageOpts parses "driver=qcow2,file.driver=nbd,file.server.host=h". The
// keys file, backing and data-file take a name too, alone or with further keys:
// "file=PATH,snapshot=on", "file=gluster://h/v/p,file.debug=9". A word that could
// be a node-name as well ("driver=qcow2,file=disk0") stays a string for the
// engine to look up.
func ParseImageOpts(s string) (*Tree, error) {
	t, err := parseKeyval(s, "", true)
	if err != nil {
		return nil, err
	}
	return t, t.Normalize()
}

// HasProtocol reports whether [ParseName] takes name for more than a path: it
// begins with a protocol, known or not, or with json:.
func HasProtocol(name string) bool {
	_, ok := protocolPrefix(name)
	return ok
}

// protocolPrefix returns the text before a colon that comes before any slash,
// where all of it could be a protocol.
func protocolPrefix(s string) (string, bool) {
	for i := range len(s) {
		c := s[i]
		switch {
		case c == ':':
			return s[:i], i > 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == '_':
		default:
			return "", false
		}
	}
	return "", false
}

// windowsName recognises the spellings that only Windows has and says what
// they are here.
func windowsName(s string) error {
	unsupported := func(msg string) error {
		return &Error{Value: s, Pos: 0, Msg: msg, Kind: ErrUnsupported}
	}
	const devices = `\\.\`
	rest, device := strings.CutPrefix(s, devices)
	switch {
	case device && strings.HasPrefix(strings.ToLower(rest), "physicaldrive"):
		return unsupported("a Windows disk: on Linux a block device such as /dev/sda or /dev/nvme0n1, see lsblk")
	case device && isDrive(rest):
		return unsupported("a Windows drive: on Linux a partition such as /dev/sda1, see lsblk")
	case device:
		return unsupported("a Windows device: on Linux a file in /dev")
	case strings.HasPrefix(s, `\\`):
		return unsupported("a Windows share: on Linux the path below its mount point")
	case isDrive(s):
		return unsupported("a Windows drive: on Linux a partition such as /dev/sda1, or a CD as /dev/cdrom; a path with a colon is written ./" + display(s))
	case len(s) > 2 && isDrive(s[:2]) && (s[2] == '\\' || s[2] == '/'):
		return unsupported("a Windows path: on Linux the path below the mount point of that drive; a path with a colon is written ./" + display(s))
	}
	return nil
}

func isDrive(s string) bool {
	return len(s) == 2 && s[1] == ':' && (s[0]|0x20) >= 'a' && (s[0]|0x20) <= 'z'
}

// pathTree is {"driver": driver, "filename": path}, without an empty driver.
func pathTree(driver, path string) (*Tree, error) {
	b := &treeBuilder{t: NewTree()}
	b.setIf("driver", driver)
	b.set("filename", path)
	return b.done()
}

// treeBuilder sets keys one after another and keeps the first error.
type treeBuilder struct {
	t   *Tree
	err error
}

func driverTree(driver string) *treeBuilder {
	b := &treeBuilder{t: NewTree()}
	b.set("driver", driver)
	return b
}

func (b *treeBuilder) set(path, value string) {
	if b.err == nil {
		b.err = b.t.Set(path, value)
	}
}

// setIf sets a value that is not empty.
func (b *treeBuilder) setIf(path, value string) {
	if value != "" {
		b.set(path, value)
	}
}

func (b *treeBuilder) done() (*Tree, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.t, nil
}

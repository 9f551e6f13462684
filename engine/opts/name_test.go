package opts

import (
	"errors"
	"strings"
	"testing"
)

func TestNameErrors(t *testing.T) {
	for s, want := range map[string]string{
		"":                                  "empty name: want a path, a URI or json:{…}",
		"a\x00b":                            "at byte 1: zero byte",
		"file:":                             "path is missing: want file:PATH",
		"host_device:":                      "path is missing: want host_device:PATH",
		"ssh:host/path":                     "want ssh://…",
		"ssh://":                            "host is missing",
		"ssh://h":                           "remote path is missing",
		"ssh://h/p#x":                       "takes no #fragment; a # in a name is written %23",
		"ssh://h/p%0":                       "at byte 9: want two hexadecimal digits after %",
		"ssh://h/p%zz":                      "at byte 9: want two hexadecimal digits after %",
		"ssh://h/p%00":                      "at byte 9: zero byte in a name",
		"ssh://h/p?host_key_check=":         "host_key_check: query parameter without a value",
		"ssh://h/p?a=%2":                    "at byte 12: want two hexadecimal digits after %",
		"ssh://h/p?%2=a":                    "at byte 10: want two hexadecimal digits after %",
		"ssh://h/p?host_key_check=no&a=1":   "a: unknown query parameter of ssh",
		"ssh://h/p?host_key_check=no:x":     "host_key_check: value no:x: want yes, no, md5:HEX",
		"ssh://h/p?host_key_check=md5:":     `host_key_check: value "md5:": want yes, no, md5:HEX`,
		"ssh://h h/p":                       `value "h h": want a host name or address`,
		"ssh://[h]/p":                       "value h: want an IPv6 address in the brackets",
		"ssh://[::1/p":                      "value [::1: want [IPv6 address] or [IPv6 address]:port",
		"ssh://[::1]x/p":                    "value [::1]x: want [IPv6 address] or [IPv6 address]:port",
		"ssh://[::1]:x/p":                   "value x: want a port from 1 to 65535",
		"ssh://::1/p":                       "value ::1: want an IPv6 address in [brackets]",
		"ssh://h:0/p":                       "value 0: want a port from 1 to 65535",
		"ssh://h:-1/p":                      "value -1: want a port from 1 to 65535",
		"ssh://h%/p":                        "at byte 7: want two hexadecimal digits",
		"ssh://u%@h/p":                      "at byte 7: want two hexadecimal digits",
		"ssh://[::1%2]/p":                   "want two hexadecimal digits",
		"nbd://u@h/e":                       "takes no user",
		"nbd+unix://h/e?socket=/s":          "takes no host: a unix socket is reached by ?socket=PATH",
		"nbd+unix:///e?socket=/s;socket=/t": "socket: query parameter given twice",
		"nbd+tcp:h:1":                       "// is missing: want nbd+tcp://…",
		"nbds://h/e?tls-cert=/x":            "tls-cert: unknown query parameter of nbds (nearest: tls-certificates)",
		"nbd:":                              "address or export is missing",
		"nbd:h:1:exportname=":               "address or export is missing",
		"nbd:unix:":                         "socket is missing",
		"nbd:h:x":                           "at byte 6: value x: want a port from 1 to 65535",
		"nvme:0000:06:0d.0/1":               "PCI address is missing",
		"nvme:///1":                         "PCI address is missing",
		"nvme://0000:06:0d.0/1?x=1":         "value ?x=1: want nvme://",
		"nvme+vfio-user://h/s/1":            "takes no host",
		"nvme+vfio-user:///":                "socket is missing",
		"nvme+vfio-user:///s/4294967295":    "namespace: value 4294967295: want a number from 1 to 4294967294",
		"iscsi:h/t/1":                       "// is missing",
		"iscsi://h//1":                      "target or LUN is missing",
		"iscsi://%pw@h/t/1":                 "user is missing",
		"iscsi://h/t/99999":                 "lun: value 99999: want a number from 0 to 16383",
		"iscsi://h:x/t/1":                   "at byte 10: value x: want a port",
		"iscsi://u%p@h:x/t/1":               "at byte 14: value x: want a port",
		"gluster://h//":                     "volume or path is missing",
		"gluster+unix:///v/p":               "query parameter socket= is missing",
		"sheepdog://h/":                     "image is missing",
		"sheepdog:h:x:i":                    "value x: want a port",
		"sheepdog::1:i":                     "host or port is missing",
		"http:h":                            "host is missing: want http://HOST/PATH",
		"https://u@/x":                      "host is missing",
		"fat:rw:rw:/d":                      "value rw: rw given twice",
		"fat:12:16:/d":                      "value 16: fat-type given twice",
		"fat:rw:":                           "directory is missing",
		"null-co:":                          "want null-co:// alone",
		`\\.\CDROM0`:                        "a Windows device: on Linux a file in /dev",
		"c:/x":                              "a Windows path",
		"x-y:z":                             "unknown protocol",
	} {
		tree, err := ParseName(s)
		if err == nil {
			t.Errorf("%q: accepted as %s", s, tree.Canonical())
			continue
		}
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", s, err, want)
		}
	}
}

func TestLegacyConflicts(t *testing.T) {
	for s, want := range map[string]string{
		"driver=nbd,host=h,server.host=g":                                     "server: excludes host, port and path",
		"driver=nbd,path=/s,server.path=/t":                                   "server: excludes host, port and path",
		"driver=ssh,host=h,server.host=g":                                     "host: is another spelling of server.host, which is given too",
		"driver=ssh,host=h,server=g":                                          "server.host: server is a string already",
		"driver=gluster,server.0.type=unix,server.0.path=a,server.0.socket=b": "server.0.socket: is another spelling of server.0.path, which is given too",
		"driver=qcow2,file.driver=ssh,file.host_key_check=x":                  "file.host_key_check: value x: want yes",
		"file=ssh://h/p,file.host=g":                                          "file.server.host: value g: given already as h",
		"file=a,file.filename=b":                                              "file.filename: value b: given already as a",
		"file=a,file.0=b":                                                     "file.0: list indices and names in one object",
		"file=a,file=b":                                                       "file: given twice",
		"file.x=a,file=b,file=c":                                              "file: given twice",
		"x.file=nope:a":                                                       "x.file: value nope: unknown protocol",
	} {
		tree, err := ParseImageOpts(s)
		if err == nil {
			t.Errorf("%s: accepted as %s", s, tree.Canonical())
		} else if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", s, err, want)
		}
	}
}

// TestProtocols: every row's form, placeholders filled in, parses to its driver.
func TestProtocols(t *testing.T) {
	values := strings.NewReplacer(
		"DDDD:BB:DD.F", "0000:06:0d.0", "TARGET-IQN", "iqn.x", "yes|no|TYPE:HEX", "yes", "12:|16:|32:", "16:", "NAMESPACE", "1",
		"[", "", "]", "", "PORT", "1024", "LUN", "1", "null", "null",
	)
	for _, p := range Protocols() {
		name := values.Replace(p.Form)
		tree, err := ParseName(name)
		switch {
		case err != nil:
			t.Errorf("%s, filled in %s: %v", p.Form, name, err)
		case tree.Driver() != p.Driver || !tree.SchemeDriver() || !strings.HasPrefix(p.Form, p.Scheme+":"):
			t.Errorf("%s, filled in %s: %s", p.Form, name, tree.Canonical())
		}
	}
}

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]string{
		"driver=raw,file=/a":                 `json:{"driver":"raw","file":{"filename":"/a"}}`,
		"driver=raw,file=a":                  `json:{"driver":"raw","file":"a"}`,
		"file=a":                             `json:{"file":{"filename":"a"}}`,
		"file=a,file.driver=raw,file.file=b": `json:{"file":{"driver":"raw","file":"b","filename":"a"}}`,
		"./driver=raw":                       `json:{"filename":"./driver=raw"}`,
		"drive=raw":                          `json:{"filename":"drive=raw"}`,
		"file.filename=a:b":                  `json:{"file":{"filename":"a:b"}}`,
		"null-co://":                         `json:{"driver":"null-co"}`,
	} {
		tree, err := ParseTarget(s)
		if err != nil || tree.Canonical() != want {
			t.Errorf("%s: %v, %v, want %s", s, tree, err, want)
		}
	}
}

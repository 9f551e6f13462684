package nbdcmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// certificates makes an authority, a server's certificate for localhost and a client's, by certtool.
func certificates(t *testing.T, client string) string {
	t.Helper()
	enginetest.Require(t, "certtool")
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	key := func(name string) {
		peer(t, "certtool", "--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", file(name))
	}
	key("ca-key.pem")
	peer(t, "certtool", "--generate-self-signed", "--load-privkey", file("ca-key.pem"), "--outfile", file("ca-cert.pem"),
		"--template", write("ca.cfg", "cn = Lab\nca\ncert_signing_key\nexpiration_days = 3\n"))
	for _, side := range []struct{ name, template string }{
		{"server", "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\nsigning_key\nexpiration_days = 3\n"},
		{"client", "cn = " + client + "\norganization = Lab\ntls_www_client\nsigning_key\nexpiration_days = 3\n"},
	} {
		key(side.name + "-key.pem")
		peer(t, "certtool", "--generate-certificate", "--load-ca-certificate", file("ca-cert.pem"), "--load-ca-privkey", file("ca-key.pem"),
			"--load-privkey", file(side.name+"-key.pem"), "--outfile", file(side.name+"-cert.pem"), "--template", write(side.name+".cfg", side.template))
	}
	return dir
}

// TLS with certificates: QEMU's and libnbd's clients, wrong ones, none, and authorization by name.
func TestPeerTLS(t *testing.T) {
	requireClients(t)
	dir, other := certificates(t, "alice"), certificates(t, "mallory")
	img := image(t, folder(t), "i.raw")
	creds := "tls-creds-x509,id=t,endpoint=server,dir=" + dir
	try := func(uri, certs string) (string, bool) {
		cmd := exec.CommandContext(t.Context(), "nbdinfo", uri+"?tls-certificates="+certs)
		out, errs, code := outcome(t, cmd)
		return out + errs, code == 0
	}
	uri := serve(t, 1, "-p", "0", "--object", creds, "--tls-creds", "t", "-r", img)[0]
	if !strings.HasPrefix(uri, "nbds://127.0.0.1:") {
		t.Fatal(uri)
	}
	if out, ok := try(uri, dir); !ok || !strings.Contains(out, "with TLS") {
		t.Error(out)
	}
	if out, ok := try(uri, other); ok {
		t.Errorf("another authority's client is served: %s", out)
	}
	if out, _, code := outcome(t, exec.CommandContext(t.Context(), "nbdinfo", strings.Replace(uri, "nbds:", "nbd:", 1))); code == 0 {
		t.Errorf("a plain client is served: %s", out)
	}
	port, _, _ := strings.Cut(strings.TrimPrefix(uri, "nbds://127.0.0.1:"), "/")
	out := peer(t, "qemu-img", "convert", "--object", "tls-creds-x509,id=c,endpoint=client,dir="+dir, "--image-opts", "-O", "raw",
		"driver=nbd,host=localhost,port="+port+",export=i.raw,tls-creds=c", filepath.Join(dir, "copy"))
	same(t, img, filepath.Join(dir, "copy"))
	peer(t, "nbdcopy", uri+"?tls-certificates="+dir, "null:")
	list, errs, code := outcome(t, ours(t, "qemu-nbd", "-L", "-b", "127.0.0.1", "-p", port, "--object", "tls-creds-x509,id=c,endpoint=client,dir="+dir, "--tls-creds", "c",
		"--tls-hostname", "localhost"))
	if code != 0 || !strings.Contains(list, "export: 'i.raw'") {
		t.Errorf("-L: %s%s", list, errs)
	}
	if _, errs, code := outcome(t, ours(t, "qemu-nbd", "-L", "-b", "127.0.0.1", "-p", port, "--object", "tls-creds-x509,id=c,endpoint=client,dir="+dir, "--tls-creds", "c",
		"--tls-hostname", "elsewhere")); code == 0 || !strings.Contains(errs, "elsewhere") {
		t.Errorf("a certificate for another host is taken: %s", errs)
	}
	_ = out
	for _, c := range []struct {
		authz string
		ok    bool
	}{
		{"authz-simple,id=a,identity=CN=alice,,O=Lab", true},
		{"authz-simple,id=a,identity=CN=bob,,O=Lab", false},
		{`{"qom-type":"authz-list","id":"a","policy":"deny","rules":[{"match":"CN=al*,O=Lab","format":"glob","policy":"allow"}]}`, true},
		{`{"qom-type":"authz-list","id":"a","policy":"allow","rules":[{"match":"*","format":"glob","policy":"deny"}]}`, false},
	} {
		uri := serve(t, 1, "-p", "0", "-r", "--object", creds, "--object", c.authz, "--tls-creds", "t", "--tls-authz", "a", img)[0]
		if out, ok := try(uri, dir); ok != c.ok {
			t.Errorf("%s: %v: %s", c.authz, ok, out)
		}
	}
}

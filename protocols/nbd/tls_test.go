package nbd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// authority signs certificates for a test.
type authority struct {
	testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	der  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{TB: t}
	a.key, a.der = a.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	var err error
	if a.cert, err = x509.ParseCertificate(a.der); err != nil {
		t.Fatal(err)
	}
	return a
}

// make signs a certificate; the first one by itself.
func (a *authority) make(c *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore = time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	return key, der
}

// dir writes the files that QEMU, nbdkit and we look for, for a server with a name or for a client.
func (a *authority) dir(role string, c x509.Certificate) string {
	a.Helper()
	dir := scratch(a)
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	key, der := a.make(&c)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca-cert": {Type: "CERTIFICATE", Bytes: a.der}, role + "-cert": {Type: "CERTIFICATE", Bytes: der}, role + "-key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(block), 0o600); err != nil {
			a.Fatal(err)
		}
	}
	return dir
}

func named(dns string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: dns}, DNSNames: []string{dns}}
}

// freePort is one that nobody listens on just now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// tlsServer starts nbdkit with TLS that is required, on a port; clients need a certificate of the authority.
func tlsServer(t testing.TB, dir string, args ...string) int {
	t.Helper()
	port := freePort(t)
	nbdkitArgs(t, scratch(t), append([]string{
		"-i", "127.0.0.1", "-p", fmt.Sprint(port), "--tls=require", "--tls-certificates=" + dir, "--tls-verify-peer",
	}, args...)...)
	return port
}

// withCreds is an environment with the object t0.
func withCreds(t testing.TB, dir, more string) *engine.Env {
	t.Helper()
	e := env()
	if err := e.Objects.Add("tls-creds-x509,id=t0,endpoint=client,dir=" + dir + more); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	server, client := ca.dir("server", named("localhost")), ca.dir("client", named("somebody"))
	port := tlsServer(t, server, "memory", "1M")
	plain := fmt.Sprintf("driver=nbd,host=127.0.0.1,port=%d", port)

	t.Run("object", func(t *testing.T) {
		ref, err := attempt(withCreds(t, client, ""), plain+",tls-creds=t0,tls-hostname=localhost", true)
		if err != nil {
			t.Fatal(err)
		}
		defer ref.Close()
		for _, p := range planes {
			for _, err := range p.run(t, ref, engine.OpWrite, 65536, offsets()...) {
				if err != nil {
					t.Errorf("%s: %v", p.name, err)
				}
			}
		}
		if d := ref.Info().Detail.(Details); !d.TLS {
			t.Errorf("%+v", d)
		}
	})
	t.Run("scheme", func(t *testing.T) {
		ref := connect(t, fmt.Sprintf("nbds://localhost:%d/?tls-certificates=%s", port, client))
		if err := ref.ReadAt(bg, make([]byte, 4096), 0); err != nil {
			t.Error(err)
		}
		if got, want := ref.Info().Filename, fmt.Sprintf("nbds://localhost:%d/", port); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	fails := func(name string, e *engine.Env, options string, kind error, words ...string) {
		t.Run(name, func(t *testing.T) {
			ref, err := attempt(e, plain+options, false)
			if err == nil {
				ref.Close()
				t.Fatal("opened")
			}
			wantError(t, err, kind, words...)
		})
	}
	fails("required", env(), "", engine.ErrPermission, "the server requires TLS: nbds://")
	fails("name", withCreds(t, client, ""), ",tls-creds=t0,tls-hostname=elsewhere", engine.ErrPermission, `not for "elsewhere"`, "localhost")
	fails("address", withCreds(t, client, ""), ",tls-creds=t0", engine.ErrPermission, `not for "127.0.0.1"`)
	fails("authority", withCreds(t, newAuthority(t).dir("client", named("somebody")), ""), ",tls-creds=t0,tls-hostname=localhost",
		engine.ErrPermission, "signed by unknown authority")
	fails("endpoint", withEndpoint(t, client), ",tls-creds=t0", engine.ErrOption, "endpoint=client")
	fails("folder", withCreds(t, "/nonexistent", ""), ",tls-creds=t0", engine.ErrNotFound, "ca-cert.pem")
	fails("priority", withCreds(t, client, ",priority=NORMAL"), ",tls-creds=t0", engine.ErrUnsupported, "priority=")

	psk := env()
	if err := psk.Objects.Add("tls-creds-psk,id=t0,endpoint=client,dir=/d"); err != nil {
		t.Fatal(err)
	}
	fails("psk", psk, ",tls-creds=t0", engine.ErrUnsupported, "pre-shared keys")

	t.Run("anybody", func(t *testing.T) {
		ref, err := attempt(withCreds(t, client, ",verify-peer=off"), plain+",tls-creds=t0", false)
		if err != nil {
			t.Fatal(err)
		}
		ref.Close()
	})
}

func withEndpoint(t testing.TB, dir string) *engine.Env {
	t.Helper()
	e := env()
	if err := e.Objects.Add("tls-creds-x509,id=t0,endpoint=server,dir=" + dir); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTLSRefused(t *testing.T) {
	refused(t, "nbds+unix:///?socket="+nbdkit(t, "memory", "1M"), false, engine.ErrUnsupported, "the server refuses TLS", "STARTTLS")
}

// TestTLSExpired: a certificate whose time is over; and one whose only name is its subject's, as the peers take it.
func TestTLSCertificates(t *testing.T) {
	ca := newAuthority(t)
	client := ca.dir("client", named("somebody"))
	old := named("localhost")
	old.NotAfter = time.Now().Add(-time.Minute)
	port := tlsServer(t, ca.dir("server", old), "memory", "1M")
	options := "driver=nbd,host=127.0.0.1,port=%d,tls-creds=t0,tls-hostname=localhost"
	_, err := attempt(withCreds(t, client, ""), fmt.Sprintf(options, port), false)
	wantError(t, err, engine.ErrPermission, "expired")
	port = tlsServer(t, ca.dir("server", x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}}), "memory", "1M")
	ref, err := attempt(withCreds(t, client, ""), fmt.Sprintf(options, port), false)
	if err != nil {
		t.Fatal(err)
	}
	ref.Close()
}

func TestSuitesOverTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("one server does in short runs")
	}
	ca := newAuthority(t)
	server, client := ca.dir("server", named("localhost")), ca.dir("client", named("somebody"))
	open := func(t testing.TB, size int64) *engine.Ref {
		t.Helper()
		port := tlsServer(t, server, "memory", "allocator=malloc", fmt.Sprint(size))
		return mustOpen(t, fmt.Sprintf("nbds://localhost:%d/?tls-certificates=%s", port, client), true)
	}
	enginetest.Node(t, enginetest.NodeConfig{Open: open, Size: 256 << 10, SizeUnit: 512, Writable: true})
	enginetest.Queue(t, enginetest.QueueConfig{Open: open, Size: 256 << 10, Allocates: true})
}

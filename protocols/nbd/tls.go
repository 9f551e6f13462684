package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/blkbench/blkbench/engine"
)

// credentials are the properties of a tls-creds-x509 object.
type credentials struct {
	Dir        string `opt:"dir" required:"true"`
	Endpoint   string `opt:"endpoint" enum:"client,server" default:"client"`
	VerifyPeer bool   `opt:"verify-peer" default:"on"`
	Priority   string `opt:"priority"`
	Sanity     bool   `opt:"sanity-check" default:"on"`
	PasswordID string `opt:"passwordid"`
}

// tlsConfig is nil where no TLS is wanted.
func (o *Options) tlsConfig(env *engine.Env) (*tls.Config, error) {
	switch {
	case o.TLSUsername != "" || o.TLSPSKFile != "":
		return nil, engine.Errf(engine.ErrUnsupported, "TLS with a pre-shared key (tls-psk-file, tls-username): Go's TLS has none; use x509 certificates")
	case !o.wantsTLS():
		if o.TLSHostname != "" {
			return nil, engine.Errf(engine.ErrOption, "tls-hostname: without tls-creds nobody looks at a certificate")
		}
		return nil, nil
	}
	c := credentials{Dir: o.TLSCertificates, VerifyPeer: o.TLSVerifyPeer == nil || *o.TLSVerifyPeer}
	if o.TLSCreds != "" {
		if o.TLSCertificates != "" || o.TLSVerifyPeer != nil {
			return nil, engine.Errf(engine.ErrOption, "tls-creds: excludes tls-certificates and tls-verify-peer")
		}
		var err error
		if c, err = credentialsOf(env, o.TLSCreds); err != nil {
			return nil, err
		}
	}
	name := o.TLSHostname
	if name == "" {
		name = o.Server.Host // empty for a Unix socket: the chain is checked, not the name
	}
	return c.config(name)
}

// credentialsOf finds the object that tls-creds names.
func credentialsOf(env *engine.Env, id string) (credentials, error) {
	var c credentials
	if env == nil {
		return c, engine.Errf(engine.ErrOption, "tls-creds=%s: there is no such object", id)
	}
	obj, ok := env.Objects.Get(id)
	switch {
	case !ok:
		return c, engine.Errf(engine.ErrOption, "tls-creds=%s: there is no such object: --object tls-creds-x509,id=%s,dir=…,endpoint=client makes it", id, id)
	case obj.Type == "tls-creds-psk":
		return c, engine.Errf(engine.ErrUnsupported, "tls-creds=%s is a tls-creds-psk object: Go's TLS has no pre-shared keys; use tls-creds-x509", id)
	case obj.Type != "tls-creds-x509":
		return c, engine.Errf(engine.ErrOption, "tls-creds=%s is a %s object; want tls-creds-x509", id, obj.Type)
	}
	props := obj.Props.Clone()
	if err := errors.Join(props.Bind(&c), props.Unused()); err != nil {
		return c, engine.Errf(engine.ErrOption, "object %s: %w", id, err)
	}
	switch {
	case c.Endpoint != "client":
		return c, engine.Errf(engine.ErrOption, "tls-creds=%s is for a server: want endpoint=client", id)
	case c.Priority != "":
		return c, engine.Errf(engine.ErrUnsupported, "object %s: priority= is GnuTLS's; Go's TLS chooses for itself", id)
	case c.PasswordID != "":
		return c, engine.Errf(engine.ErrUnsupported, "object %s: passwordid= (an encrypted key): decrypt the key file", id)
	}
	return c, nil
}

// config reads the files, which have the names that QEMU, nbdkit and libnbd use.
func (c *credentials) config(name string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: true}
	var roots *x509.CertPool // nil: the system's
	if c.Dir != "" {
		pem, err := os.ReadFile(filepath.Join(c.Dir, "ca-cert.pem"))
		if err != nil && c.VerifyPeer {
			return nil, err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) && c.VerifyPeer {
			return nil, engine.Errf(engine.ErrOption, "%s: no certificate in it", filepath.Join(c.Dir, "ca-cert.pem"))
		}
		pair, err := tls.LoadX509KeyPair(filepath.Join(c.Dir, "client-cert.pem"), filepath.Join(c.Dir, "client-key.pem"))
		switch {
		case err == nil:
			cfg.Certificates = []tls.Certificate{pair}
		case !errors.Is(err, fs.ErrNotExist): // without one the server decides
			return nil, engine.Errf(engine.ErrOption, "%s: client certificate: %w", c.Dir, err)
		}
	}
	if c.VerifyPeer {
		// Not crypto/tls's own check: a certificate whose only name is its subject's, as certtool's templates make, is good for the peers.
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return verify(s.PeerCertificates, roots, name) }
	}
	return cfg, nil
}

// verify checks the chain, and the name unless it is empty.
func verify(chain []*x509.Certificate, roots *x509.CertPool, name string) error {
	if len(chain) == 0 {
		return errors.New("the server has no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(opts); err != nil {
		return fmt.Errorf("certificate of the server: %w", err)
	}
	if name == "" || (len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) == 0 && leaf.Subject.CommonName == name) {
		return nil
	}
	if err := leaf.VerifyHostname(name); err != nil {
		return fmt.Errorf("certificate of the server is not for %q (tls-hostname= says which name to expect): %w", name, err)
	}
	return nil
}

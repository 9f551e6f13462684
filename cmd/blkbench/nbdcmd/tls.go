package nbdcmd

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/blkbench/blkbench/engine/opts"
)

// splitObjects takes the objects that only a server has from those that drivers look up.
func splitObjects(list []string) (rest []string, authz map[string]opts.Object) {
	authz = map[string]opts.Object{}
	for _, text := range list {
		obj, err := opts.ParseObject(text)
		if err == nil && strings.HasPrefix(obj.Type, "authz-") {
			authz[obj.ID] = obj
			continue
		}
		rest = append(rest, text) // what is wrong with it is said by whoever takes it
	}
	return rest, authz
}

// credentials are a tls-creds-x509 object. Source: QEMU's documentation of --object tls-creds-x509
type credentials struct {
	Dir        string `opt:"dir" required:"true"`
	Endpoint   string `opt:"endpoint" enum:"client,server" default:"client"`
	VerifyPeer bool   `opt:"verify-peer" default:"true"`
	Priority   string `opt:"priority"`
	PasswordID string `opt:"passwordid"`
	Sanity     bool   `opt:"sanity-check" default:"true"`
}

// loadCredentials finds the object of --tls-creds.
func (c *call) loadCredentials(id, endpoint string) (*credentials, error) {
	obj, ok := opts.Object{}, false
	if c.eng.Objects != nil {
		obj, ok = c.eng.Objects.Get(id)
	}
	if !ok {
		return nil, fmt.Errorf("Failed to get TLS creds: No TLS credentials with id '%s'", id) //nolint:staticcheck // qemu-nbd's words
	}
	if obj.Type != "tls-creds-x509" {
		return nil, fmt.Errorf("credentials of type %s are not supported: use tls-creds-x509", obj.Type)
	}
	var cr credentials
	props := obj.Props.Clone()
	if err := props.Bind(&cr); err != nil {
		return nil, err
	}
	if err := props.Unused(); err != nil {
		return nil, err
	}
	switch {
	case cr.Endpoint != endpoint:
		return nil, fmt.Errorf("Failed to get TLS creds: Expecting TLS credentials with a %s endpoint", endpoint) //nolint:staticcheck // qemu-nbd's words
	case cr.PasswordID != "":
		return nil, errors.New("keys with a password are not supported (passwordid)")
	case cr.Priority != "":
		return nil, errors.New("priority strings are not supported (priority)")
	}
	return &cr, nil
}

func (cr *credentials) pool() (*x509.CertPool, error) {
	name := filepath.Join(cr.Dir, "ca-cert.pem")
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", name)
	}
	return pool, nil
}

func (cr *credentials) pair(side string) (tls.Certificate, error) {
	return tls.LoadX509KeyPair(filepath.Join(cr.Dir, side+"-cert.pem"), filepath.Join(cr.Dir, side+"-key.pem"))
}

// serverTLS is what --tls-creds and --tls-authz ask for; nil without them.
func (c *call) serverTLS(authz map[string]opts.Object) (*tls.Config, func(tls.ConnectionState) error, error) {
	if c.o.TLSCreds == nil {
		return nil, nil, nil
	}
	cr, err := c.loadCredentials(*c.o.TLSCreds, "server")
	if err != nil {
		return nil, nil, err
	}
	cert, err := cr.pair("server")
	if err != nil {
		return nil, nil, fmt.Errorf("Failed to get TLS creds: %w", err) //nolint:staticcheck // qemu-nbd's words
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if cr.VerifyPeer {
		if cfg.ClientCAs, err = cr.pool(); err != nil {
			return nil, nil, fmt.Errorf("Failed to get TLS creds: %w", err) //nolint:staticcheck // qemu-nbd's words
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if c.o.TLSAuthz == nil {
		return cfg, nil, nil
	}
	obj, ok := authz[*c.o.TLSAuthz]
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("no authorization object with id '%s'", *c.o.TLSAuthz)
	case !cr.VerifyPeer:
		return nil, nil, errors.New("--tls-authz wants credentials with verify-peer=yes")
	}
	allowed, err := authorizer(obj)
	if err != nil {
		return nil, nil, err
	}
	return cfg, func(st tls.ConnectionState) error {
		if len(st.PeerCertificates) == 0 {
			return errors.New("the client has no certificate")
		}
		name, err := distinguishedName(st.PeerCertificates[0])
		if err == nil && !allowed(name) {
			err = fmt.Errorf("the client '%s' is not authorized", name)
		}
		return err
	}, nil
}

// distinguishedName is a certificate's subject as RFC 4514 writes it.
func distinguishedName(c *x509.Certificate) (string, error) {
	var seq pkix.RDNSequence
	if _, err := asn1.Unmarshal(c.RawSubject, &seq); err != nil {
		return "", err
	}
	return seq.String(), nil
}

// rule is one line of an authz-list.
type rule struct {
	Match  string `opt:"match" required:"true"`
	Policy string `opt:"policy" enum:"allow,deny" required:"true"`
	Format string `opt:"format" enum:"exact,glob" default:"exact"`
}

// authorizer makes a judge of an authz-simple, authz-list or authz-list-file object.
func authorizer(obj opts.Object) (func(name string) bool, error) {
	props := obj.Props.Clone()
	switch obj.Type {
	case "authz-simple":
		var o struct {
			Identity string `opt:"identity" required:"true"`
		}
		if err := errors.Join(props.Bind(&o), props.Unused()); err != nil {
			return nil, err
		}
		return func(name string) bool { return name == o.Identity }, nil
	case "authz-list-file":
		var o struct {
			File    string `opt:"filename" required:"true"`
			Refresh bool   `opt:"refresh" default:"true"`
		}
		if err := errors.Join(props.Bind(&o), props.Unused()); err != nil {
			return nil, err
		}
		return listFile(o.File)
	case "authz-list":
		return listRules(props)
	}
	return nil, fmt.Errorf("authorization by %s is not supported: use authz-simple, authz-list or authz-list-file", obj.Type)
}

// listFile reads {"rules":[…],"policy":…}.
func listFile(name string) (func(string) bool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t, err := opts.ParseJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f, err := listRules(t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// listRules judges by the first rule that matches, else by the policy.
func listRules(t *opts.Tree) (func(string) bool, error) {
	var o struct {
		Policy string `opt:"policy" enum:"allow,deny" default:"deny"`
	}
	if err := t.Bind(&o); err != nil {
		return nil, err
	}
	var rules []rule
	if list, ok := t.Take("rules"); ok {
		for _, item := range list.List() {
			var r rule
			sub := item.Tree()
			if sub == nil {
				return nil, errors.New("rules: each is an object with match and policy")
			}
			if err := errors.Join(sub.Bind(&r), sub.Unused()); err != nil {
				return nil, err
			}
			rules = append(rules, r)
		}
	}
	if err := t.Unused(); err != nil {
		return nil, err
	}
	return func(name string) bool {
		for _, r := range rules {
			hit := r.Match == name
			if r.Format == "glob" {
				hit, _ = path.Match(strings.ReplaceAll(r.Match, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00"))
			}
			if hit {
				return r.Policy == "allow"
			}
		}
		return o.Policy == "allow"
	}, nil
}

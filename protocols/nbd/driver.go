package nbd

import (
	"context"
	"time"

	"github.com/blkbench/blkbench/engine"
)

// Server is where the export is, as QEMU's SocketAddress has it.
type Server struct {
	Type     string `opt:"type" enum:"inet,tcp,unix,vsock,fd" help:"inet or unix"`
	Host     string `opt:"host" help:"name or address"`
	Port     string `opt:"port" help:"TCP port, 10809 as a rule"`
	Path     string `opt:"path" help:"Unix socket"`
	Abstract bool   `opt:"abstract" help:"the Unix socket is in Linux's abstract name space"`
	Str      string `opt:"str" help:"of type fd, which is not served here"`
}

// Options are the keys of the driver.
type Options struct {
	Server         Server        `opt:"server" help:"address of the server"`
	Export         string        `opt:"export" help:"name of the export; empty: the server's default"`
	TLSCreds       string        `opt:"tls-creds" help:"id of a tls-creds-x509 object; TLS is used then"`
	TLSHostname    string        `opt:"tls-hostname" help:"name that the server's certificate must have, if not the host's"`
	ReconnectDelay time.Duration `opt:"reconnect-delay" kind:"s" help:"how long requests wait for another connection when theirs is lost; 0: they fail"`
	OpenTimeout    time.Duration `opt:"open-timeout" kind:"s" help:"how long connecting is tried again and negotiation may take; 0: tried once, 10s"`
	DirtyBitmap    string        `opt:"x-dirty-bitmap" help:"metadata context to report as extents in place of base:allocation"`
	Connections    int           `opt:"connections" default:"4" min:"1" max:"64" help:"connections of the blocking plane at most, where the server allows several"`

	// What the nbds schemes say.
	TLS             bool   `opt:"tls" help:"use TLS"`
	TLSCertificates string `opt:"tls-certificates" help:"folder with ca-cert.pem, client-cert.pem and client-key.pem"`
	TLSVerifyPeer   *bool  `opt:"tls-verify-peer" help:"off: any certificate of the server will do"`
	TLSUsername     string `opt:"tls-username" help:"for pre-shared keys, which are not served here"`
	TLSPSKFile      string `opt:"tls-psk-file" help:"for pre-shared keys, which are not served here"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[Options, engine.NoOptions](engine.Driver{
		Name: "nbd",
		Kind: engine.KindProtocol,
		Help: "an export of an NBD server",
	}, open, nil)
}

func open(ctx context.Context, r *engine.OpenRequest, o *Options) (engine.Node, error) {
	return Open(ctx, o, r.Flags, r.Env)
}

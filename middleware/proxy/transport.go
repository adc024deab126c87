package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

const (
	// maxIdle bounds the unused connections kept to each server.
	maxIdle = 512

	maxResponseHeader = 1 << 20
)

// transportKey is what a transport is made from: a reload in which it stays
// the same keeps the server's connections.
type transportKey struct {
	protocol       Protocol
	tls            TLS
	ca, cert, key  string // the files' contents
	connectTimeout time.Duration
	idleTimeout    time.Duration
	maxAge         time.Duration
	tcpKeepalive   time.Duration
}

func newTransportKey(c Config) (transportKey, error) {
	k := transportKey{
		protocol: c.Protocol, tls: c.TLS,
		connectTimeout: c.ConnectTimeout, idleTimeout: c.IdleTimeout, maxAge: c.MaxAge, tcpKeepalive: c.TCPKeepalive,
	}
	for _, f := range []struct {
		name string
		text *string
	}{{c.TLS.CAFile, &k.ca}, {c.TLS.CertFile, &k.cert}, {c.TLS.KeyFile, &k.key}} {
		if f.name == "" {
			continue
		}
		text, err := filestate.Read(f.name)
		if err != nil {
			return k, fmt.Errorf("reading for the upstream's TLS: %w", err)
		}
		*f.text = string(text)
	}
	return k, nil
}

func (k transportKey) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         k.tls.ServerName,
		InsecureSkipVerify: k.tls.InsecureSkipVerify,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if k.ca != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(k.ca)) {
			return nil, fmt.Errorf("%s holds no PEM certificate", k.tls.CAFile)
		}
	}
	if k.cert != "" {
		pair, err := tls.X509KeyPair([]byte(k.cert), []byte(k.key))
		if err != nil {
			return nil, fmt.Errorf("client certificate %s with key %s: %w", k.tls.CertFile, k.tls.KeyFile, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// serverTransport is one server's connections, of either version of HTTP. The wait for the response's header is not its business but the
// attempt's, which knows the route's.
type serverTransport struct {
	http1 *http1client.Client // nil: HTTP/2 alone
	http2 *http2Client        // nil: HTTP/1.1 alone

	prefers2 atomic.Bool // where both are spoken: ALPN chose HTTP/2 the last time
}

// newTransport makes the connection pool of one place: of the address, or where the URL says if it is invalid. Host, certificate and the
// HTTP/2 authority are those of the URL.
func newTransport(k transportKey, target *url.URL, address netip.AddrPort) (*serverTransport, error) {
	network, at := dialed(target)
	o := http1client.Options{
		Network: network, Address: at, ConnectTimeout: k.connectTimeout, IdleTimeout: k.idleTimeout,
		MaxAge: k.maxAge, KeepAlive: k.tcpKeepalive, MaxIdle: maxIdle,
	}
	if address.IsValid() {
		o.Address = address.String()
	}
	if k.idleTimeout < 0 {
		o.IdleTimeout, o.MaxIdle = 0, 0 // no connection is kept
	}
	if target.Scheme == "https" {
		cfg, err := k.tlsConfig()
		if err != nil {
			return nil, err
		}
		orDefault(&cfg.ServerName, target.Hostname())
		o.TLS = cfg
	}
	protocol := k.protocol
	if protocol == Auto && o.TLS == nil {
		protocol = HTTP1
	}
	t := new(serverTransport)
	if protocol == Auto || protocol == HTTP1 {
		t.http1 = http1client.New(offering(o, protocol))
	}
	if protocol != HTTP1 {
		t.http2 = newHTTP2Client(offering(o, protocol))
	}
	if protocol == Auto {
		t.http2.toHTTP1 = t.http1.Adopt
	}
	return t, nil
}

// offering returns the options with what ALPN is to offer.
func offering(o http1client.Options, p Protocol) http1client.Options {
	if o.TLS == nil {
		return o
	}
	o.TLS = o.TLS.Clone()
	switch p {
	case HTTP1:
		o.TLS.NextProtos = []string{"http/1.1"}
	case HTTP2:
		o.TLS.NextProtos = []string{"h2"}
	default:
		o.TLS.NextProtos = []string{"h2", "http/1.1"}
	}
	return o
}

// RoundTrip implements http.RoundTripper, for health checks.
func (t *serverTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.choose(req, t.http1.RoundTrip, t.http2.RoundTrip)
}

// choose sends a request over the version of HTTP that ALPN chooses for it.
func (t *serverTransport) choose(req *http.Request, over1, over2 func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	switch {
	case t.http1 == nil:
		return over2(req)
	case t.http2 == nil || len(req.Header["Upgrade"]) > 0: // HTTP/2 has no Upgrade
		return over1(req)
	}
	if t.prefers2.Load() {
		res, err := over2(req)
		if !errors.Is(err, errHTTP1) {
			return res, err
		}
		t.prefers2.Store(false)
	}
	res, err := over1(req)
	var other *http1client.HTTP2Error
	if !errors.As(err, &other) {
		return res, err
	}
	t.prefers2.Store(true)
	t.http2.adopt(other.Conn)
	return over2(req)
}

// CloseIdleConnections closes the connections that are not in use, and the others when they are not any more.
func (t *serverTransport) CloseIdleConnections() {
	if t.http1 != nil {
		t.http1.CloseIdleConnections()
	}
	if t.http2 != nil {
		t.http2.closeIdle()
	}
}

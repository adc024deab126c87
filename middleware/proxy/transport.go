package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// keepAliveProbe is how often the kernel asks whether an idle TCP peer is
	// still there, and pingAfter how long an HTTP/2 connection with requests
	// in flight may be silent before it is asked.
	keepAliveProbe = 15 * time.Second
	pingAfter      = 15 * time.Second
	pingTimeout    = 10 * time.Second

	// maxIdle bounds the unused connections kept to each server.
	maxIdle = 512

	// continueWait is how long the server's 100 (Continue) is waited for
	// before the body is sent all the same (RFC 9110 section 10.1.1).
	continueWait = time.Second

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
}

func newTransportKey(c Config) (transportKey, error) {
	k := transportKey{protocol: c.Protocol, tls: c.TLS, connectTimeout: c.ConnectTimeout, idleTimeout: c.IdleTimeout}
	for _, f := range []struct {
		name string
		text *string
	}{{c.TLS.CAFile, &k.ca}, {c.TLS.CertFile, &k.cert}, {c.TLS.KeyFile, &k.key}} {
		if f.name == "" {
			continue
		}
		text, err := os.ReadFile(f.name)
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

// newTransport makes one server's connection pool. The wait for the response
// header is not its business but the attempt's, which knows the route's.
func newTransport(k transportKey) (*http.Transport, error) {
	tlsConfig, err := k.tlsConfig()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: k.connectTimeout, KeepAlive: keepAliveProbe}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    k.connectTimeout,
		IdleConnTimeout:        k.idleTimeout,
		MaxIdleConnsPerHost:    maxIdle,
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true, // what the client asked for is what the server is asked for
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	if k.idleTimeout < 0 {
		t.MaxIdleConnsPerHost = -1 // no connection is kept
	}
	switch k.protocol {
	case HTTP1:
		t.Protocols.SetHTTP1(true)
	case HTTP2:
		t.Protocols.SetHTTP2(true)
	case H2C:
		t.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
	}
	return t, nil
}

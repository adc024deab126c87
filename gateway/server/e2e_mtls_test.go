package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
)

// authority is a private CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := new(authority)
	cert, key := a.issue(t, "authority")
	a.cert, a.key = cert, key
	return a
}

// issue makes a certificate for 127.0.0.1; the authority's own, if it has none.
func (a *authority) issue(t testing.TB, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// identity writes a certificate of the authority into two files.
func (a *authority) identity(t testing.TB, name, certFile, keyFile string) {
	t.Helper()
	cert, key := a.issue(t, name)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	replaceFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func replaceFile(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// mutualApp is an app server that wants a certificate of the authority in use, and tells whose it was shown.
type mutualApp struct {
	*httptest.Server
	inUse          atomic.Pointer[authority]
	checkedBy      atomic.Pointer[string]
	opened, closed atomic.Int64
}

func startMutual(t testing.TB, first *authority) *mutualApp {
	t.Helper()
	a := new(mutualApp)
	a.inUse.Store(first)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		if r.URL.Path == "/healthz" {
			a.checkedBy.Store(&name)
		}
		fmt.Fprint(w, name, " ", r.Proto)
	}))
	a.EnableHTTP2 = true
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			a.opened.Add(1)
		case http.StateClosed:
			a.closed.Add(1)
		}
	}
	a.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		ca := a.inUse.Load()
		cert, key := ca.issue(t, "app")
		return &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), NextProtos: []string{"h2", "http/1.1"},
		}, nil
	}}
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func TestClientCertificateForAppServers(t *testing.T) {
	t.Parallel()
	for protocol, version := range map[string]string{"http1": "HTTP/1.1", "http2": "HTTP/2.0", "auto": "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
			trust := func(a *authority) {
				replaceFile(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
			}
			old := newAuthority(t)
			trust(old)
			old.identity(t, "first", cert, key)
			app := startMutual(t, old)
			log := new(lockedBuffer)
			g := start(t, fmt.Sprintf(`
upstreams:
  app:
    servers: [%q]
    protocol: %s
    idle_timeout: 1h
    health_check: {interval: 1s, timeout: 1s}
    tls: {ca_file: %q, cert_file: %q, key_file: %q}
routes: [{name: all, path: /*, upstream: app}]
`, app.URL, protocol, ca, cert, key), func(o *server.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
			shown := func(name string) bool { return g.do("GET", "/").text == name+" "+version }
			if !shown("first") {
				t.Fatalf("got %q", g.do("GET", "/").text)
			}
			eventually(t, "health checks show it", func() bool { n := app.checkedBy.Load(); return n != nil && *n == "first" })

			replaceFile(t, cert, []byte("half of a certif"))
			eventually(t, "what can't be used is logged", func() bool { return strings.Contains(log.String(), "cannot be used") })
			if !shown("first") {
				t.Error("the last good certificate is not in use any more")
			}

			before := app.opened.Load()
			old.identity(t, "second", cert, key)
			eventually(t, "the new certificate is shown", func() bool { return shown("second") })
			eventually(t, "health checks show it", func() bool { return *app.checkedBy.Load() == "second" })
			eventually(t, "connections of the old certificate are closed", func() bool { return app.closed.Load() >= before })

			next := newAuthority(t)
			app.inUse.Store(next)
			next.identity(t, "third", cert, key)
			trust(next)
			eventually(t, "the new authority is trusted", func() bool { return shown("third") })
		})
	}
}

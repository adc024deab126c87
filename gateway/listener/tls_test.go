package listener_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

// keyPair writes a certificate for 127.0.0.1 with this name, and its key.
func keyPair(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	writeFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return certFile, keyFile
}

func writeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secure is dial with TLS, speaking these protocols.
func secure(t testing.TB, addr string, protocols ...string) *tls.Conn {
	t.Helper()
	c := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func client(protocols func(*http.Protocols)) *http.Client {
	p := new(http.Protocols)
	protocols(p)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
}

func TestRequestsSayWhetherTheyCameOverTLS(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for _, tt := range []struct {
		name      string
		protocols func(*http.Protocols)
		tls       bool
		proto     string
		alpn      string
	}{
		{"HTTP/1.1", func(p *http.Protocols) { p.SetHTTP1(true) }, false, "HTTP/1.1", ""},
		{"h2c", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, false, "HTTP/2.0", ""},
		{"HTTP/1.1 over TLS", func(p *http.Protocols) { p.SetHTTP1(true) }, true, "HTTP/1.1", ""}, // which this client does not ask for
		{"HTTP/2", func(p *http.Protocols) { p.SetHTTP2(true) }, true, "HTTP/2.0", "h2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := listener.Options{HTTP1: true, HTTP2: true, H2C: !tt.tls}
			scheme := "http"
			if tt.tls {
				o.CertFile, o.KeyFile, scheme = cert, key, "https"
			}
			o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if (r.TLS != nil) != tt.tls || r.Proto != tt.proto {
					t.Errorf("TLS %v over %s", r.TLS, r.Proto)
				}
				if r.TLS != nil && (!r.TLS.HandshakeComplete || r.TLS.NegotiatedProtocol != tt.alpn) {
					t.Errorf("TLS says %+v", r.TLS)
				}
				if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || host != "127.0.0.1" {
					t.Errorf("remote address %q", r.RemoteAddr)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body)
			})
			addr, _ := start(t, o)
			cl := client(tt.protocols)
			defer cl.CloseIdleConnections()
			for _, size := range []int{0, 10, 300_000} {
				text := strings.Repeat("x", size)
				res, err := cl.Post(scheme+"://"+addr+"/", "text/plain", strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(body) != text {
					t.Errorf("%d bytes came back as %d: %v", size, len(body), err)
				}
			}
		})
	}
}

func TestOldTLSAndForeignProtocolsAreRefused(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	addr, _ := start(t, listener.Options{Handler: &recorder{}, HTTP1: true, HTTP2: true, CertFile: cert, KeyFile: key})
	for name, config := range map[string]*tls.Config{
		"TLS 1.1": {InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"ALPN":    {InsecureSkipVerify: true, NextProtos: []string{"smtp"}},
	} {
		if err := tls.Client(dial(t, addr), config).Handshake(); err == nil {
			t.Errorf("%s: the handshake was completed", name)
		}
	}
}

func TestPlainRequestToTheTLSPortIsToldSo(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	addr, _ := start(t, listener.Options{Handler: &recorder{}, HTTP1: true, CertFile: cert, KeyFile: key})
	c := dial(t, addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	all, closed := replies(t, c)
	if len(all) != 1 || !closed {
		t.Fatalf("%d answers, closed: %v", len(all), closed)
	}
	checkProblem(t, all[0], 400)
}

func TestFramingIsCheckedWithinTLS(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	h := &recorder{}
	addr, _ := start(t, listener.Options{Handler: h, HTTP1: true, HTTP2: true, CertFile: cert, KeyFile: key})
	for name, attack := range map[string]string{
		"header": post("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG",
		"body":   chunks("1\r\nxyz\r\n0\r\n\r\n"),
	} {
		c := secure(t, addr)
		send(t, c, attack+marker)
		all, closed := replies(t, c)
		if len(all) != 1 || all[0].StatusCode != 400 || !closed {
			t.Errorf("%s: answers %v, closed: %v", name, statuses(all), closed)
		}
	}
	for _, target := range h.targets() {
		if target == "/marker" {
			t.Error("the request behind an attack was served")
		}
	}
}

func TestCertificateIsReloadedWhenItsFilesChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := keyPair(t, dir, "old")
	newCert, newKey := keyPair(t, dir, "new")
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	var log syncBuffer
	addr, _ := start(t, listener.Options{
		Handler: &recorder{}, HTTP1: true, CertFile: cert, KeyFile: key,
		Now: func() time.Time { return time.Unix(0, now.Load()) }, Logger: logTo(&log),
	})
	serves := func(name string) {
		t.Helper()
		now.Add(int64(2 * time.Second))
		if got := secure(t, addr).ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
			t.Errorf("%q is served, not %q", got, name)
		}
	}
	serves("old")
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}

	rename(newCert, cert)
	serves("old") // the key does not fit yet
	serves("old")
	if n := strings.Count(log.String(), "the old one stays"); n != 1 {
		t.Errorf("the pair that does not fit was logged %d times", n)
	}
	rename(newKey, key)
	serves("new")

	writeFile(t, cert, []byte("nonsense")) // in place
	serves("new")
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	serves("new")

	// As Kubernetes does it: the files are links through a link that is swapped.
	older, olderKey := keyPair(t, dir, "third")
	rename(older, cert)
	rename(olderKey, key)
	serves("third")
}

func TestCertificateBehindSwappedLinksIsReloaded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		sub := filepath.Join(dir, version)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := keyPair(t, sub, version)
		for from, to := range map[string]string{cert: "tls.crt", key: "tls.key"} {
			if err := os.Rename(from, filepath.Join(sub, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(version string) {
		t.Helper()
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(version, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	addr, _ := start(t, listener.Options{
		Handler: &recorder{}, HTTP1: true, CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
		Now: func() time.Time { return time.Unix(0, now.Load()) },
	})
	for _, version := range []string{"v1", "v2"} {
		link(version)
		now.Add(int64(2 * time.Second))
		if got := secure(t, addr).ConnectionState().PeerCertificates[0].Subject.CommonName; got != version {
			t.Errorf("%q is served, not %q", got, version)
		}
	}
}

func TestSlowHandshakesKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	addr, _ := start(t, listener.Options{Handler: &recorder{}, HTTP1: true, CertFile: cert, KeyFile: key, MaxHandshakes: 3})
	ended := make(chan bool, 5) // by the gateway
	for range 5 {
		c := dial(t, addr)
		send(t, c, "\x16\x03\x01")
		go func() {
			_, err := io.ReadAll(c)
			ended <- !isTimeout(err)
		}()
	}
	// Two had to go for the others, and a third one for one that is not slow.
	for i := range 3 {
		if i == 2 {
			send(t, secure(t, addr), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		}
		if !<-ended {
			t.Fatalf("all slow handshakes but %d are still under way", i)
		}
	}
}

func TestHandshakeThatTakesTooLongIsCutOff(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	addr, _ := start(t, listener.Options{Handler: &recorder{}, HTTP1: true, CertFile: cert, KeyFile: key, ReadHeaderTimeout: 50 * time.Millisecond})
	c := dial(t, addr)
	if _, err := io.ReadAll(c); isTimeout(err) {
		t.Error("the connection was left open")
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// keyPair is a certificate for 127.0.0.1 in files, as policies name it.
type keyPair struct {
	cert, key string
}

func newKeyPair(t testing.TB) *keyPair {
	t.Helper()
	dir := t.TempDir()
	p := &keyPair{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	p.issue(t, "first")
	return p
}

// issue replaces the files by a new certificate with this common name.
func (p *keyPair) issue(t testing.TB, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
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
	for file, block := range map[string]*pem.Block{
		p.cert: {Type: "CERTIFICATE", Bytes: der},
		p.key:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
}

// server is the policy's server section with TLS.
func (p *keyPair) server(more string) string {
	return fmt.Sprintf("server: {listen: \"127.0.0.1:0\", admin: {listen: \"127.0.0.1:0\"}, tls: {cert_file: %q, key_file: %q}%s}\n",
		p.cert, p.key, more)
}

// h2cServer is the policy's server section with HTTP/1.1 and HTTP/2 without TLS.
const h2cServer = `server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, protocols: [http1, http2, h2c]%s}
`

// anyCertificate is how clients in these tests speak TLS: what they are shown
// is made up on the spot.
func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} } //nolint:gosec // a test

// clientOf speaks one protocol: "http/1.1", "h2" (over TLS) or "h2c".
func clientOf(t testing.TB, protocol string) *http.Client {
	t.Helper()
	tr := &http.Transport{DisableCompression: true, TLSClientConfig: anyCertificate(), Protocols: new(http.Protocols)}
	switch protocol {
	case "http/1.1":
		tr.Protocols.SetHTTP1(true)
	case "h2":
		tr.Protocols.SetHTTP2(true)
	case "h2c":
		tr.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Fatalf("there is no protocol %q", protocol)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

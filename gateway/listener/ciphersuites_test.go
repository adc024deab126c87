package listener_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/headgate/headgate/gateway/listener"
)

// Issue 15, number 13. Whatever suites of TLS 1.2 a client offers alone, it gets those that are forward secret and
// authenticated (RFC 9325 section 4.2), and no handshake with the others.
func TestOldCipherSuitesAreNotOffered(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "suites")
	addr, _ := start(t, listener.Options{CertFile: cert, KeyFile: key, Handler: http.NotFoundHandler()})
	good := []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		err = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}}).Handshake()
		c.Close()
		if want := slices.Contains(good, suite.ID); (err == nil) != want {
			t.Errorf("%s: %v", suite.Name, err)
		}
	}
}

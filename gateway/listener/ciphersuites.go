package listener

import (
	"crypto/tls"
	"strings"
)

// cipherSuites returns those of TLS 1.2 that clients may choose: forward secret and
// authenticated (RFC 9325 section 4.2). Go offers suites with CBC as well, which RFC 9113
// section 9.2.2 forbids over HTTP/2. The suites of TLS 1.3 are all of that kind.
func cipherSuites() (ids []uint16) {
	for _, suite := range tls.CipherSuites() {
		if strings.HasPrefix(suite.Name, "TLS_ECDHE_") && !strings.Contains(suite.Name, "_CBC_") {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}

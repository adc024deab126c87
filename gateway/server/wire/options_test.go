package wire_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server/wire"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	h := http.NotFoundHandler()
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		name    string
		options wire.Options
		want    string
	}{
		{"no handler", wire.Options{HTTP1: true}, "Handler"},
		{"no protocol", wire.Options{Handler: h}, "no protocol"},
		{"HTTP/2 without TLS", wire.Options{Handler: h, HTTP2: true}, "no protocol"},
		{"h2c with TLS", wire.Options{Handler: h, HTTP1: true, H2C: true, CertFile: "a", KeyFile: "b"}, "H2C"},
		{"certificate without key", wire.Options{Handler: h, HTTP1: true, CertFile: "a"}, "KeyFile"},
		{"certificate is missing", wire.Options{Handler: h, HTTP1: true, CertFile: missing, KeyFile: missing}, missing},
		{"negative limit", wire.Options{Handler: h, HTTP1: true, MaxHeaderBytes: -1}, "MaxHeaderBytes"},
	} {
		if _, err := wire.New(tt.options); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

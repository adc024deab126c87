package listener_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/listener"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	h := http.NotFoundHandler()
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		name    string
		options listener.Options
		want    string
	}{
		{"no handler", listener.Options{HTTP1: true}, "Handler"},
		{"no protocol", listener.Options{Handler: h}, "no protocol"},
		{"HTTP/2 without TLS", listener.Options{Handler: h, HTTP2: true}, "no protocol"},
		{"h2c with TLS", listener.Options{Handler: h, HTTP1: true, H2C: true, CertFile: "a", KeyFile: "b"}, "H2C"},
		{"certificate without key", listener.Options{Handler: h, HTTP1: true, CertFile: "a"}, "KeyFile"},
		{"certificate is missing", listener.Options{Handler: h, HTTP1: true, CertFile: missing, KeyFile: missing}, missing},
		{"negative limit", listener.Options{Handler: h, HTTP1: true, MaxHeaderBytes: -1}, "MaxHeaderBytes"},
	} {
		if _, err := listener.New(tt.options); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

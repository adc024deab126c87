package httpx_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
)

func TestHostsAreBroughtIntoOneForm(t *testing.T) {
	t.Parallel()
	tests := []struct{ raw, scheme, name, authority string }{
		{"", "http", "", ""},
		{"example.com", "http", "example.com", "example.com"},
		{"EXAMPLE.Com.", "http", "example.com", "example.com"},
		{"example.com:80", "http", "example.com", "example.com"},
		{"example.com:443", "https", "example.com", "example.com"},
		{"example.com:443", "http", "example.com", "example.com:443"},
		{"Example.com.:0808", "http", "example.com", "example.com:808"},
		{"example.com:", "http", "example.com", "example.com"},
		{"example.com:080", "http", "example.com", "example.com"},
		{"my_host:8080", "http", "my_host", "my_host:8080"},
		{"xn--bcher-kva.example", "http", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"192.0.2.1:81", "http", "192.0.2.1", "192.0.2.1:81"},
		{"0.0.0.0=5000", "http", "0.0.0.0=5000", "0.0.0.0=5000"}, // RFC 3986 section 3.2.2: a name
		{"A~!$&'()*+;=.b:81", "http", "a~!$&'()*+;=.b", "a~!$&'()*+;=.b:81"},
		{"[::1]", "http", "[::1]", "[::1]"},
		{"[0:0:0:0:0:0:0:1]:8080", "http", "[::1]", "[::1]:8080"},
		{"[2001:DB8::A]:443", "https", "[2001:db8::a]", "[2001:db8::a]"},
	}
	for _, tt := range tests {
		got, err := httpx.NormalizeHost(tt.raw, tt.scheme)
		if err != nil || got.Name != tt.name || got.Authority != tt.authority {
			t.Errorf("NormalizeHost(%q, %s) = %+v, %v; want %q and %q", tt.raw, tt.scheme, got, err, tt.name, tt.authority)
		}
	}
	for _, raw := range []string{
		":80", ".", "..", "a..b", ".a", "a:b", "a:0", "a:65536", "a:+1", "a:1:2", "a b", "a/b", `a\b`, "a@b", "a%41", "a,b", "bücher.example",
		"[::1", "[::1]x", "[::1]:x", "[1.2.3.4]", "[fe80::1%25eth0]", "::1", "a\x00", strings.Repeat("a", 254),
	} {
		if got, err := httpx.NormalizeHost(raw, "http"); err == nil {
			t.Errorf("NormalizeHost(%q) = %+v, want an error", raw, got)
		}
	}
}

func FuzzNormalizeHost(f *testing.F) {
	for _, seed := range []string{"", "a", "A.:80", "[::1]:8080", "a:b", "[::ffff:1.2.3.4]"} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, raw string, tls bool) {
		scheme := "http"
		if tls {
			scheme = "https"
		}
		n, err := httpx.NormalizeHost(raw, scheme)
		if err != nil {
			return
		}
		again, err := httpx.NormalizeHost(n.Authority, scheme)
		if err != nil || again != n {
			t.Fatalf("%q: normalised twice gives %+v, %v; once %+v", raw, again, err, n)
		}
		if u, err := url.Parse("http://" + n.Authority + "/"); err != nil || u.Host != n.Authority {
			t.Fatalf("%q: %q is no host to net/url: %v", raw, n.Authority, err)
		}
	})
}

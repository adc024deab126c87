package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/headgate/headgate/middleware/clientip"
)

func TestTold(t *testing.T) {
	t.Parallel()
	behind, stranger := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.9")
	for _, c := range []struct {
		name   string
		header string
		peer   netip.Addr
		fields http.Header
		want   clientip.Told
	}{
		{"all of it", xff, behind, http.Header{"X-Forwarded-Proto": {"HTTPS"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Port": {"8443"}},
			clientip.Told{Scheme: "https", Host: "shop.example", Port: "8443"}},
		{"a stranger", xff, stranger, http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Port": {"1"}}, clientip.Told{}},
		{"the last value of the last line", xff, behind, http.Header{"X-Forwarded-Proto": {"http", "http, https"}, "X-Forwarded-Host": {"evil", "evil, shop.example"}},
			clientip.Told{Scheme: "https", Host: "shop.example"}},
		{"an empty last line", xff, behind, http.Header{"X-Forwarded-Proto": {"https", ""}}, clientip.Told{}},
		{"a WebSocket", xff, behind, http.Header{"X-Forwarded-Proto": {"wss"}}, clientip.Told{Scheme: "https"}},
		{"nonsense", xff, behind, http.Header{"X-Forwarded-Proto": {"gopher"}, "X-Forwarded-Port": {"0"}}, clientip.Told{}},
		{"beside a single address", "cf-connecting-ip", behind, http.Header{"X-Forwarded-Proto": {"https"}}, clientip.Told{Scheme: "https"}},
		{"Forwarded is not read", xff, behind, http.Header{"Forwarded": {"proto=https;host=evil"}}, clientip.Told{}},
		{"Forwarded alone is read", forwarded, behind, http.Header{"Forwarded": {"for=1.2.3.4;proto=http;host=evil, for=192.0.2.7;Proto=https;host=\"shop.example:8443\""},
			"X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Port": {"1"}}, clientip.Told{Scheme: "https", Host: "shop.example:8443"}},
		{"an unfinished quote of the client", forwarded, behind, http.Header{"Forwarded": {"host=\"evil, for=192.0.2.7;proto=https"}}, clientip.Told{Scheme: "https"}},
		{"a parameter twice", forwarded, behind, http.Header{"Forwarded": {"proto=https;proto=http"}}, clientip.Told{}},
		{"a broken element", forwarded, behind, http.Header{"Forwarded": {"proto=https;host"}}, clientip.Told{}},
	} {
		if got := behindProxies(t, c.header).Told(c.peer, c.fields); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

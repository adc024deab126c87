package server_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// behindProxy is a server section in which the tests' own connections come from a trusted proxy.
const behindProxy = `server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]%s}
`

// field returns a field of the request that app was sent, as app answers with it.
func (a *answer) field(name string) string {
	for line := range strings.Lines(a.text) {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), name+": "); ok {
			return value
		}
	}
	return ""
}

// Issue 14, number 20. RFC 9110 section 7.6.1 lets a client name any field in Connection. A trusted proxy that passes
// Connection on must not make itself the client by it, and neither may remove what the gateway tells the app server.
func TestConnectionRemovesNothingThatNamesTheClient(t *testing.T) {
	t.Parallel()
	for header, value := range map[string]string{"x-forwarded-for": "203.0.113.7", "forwarded": "for=203.0.113.7"} {
		g := start(t, fmt.Sprintf(behindProxy+anyRoute, ", client_ip_header: "+header, app(t, "a").URL))
		for _, connection := range []string{header, "close, X-FORWARDED-FOR, Forwarded", "upgrade, x-forwarded-for,forwarded"} {
			a := g.do("GET", "/", header, value, "Connection", connection)
			if got := a.field("X-Forwarded-For"); got != "203.0.113.7" {
				t.Errorf("%s with Connection: %s: the client is %q", header, connection, got)
			}
		}
	}
}

func TestConnectionRemovesNothingThatTheGatewayTellsTheApp(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(behindProxy+anyRoute+`clients: {acme: {key_sha256: "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}}
`, "", app(t, "a").URL)) // the SHA-256 of "key"
	ours := []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via", "X-Request-Id", "Traceparent", "Headgate-Client"}
	for _, connection := range []string{"Host, " + strings.Join(ours, ", "), "upgrade, " + strings.Join(ours, ", "), "headgate_client, via"} {
		a := g.do("GET", "/", "Host", "shop.example", "X-Api-Key", "key", "Via", "1.1 front", "X-Forwarded-For", "203.0.113.7", "Connection", connection)
		for _, name := range ours {
			if a.field(name) == "" {
				t.Errorf("Connection: %s: the app server gets no %s:\n%s", connection, name, a.text)
			}
		}
		if a.field("Host") != "shop.example" || !viaPattern.MatchString(a.field("Via")) || a.field("Headgate-Client") != "acme" {
			t.Errorf("Connection: %s:\n%s", connection, a.text)
		}
	}
}

// RFC 9113 section 8.2.2: over HTTP/2 a Connection field makes the request malformed.
func TestConnectionIsRefusedOverHTTP2(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(h2cServer+anyRoute, ", trusted_proxies: [127.0.0.1]", app(t, "a").URL))
	for _, field := range []hpack.HeaderField{{Name: "connection", Value: "x-forwarded-for"}, {Name: "keep-alive", Value: "1"}, {Name: "proxy-connection", Value: "x-forwarded-for"}, {Name: "te", Value: "x-forwarded-for"}} {
		if status := g.statusOverH2C(field, hpack.HeaderField{Name: "x-forwarded-for", Value: "203.0.113.7"}); status != "400" {
			t.Errorf("%s: %s: %s, want 400", field.Name, field.Value, status)
		}
	}
}

// statusOverH2C returns the status of a GET with these fields, or how its stream was reset.
func (g *gateway) statusOverH2C(fields ...hpack.HeaderField) (status string) {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		g.t.Fatal(err)
	}
	framer := http2.NewFramer(c, bufio.NewReader(c))
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: http.MethodGet}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "shop.example"}}, fields...) {
		_ = encoder.WriteField(f)
	}
	if err := framer.WriteSettings(); err != nil {
		g.t.Fatal(err)
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true}); err != nil {
		g.t.Fatal(err)
	}
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			g.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		}
	}
}

// Issue 14, number 21: a header of a single address is believed from a trusted proxy, and reaches the app from none other.
func TestAHeaderOfASingleAddressNamesTheClientForTrustedProxiesAlone(t *testing.T) {
	t.Parallel()
	policy := `server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [%s], client_ip_header: cf-connecting-ip}
` + anyRoute
	behind := start(t, fmt.Sprintf(policy, "127.0.0.1", app(t, "a").URL))
	a := behind.do("GET", "/", "CF-Connecting-IP", "203.0.113.7", "X-Forwarded-For", "198.51.100.1", "Connection", "cf-connecting-ip")
	if got := a.field("X-Forwarded-For"); got != "203.0.113.7" {
		t.Errorf("behind a trusted proxy the client is %q", got)
	}
	open := start(t, fmt.Sprintf(policy, "192.0.2.1", app(t, "a").URL))
	a = open.do("GET", "/", "CF-Connecting-IP", "203.0.113.7", "cf_connecting_ip", "203.0.113.7")
	if a.field("X-Forwarded-For") != "127.0.0.1" || strings.Contains(a.text, "203.0.113.7") {
		t.Errorf("a client that is no trusted proxy names an address:\n%s", a.text)
	}
}

func TestTrustedHopsCountFromTheRight(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(behindProxy+anyRoute, ", trusted_hops: 2", app(t, "a").URL))
	for list, want := range map[string]string{"198.51.100.1, 203.0.113.7, 192.0.2.9": "203.0.113.7", "192.0.2.9": "127.0.0.1"} {
		if got := g.do("GET", "/", "X-Forwarded-For", list).field("X-Forwarded-For"); got != want {
			t.Errorf("%s: the client is %q, want %s", list, got, want)
		}
	}
}

// Issue 14, number 22: the scheme that a trusted proxy tells is the request's, to the app server and in cookies.
func TestTheSchemeIsWhatATrustedProxyTells(t *testing.T) {
	t.Parallel()
	policy := `upstreams: {shop: {servers: [%s], balance: cookie}}
routes: [{name: all, path: /*, upstream: shop}]
session: {secrets: [` + strings.Repeat("s", 32) + `]}
`
	for _, c := range []struct{ server, header, value, want string }{
		{"", "X-Forwarded-Proto", "https", "https"},
		{"", "X-Forwarded-Proto", "https, http", "http"},
		{"", "Forwarded", "proto=https", "http"},
		{", client_ip_header: forwarded", "Forwarded", "for=203.0.113.7;proto=https", "https"},
		{", client_ip_header: forwarded", "X-Forwarded-Proto", "https", "http"},
		{", trust_forwarded: []", "X-Forwarded-Proto", "https", "http"},
		{", public_scheme: https", "X-Other", "", "https"},
		{", public_scheme: https", "X-Forwarded-Proto", "http", "http"},
	} {
		g := start(t, fmt.Sprintf(behindProxy+policy, c.server, app(t, "a").URL))
		a := g.do("GET", "/", "Host", "shop.example:443", c.header, c.value, "Connection", c.header)
		name := fmt.Sprintf("%q with %s: %s", c.server, c.header, c.value)
		if got := a.field("X-Forwarded-Proto"); got != c.want || !strings.HasSuffix(a.field("Forwarded"), ";proto="+c.want) {
			t.Errorf("%s: the app server gets %s, %s, want %s", name, got, a.field("Forwarded"), c.want)
		}
		if wantHost := map[string]string{"https": "shop.example", "http": "shop.example:443"}[c.want]; a.field("X-Forwarded-Host") != wantHost {
			t.Errorf("%s: the host is %s, want %s", name, a.field("X-Forwarded-Host"), wantHost)
		}
		if cookies := a.Cookies(); len(cookies) != 1 || cookies[0].Secure != (c.want == "https") {
			t.Errorf("%s: cookies %v", name, cookies)
		}
	}
}

func TestTheHostIsWhatATrustedProxyTellsWhereItIsNamed(t *testing.T) {
	t.Parallel()
	shop, other := app(t, "shop"), app(t, "other")
	for facts, want := range map[string]string{
		"[proto]":             "shop shop.example",
		"[proto, host]":       "other other.example",
		"[proto, port]":       "shop shop.example:8443",
		"[proto, host, port]": "other other.example:8443",
	} {
		g := start(t, fmt.Sprintf(behindProxy+`upstreams: {shop: {servers: [%s]}, other: {servers: [%s]}}
caches: {c: {ttl: 1m}}
routes:
  - {name: other, host: other.example, path: /*, upstream: other, cache: c}
  - {name: shop, path: /*, upstream: shop, cache: c}
`, ", trust_forwarded: "+facts, shop.URL, other.URL))
		told := []string{"Host", "shop.example", "X-Forwarded-Host", "evil, other.example", "X-Forwarded-Port", "8443", "X-Forwarded-Proto"}
		a := g.do("GET", "/", append(told, "https")...)
		if got := a.Header.Get("App") + " " + a.field("Host"); got != want {
			t.Errorf("%s: %s, want %s", facts, got, want)
		}
		// Scheme and host are part of the cache's key.
		if a := g.do("GET", "/", append(told, "https")...); !strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("%s: the same request: %s", facts, a.Header.Get("Cache-Status"))
		}
		if a := g.do("GET", "/", append(told, "http")...); strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("%s: another scheme: %s", facts, a.Header.Get("Cache-Status"))
		}
		if strings.Contains(facts, "host") {
			if a := g.do("GET", "/", "X-Forwarded-Host", "a b"); a.StatusCode != 400 {
				t.Errorf("%s: a host that is none: %d", facts, a.StatusCode)
			}
		}
	}
}

// The CSRF check compares Origin with the host that the browser asked for, which the proxy may have replaced.
func TestTheCSRFCheckGoesByTheHostThatATrustedProxyTells(t *testing.T) {
	t.Parallel()
	for facts, want := range map[string]int{"[proto]": 403, "[proto, host]": 200} {
		g := start(t, fmt.Sprintf(behindProxy+`upstreams: {shop: {servers: [%s]}}
routes: [{name: login, path: /*, upstream: shop, session: login}]
`, ", trust_forwarded: "+facts, app(t, "a").URL))
		a := g.do("POST", "/login", "Host", "internal:8080", "Origin", "https://shop.example", "X-Forwarded-Host", "shop.example", "X-Forwarded-Proto", "https")
		if a.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", facts, a.StatusCode, want, a.text)
		}
	}
}

// Explain takes the address that it is given for the peer's, as serve does.
func TestExplainGoesByWhatATrustedProxyTells(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(behindProxy+anyRoute, ", trust_forwarded: [proto, host], client_ip_header: cf-connecting-ip", app(t, "a").URL))
	header := http.Header{"Cf-Connecting-Ip": {"203.0.113.7"}, "X-Forwarded-Host": {"other.example"}, "X-Forwarded-Proto": {"https"}}
	for peer, want := range map[string]string{"127.0.0.1": "203.0.113.7 other.example", "192.0.2.9": "192.0.2.9 shop.example:443"} {
		e, err := g.Explain(t.Context(), pipeline.Question{URL: "http://shop.example:443/", IP: peer, Header: header})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Client + " " + e.Host; got != want {
			t.Errorf("from %s: %s, want %s", peer, got, want)
		}
	}
}

// Issue 14, number 19.
func TestAForwardedHeaderFromAPeerThatIsNotTrustedIsTold(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"X-Forwarded-For", "Forwarded"} {
		log := new(lockedBuffer)
		g := start(t, fmt.Sprintf(anyRoute, app(t, "a").URL), func(o *server.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		want := "127.0.0.1 sends " + header + " and is not in server.trusted_proxies"
		g.do("GET", "/")
		if strings.Contains(log.String()+g.admin("GET", "/readyz?verbose").text, "trusted_proxies") {
			t.Fatalf("%s: told before there was one", header)
		}
		for range 3 {
			g.do("GET", "/", header, "for=203.0.113.7")
		}
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%s: logged %d times:\n%s", header, n, log.String())
		}
		if n := g.metric("headgate_untrusted_forwarded_total"); n != 3 {
			t.Errorf("%s: counted %v times", header, n)
		}
		if text := g.admin("GET", "/readyz?verbose").text; !strings.Contains(text, "warning: "+want) {
			t.Errorf("%s: /readyz?verbose says %s", header, text)
		}
	}
	trusted := start(t, fmt.Sprintf(behindProxy+anyRoute, "", app(t, "a").URL))
	trusted.do("GET", "/", "X-Forwarded-For", "203.0.113.7")
	if n := trusted.metric("headgate_untrusted_forwarded_total"); n != 0 {
		t.Errorf("from a trusted proxy: counted %v times", n)
	}
}

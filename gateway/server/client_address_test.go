package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

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
		if a.field("Host") != "shop.example" || a.field("Via") != "1.1 front, 1.1 headgate" || a.field("Headgate-Client") != "acme" {
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

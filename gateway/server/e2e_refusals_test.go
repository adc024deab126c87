package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
)

// ask sends a request with any client and returns the answer with its body read.
func ask(t *testing.T, client *http.Client, method, url string, body io.Reader, change ...func(*http.Request)) *answer {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{Response: res, text: string(text)}
}

// eachProtocol runs a test against a gateway over HTTP/1.1, HTTP/2 and h2c.
func eachProtocol(t *testing.T, more, policy string, test func(t *testing.T, g *gateway, base string, client *http.Client), change ...func(*server.Options)) {
	for _, protocol := range []string{"http/1.1", "h2", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			section, scheme := fmt.Sprintf(h2cServer, more), "http"
			if protocol == "h2" {
				section, scheme = newKeyPair(t).server(more), "https"
			}
			g := start(t, section+policy, change...)
			test(t, g, scheme+"://"+g.Addr(), clientOf(t, protocol))
		})
	}
}

func TestRefusalsAreProblemsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	policy := fmt.Sprintf(`
upstreams: {app: {servers: [%q]}}
caches: {pages: {ttl: 1m}}
routes: [{name: all, path: /*, methods: [GET, POST, PUT], upstream: app, cache: pages}]
`, app(t, "app").URL)
	eachProtocol(t, ", max_body: 64KiB, max_header_bytes: 16KiB", policy, func(t *testing.T, g *gateway, base string, client *http.Client) {
		large := strings.Repeat("x", 200<<10)
		for name, test := range map[string]struct {
			status int
			answer func(t *testing.T) *answer
		}{
			"header too large": {431, func(t *testing.T) *answer {
				return ask(t, client, "GET", base+"/", nil, func(r *http.Request) { r.Header.Set("X-Large", large[:20<<10]) })
			}},
			"many headers too large together": {431, func(t *testing.T) *answer {
				return ask(t, client, "GET", base+"/", nil, func(r *http.Request) {
					for i := range 100 {
						r.Header.Set(fmt.Sprintf("X-Large-%d", i), large[:200])
					}
				})
			}},
			"body too large, as declared": {413, func(t *testing.T) *answer {
				return ask(t, client, "POST", base+"/", strings.NewReader(large))
			}},
			"body too large, as it turns out": {413, func(t *testing.T) *answer {
				return ask(t, client, "PUT", base+"/", io.MultiReader(strings.NewReader(large)))
			}},
			"path that could be another": {400, func(t *testing.T) *answer {
				return ask(t, client, "GET", base+"/a/..%2Fb", nil)
			}},
			"host that is none": {400, func(t *testing.T) *answer {
				return ask(t, client, "GET", base+"/", nil, func(r *http.Request) { r.Host = "a%41b" })
			}},
			"wrong method": {405, func(t *testing.T) *answer { return ask(t, client, "DELETE", base+"/", nil) }},
		} {
			t.Run(name, func(t *testing.T) {
				a := test.answer(t)
				if a.StatusCode != test.status || a.problem(t).Status != test.status || a.problem(t).Title == "" {
					t.Errorf("%d %v: %s", a.StatusCode, a.Header, a.text)
				}
				// Nothing of it is left behind.
				if a := ask(t, client, "POST", base+"/after", strings.NewReader("fine")); a.StatusCode != 200 || !strings.HasSuffix(a.text, "\nfine") {
					t.Errorf("the next request: %d %s", a.StatusCode, a.text)
				}
			})
		}
		// The limit is the policy's, and what is below it passes.
		if a := ask(t, client, "GET", base+"/", nil, func(r *http.Request) { r.Header.Set("X-Large", large[:12<<10]) }); a.StatusCode != 200 {
			t.Errorf("12 KiB of header: %d", a.StatusCode)
		}
		if a := ask(t, client, "POST", base+"/", io.MultiReader(strings.NewReader(large[:64<<10]))); a.StatusCode != 200 {
			t.Errorf("64 KiB of body: %d", a.StatusCode)
		}
	})
}

func TestSlowHeaderIsRefusedWith408(t *testing.T) {
	t.Parallel()
	g := start(t, `server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, read_header_timeout: 300ms}
`+fmt.Sprintf(anyRoute, app(t, "app").URL))
	a := g.raw("GET / HTTP/1.1\r\nHost: a\r\n")
	if a.StatusCode != 408 || a.problem(t).Status != 408 || !a.Close {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.text)
	}
	eventually(t, "the log has it", func() bool { return strings.Contains(g.log.String(), `"status":408`) })
}

func TestSlowBodyIsRefusedWith408(t *testing.T) {
	t.Parallel()
	impatient := func(o *server.Options) { o.BodyGrace = 300 * time.Millisecond }
	eachProtocol(t, "", fmt.Sprintf(anyRoute, app(t, "app").URL), func(t *testing.T, g *gateway, base string, client *http.Client) {
		body, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("no more than this"))
		a := ask(t, client, "POST", base+"/", body)
		if a.StatusCode != 408 || a.problem(t).Status != 408 {
			t.Errorf("%d %v %s", a.StatusCode, a.Header, a.text)
		}
	}, impatient)
}

// The policy's bounds on slow clients are the listener's.
func TestSlowClientsHaveThePolicysBounds(t *testing.T) {
	t.Parallel()
	keys := func(keys string) string {
		return `server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, ` + keys + "}\n"
	}
	impatient := func(o *server.Options) { o.BodyGrace = 300 * time.Millisecond }
	const slow = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"

	t.Run("body_timeout", func(t *testing.T) {
		t.Parallel()
		g := start(t, keys("body_timeout: 300ms, min_body_rate: 0")+fmt.Sprintf(anyRoute, app(t, "app").URL))
		if a := g.raw(slow); a.StatusCode != 408 {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
	})
	t.Run("min_body_rate", func(t *testing.T) {
		t.Parallel()
		g := start(t, keys("min_body_rate: 0")+fmt.Sprintf(anyRoute, app(t, "app").URL), impatient)
		pr, pw := io.Pipe()
		go func() {
			_, _ = io.WriteString(pw, "ab")
			time.Sleep(time.Second) // longer than the grace
			pw.Close()
		}()
		if a := ask(t, http.DefaultClient, "POST", "http://"+g.Addr()+"/", pr); a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
	})
	t.Run("write_timeout", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			block := make([]byte, 1<<20)
			for {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}))
		t.Cleanup(endless.Close)
		g := start(t, keys("write_timeout: 1s")+fmt.Sprintf(anyRoute, endless.URL))
		c, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		select {
		case <-gone:
		case <-time.After(40 * time.Second): // below the default
			t.Error("the app still writes")
		}
	})
}

func TestRenewedCertificateIsUsedWithoutAReload(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t)
	g := start(t, pair.server("")+fmt.Sprintf(anyRoute, app(t, "app").URL))
	shown := func() string {
		c, err := tls.Dial("tcp", g.Addr(), anyCertificate())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	kept := clientOf(t, "h2")
	get := func() {
		t.Helper()
		if a := ask(t, kept, "GET", "https://"+g.Addr()+"/", nil); a.StatusCode != 200 {
			t.Errorf("on the kept connection: %d", a.StatusCode)
		}
	}
	get()
	if name := shown(); name != "first" {
		t.Fatalf("shown: %s", name)
	}
	pair.issue(t, "second")
	eventually(t, "the renewed certificate is shown", func() bool { return shown() == "second" })
	get()
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	const most = 3
	g := start(t, fmt.Sprintf(`server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, max_connections_per_ip: %d}
`, most)+fmt.Sprintf(anyRoute, app(t, "app").URL))
	served := func(c net.Conn) bool {
		if c == nil {
			return false
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return false
		}
		buf := make([]byte, 1024)
		n, err := c.Read(buf)
		return err == nil && bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200"))
	}
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", g.Addr())
		if errors.Is(err, syscall.ECONNRESET) { // closed before it was open
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var open []net.Conn
	for range most {
		c := dial("127.0.0.1")
		if !served(c) {
			t.Fatal("one within the bound was not served")
		}
		open = append(open, c)
	}
	if served(dial("127.0.0.1")) {
		t.Error("one more was served")
	}
	if !served(dial("127.0.0.2")) {
		t.Error("another address was not served")
	}
	open[0].Close()
	eventually(t, "a place is free again", func() bool { return served(dial("127.0.0.1")) })
}

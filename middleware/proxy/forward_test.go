package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headgate/headgate/middleware/proxy"
)

// raw sends bytes over a connection of its own and returns the response.
func raw(t *testing.T, server *httptest.Server, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestRequestTargetIsForwardedByteForByte(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})
	for _, target := range []string{
		"/", "/a/b", "/a%2Fb", "/a%20b", "/caf%C3%A9", "/a;b=c", "//double", "/a/../b",
		"/?", "/?a=1;b=2", "/?a=%zz&b", "/?&&", "/?a=b=c", "/?q=a+b%20c", "/?%", "/?a=1&a=2&B=3",
		"*",
	} {
		method := "GET"
		if target == "*" {
			method = "OPTIONS"
		}
		res := raw(t, gw, method+" "+target+" HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		body, err := io.ReadAll(res.Body)
		if err != nil || (string(body) != target && target != "*") {
			t.Errorf("%s arrived as %s (%v)", target, body, err)
		}
	}
}

func TestUnknownMethodsAreForwarded(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method) })
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})
	for _, method := range []string{"PURGE", "PROPFIND", "LOCK", "brew", "QUERY"} {
		req, _ := http.NewRequest(method, gw.URL, nil)
		if got := do(t, req); got.body != method {
			t.Errorf("%s arrived as %q, %v", method, got.body, got.err)
		}
	}
	res := raw(t, gw, "CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n\r\n")
	if res.StatusCode != http.StatusNotImplemented {
		t.Errorf("CONNECT: %d", res.StatusCode)
	}
	res = raw(t, gw, "TRACE / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
	if res.StatusCode != http.StatusNotImplemented {
		t.Errorf("TRACE: %d", res.StatusCode)
	}
}

// RFC 9110 section 7.6.2.
func TestOptionsAreForwardedAsOftenAsTheClientSays(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.Method, r.Header["Max-Forwards"])
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})
	for _, tt := range []struct{ method, send, want string }{
		{"OPTIONS", "1", `OPTIONS ["0"]`},
		{"OPTIONS", "10", `OPTIONS ["9"]`},
		{"OPTIONS", "0", ""},
		{"OPTIONS", "000", ""},
		{"OPTIONS", "-1", `OPTIONS ["-1"]`},
		{"OPTIONS", "many", `OPTIONS ["many"]`},
		{"GET", "0", `GET ["0"]`},
	} {
		req, _ := http.NewRequest(tt.method, gw.URL, nil)
		req.Header.Set("Max-Forwards", tt.send)
		if got := do(t, req); got.body != tt.want || got.err != nil {
			t.Errorf("%s with %s arrived as %q, %v", tt.method, tt.send, got.body, got.err)
		}
	}
}

func TestHostIsPreservedUnlessTheRouteRewritesIt(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Host, r.Header.Get("X-Forwarded-Host"))
	})
	appHost := strings.TrimPrefix(app.URL, "http://")
	for rewrite, want := range map[bool]string{false: "shop.test:81 shop.test:81", true: appHost + " shop.test:81"} {
		gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{RewriteHost: rewrite})
		res := raw(t, gw, "GET / HTTP/1.1\r\nHost: shop.test:81\r\nConnection: close\r\n\r\n")
		body, _ := io.ReadAll(res.Body)
		if string(body) != want {
			t.Errorf("rewrite %t: got %q, want %q", rewrite, body, want)
		}
	}
}

func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	type headers = map[string]string
	for _, tc := range []struct {
		name string
		send string // header lines
		want headers
		gone []string
	}{
		{
			name: "the client is described",
			want: headers{
				"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "http",
				"Forwarded": "for=192.0.2.7;host=shop.test;proto=http", "Via": "1.1 headgate",
			},
		},
		{
			name: "what the client says about itself is dropped",
			send: "X-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 7.7.7.7\nForwarded: for=6.6.6.6\nX-Forwarded-Proto: https\n" +
				"X-Forwarded-Host: evil\nX-Forwarded-Port: 1\nX-Forwarded-Prefix: /x\nX-Real-IP: 6.6.6.6\n" +
				"X-Original-URL: /admin\nX-Rewrite-URL: /admin\nX-HTTP-Method-Override: DELETE\nX-HTTP-Method: DELETE\n",
			want: headers{
				"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "http",
				"Forwarded": "for=192.0.2.7;host=shop.test;proto=http",
			},
			gone: []string{"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method"},
		},
		{
			name: "in any spelling",
			send: "x_forwarded_for: 6.6.6.6\nX.Forwarded.Proto: https\nX_Forwarded-Host: evil\nx_real_ip: 6.6.6.6\n" +
				"X!Original~URL: /admin\nx_http_method_override: DELETE\nX-FORWARDED_PREFIX: /x\n",
			want: headers{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"},
			gone: []string{"X_forwarded_for", "X.forwarded.proto", "X_forwarded-Host", "X_real_ip", "X!original~url", "X_http_method_override", "X-Forwarded_prefix"},
		},
		{
			name: "what only looks alike stays",
			send: "X-Forward: 1\nX-Real-IPs: 2\nForwarded-By: 3\nX-Original-URLs: 4\n",
			want: headers{"X-Forward": "1", "X-Real-Ips": "2", "Forwarded-By": "3", "X-Original-Urls": "4"},
		},
		{
			name: "Connection names what is dropped",
			send: "Connection: X-Foo, keep-alive\nX-Foo: 1\nX-Bar: 2\n",
			want: headers{"X-Bar": "2"},
			gone: []string{"X-Foo", "Connection"},
		},
		{
			name: "Connection removes nothing of ours",
			send: "Connection: X-Forwarded-For, Forwarded, X-Forwarded-Host, X-Forwarded-Proto, Via, X-Request-Id, Traceparent, Headgate-User\n" +
				"X-Request-Id: r1\nHeadgate-User: 42\nTraceparent: " + traceparent + "\n",
			want: headers{
				"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "http", "Via": "1.1 headgate",
				"Forwarded": "for=192.0.2.7;host=shop.test;proto=http", "X-Request-Id": "r1", "Headgate-User": "42", "Traceparent": traceparent,
			},
		},
		{
			name: "hop-by-hop fields stay on their hop",
			send: "Proxy-Connection: keep-alive\nKeep-Alive: timeout=5\nProxy-Authorization: Basic eDp5\nTE: gzip\nUpgrade: h2c\nTrailer: X-T\n",
			gone: []string{"Proxy-Connection", "Keep-Alive", "Proxy-Authorization", "Te", "Upgrade", "Trailer"},
		},
		{name: "TE: trailers is for servers of gRPC", send: "TE: trailers\n", want: headers{"Te": "trailers"}},
		{name: "Via grows", send: "Via: 1.0 fred\nVia: 1.1 p.test\n", want: headers{"Via": "1.0 fred, 1.1 p.test, 1.1 headgate"}},
		{name: "a traceparent is passed on", send: "Traceparent: " + traceparent + "\nTracestate: a=1\n",
			want: headers{"Traceparent": traceparent, "Tracestate": "a=1"}},
		{name: "an invalid traceparent goes, with its state", send: "Traceparent: 00-0-0-01\nTracestate: a=1\n", gone: []string{"Tracestate"}},
		{name: "no User-Agent is made up", send: "", gone: []string{"User-Agent"}},
		{name: "no Accept-Encoding is made up", send: "", gone: []string{"Accept-Encoding"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := make(chan http.Header, 1)
			app := origin(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Header.Clone() })
			u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{})
			gw := front(t, from("192.0.2.7", u.Handler(proxy.RouteOptions{})))
			raw(t, gw, "GET / HTTP/1.1\r\nHost: shop.test\r\n"+strings.ReplaceAll(tc.send, "\n", "\r\n")+"\r\n")
			h := <-got
			for name, want := range tc.want {
				if diff := cmp.Diff([]string{want}, h[name]); diff != "" {
					t.Errorf("%s: (-want +got)\n%s", name, diff)
				}
			}
			for _, name := range tc.gone {
				if v, ok := h[name]; ok {
					t.Errorf("%s: %q arrived", name, v)
				}
			}
			if tp := h["Traceparent"]; len(tp) != 1 || len(tp[0]) != 55 {
				t.Errorf("no valid traceparent: %q", tp)
			}
		})
	}
}

func TestForwardedQuotesWhatIsNoToken(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Forwarded")) })
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{})
	gw := front(t, from("2001:db8::1", u.Handler(proxy.RouteOptions{Scheme: func(*http.Request) string { return "https" }})))
	res := raw(t, gw, "GET / HTTP/1.1\r\nHost: shop.test:8443\r\nConnection: close\r\n\r\n")
	body, _ := io.ReadAll(res.Body)
	if want := `for="[2001:db8::1]";host="shop.test:8443";proto=https`; string(body) != want {
		t.Errorf("got %s, want %s", body, want)
	}
}

func TestRouteHooksSeeWhatCrosses(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Headgate-Login", "42")
		w.Header().Set("X-Path", r.URL.Path)
		w.Header().Set("Via", "1.1 inner")
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.Out.URL.Path = "/new" },
		ModifyResponse: func(res *http.Response) error {
			res.Header.Del("Headgate-Login")
			return nil
		},
	})
	got := get(t, gw.URL+"/old")
	if got.header.Get("Headgate-Login") != "" || got.header.Get("X-Path") != "/new" {
		t.Errorf("hooks were not heeded: %v", got.header)
	}
	if via := got.header.Get("Via"); via != "1.1 inner, 1.1 headgate" {
		t.Errorf("Via: %q", via)
	}
}

func TestInterimResponsesAndTrailersAreFiltered(t *testing.T) {
	t.Parallel()
	requestTrailer := make(chan http.Header, 1)
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		requestTrailer <- r.Trailer
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Headgate-Login", "42")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum, Headgate-Logout")
		w.Header().Del("Headgate-Login")
		_, _ = io.WriteString(w, "hello")
		w.Header().Set("X-Sum", "1")
		w.Header().Set("Headgate-Logout", "everywhere")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		w.Header().Set(http.TrailerPrefix+"Headgate-Session-Merge", "{}")
	})
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{Filter: func(h http.Header) {
		for name := range h {
			if strings.HasPrefix(name, "Headgate-") {
				delete(h, name)
			}
		}
	}})
	gw := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "r1") // set before, as the gateway does: a 103 must not take it away
		h.ServeHTTP(w, r)
	}))

	var hints textproto.MIMEHeader
	req, _ := http.NewRequest("POST", gw.URL, io.MultiReader(strings.NewReader("body"))) // chunked
	req.Trailer = http.Header{"X-Client": {"c"}, "Headgate-User": {"1"}, "X-Forwarded-For": {"6.6.6.6"}}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				hints = h
			}
			return nil
		},
	}))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "hello" {
		t.Fatalf("%q, %v", body, err)
	}
	if diff := cmp.Diff(textproto.MIMEHeader{"Link": {"</a.css>; rel=preload"}}, hints); diff != "" {
		t.Errorf("103 (-want +got)\n%s", diff)
	}
	if res.Header.Get("X-Request-Id") != "r1" {
		t.Errorf("the 103 took the final response's header away: %v", res.Header)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"1"}, "X-Late": {"2"}}, res.Trailer); diff != "" {
		t.Errorf("response trailer (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Client": {"c"}}, <-requestTrailer); diff != "" {
		t.Errorf("request trailer (-want +got)\n%s", diff)
	}
}

func TestExpectContinueReachesTheServerAndItsRefusalTheClient(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Header.Get("Expect"), body)
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})

	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", line)
	}
	_, _ = br.ReadString('\n')
	fmt.Fprint(conn, "data")
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if string(body) != "100-continue data" {
		t.Errorf("got %q", body)
	}
	res = raw(t, gw, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d", res.StatusCode)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	ok := servers("http://127.0.0.1:1")
	for _, tc := range []struct {
		cfg  proxy.Config
		want string
	}{
		{proxy.Config{}, "it has no servers"},
		{proxy.Config{Servers: servers("127.0.0.1:80")}, "servers[0].url: "},
		{proxy.Config{Servers: servers("ftp://a")}, `reached by "ftp"`},
		{proxy.Config{Servers: servers("http://")}, "is not a server's URL"},
		{proxy.Config{Servers: servers("http://a/base")}, "is more than a server"},
		{proxy.Config{Servers: servers("http://u:p@a")}, "user or password"},
		{proxy.Config{Servers: servers("http://a?x=1")}, "is more than a server"},
		{proxy.Config{Servers: servers("http://a", "http://A/")}, "stands twice"},
		{proxy.Config{Servers: []proxy.Server{{URL: "http://a", Weight: 1001}}}, "servers[0].weight: 1001"},
		{proxy.Config{Servers: ok, Balance: "fair"}, `unknown balance "fair"`},
		{proxy.Config{Servers: ok, Protocol: "spdy"}, `unknown protocol "spdy"`},
		{proxy.Config{Servers: ok, Protocol: proxy.HTTP2}, "needs TLS"},
		{proxy.Config{Servers: servers("https://a"), Protocol: proxy.H2C}, "without TLS"},
		{proxy.Config{Servers: ok, Retries: 11}, "retries: 11"},
		{proxy.Config{Servers: ok, RetryBudget: 1.5}, "retry_budget: 1.5"},
		{proxy.Config{Servers: ok, HealthCheck: proxy.HealthCheck{Path: "healthz"}}, "is not a path"},
		{proxy.Config{Servers: ok, ConnectTimeout: -1}, `"connect_timeout" can't be zero`},
		{proxy.Config{Servers: ok, TLS: proxy.TLS{CertFile: "a"}}, "both its certificate and its key"},
		{proxy.Config{Servers: ok, TLS: proxy.TLS{CAFile: "/nonexistent"}}, "/nonexistent"},
		{proxy.Config{Servers: ok, Ejection: proxy.Ejection{Failures: -1}}, "ejection.failures: -1"},
	} {
		_, err := proxy.New(proxy.Options{Name: "shop", Config: tc.cfg, Logger: quiet()})
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "upstream shop") {
			t.Errorf("want an error with %q, got %v", tc.want, err)
		}
	}
	if _, err := proxy.New(proxy.Options{Name: "shop", Config: proxy.Config{Servers: ok}}); err == nil {
		t.Error("a missing logger went unnoticed")
	}
}

package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// tcpServer runs a server that handles raw connections.
func tcpServer(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// deadServer returns the URL of a port that nothing listens on.
func deadServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// resetting resets every connection once the request has come.
func resetting(t testing.TB, hits *atomic.Int64) string {
	return tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		hits.Add(1)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
}

// resettingLate does so after more of the body than is kept.
func resettingLate(t testing.TB, hits *atomic.Int64) string {
	return tcpServer(t, func(c net.Conn) {
		_, _ = io.CopyN(io.Discard, c, 4*proxy.MaxReplay)
		hits.Add(1)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
}

// hanging takes requests and never answers.
func hanging(t testing.TB, hits *atomic.Int64) string {
	return tcpServer(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			hits.Add(1)
		}
		_, _ = io.Copy(io.Discard, c)
	})
}

func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	garbage := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "SSH-2.0-OpenSSH\r\n")
	})
	chatty := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		for range 100 {
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
		}
	})
	for _, tc := range []struct {
		name   string
		server string
		opts   proxy.RouteOptions
		body   string
		limit  int64
		kind   proxy.Kind
		status int
	}{
		{name: "nobody listens", server: deadServer(t), kind: proxy.KindConnect, status: 502},
		{name: "reset", server: resetting(t, &hits), kind: proxy.KindBroken, status: 502},
		{name: "silence", server: hanging(t, &hits), opts: proxy.RouteOptions{Timeout: 50 * time.Millisecond}, kind: proxy.KindTimeout, status: 504},
		{name: "not HTTP", server: garbage, kind: proxy.KindBroken, status: 502},
		{name: "endless interim responses", server: chatty, kind: proxy.KindBroken, status: 502},
		{
			name: "body over the limit", server: origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }).URL,
			opts: proxy.RouteOptions{Unbuffered: true},
			body: strings.Repeat("x", 2000), limit: 1000, kind: proxy.KindBodyTooLarge, status: 413,
		},
		{
			name: "refused", server: named(t, "a").URL,
			opts: proxy.RouteOptions{ModifyResponse: func(*http.Response) error { return errors.New("malformed Headgate-Login") }},
			kind: proxy.KindRefused, status: 502,
		},
		{
			name: "refused with a status", server: named(t, "a").URL,
			opts: proxy.RouteOptions{ModifyResponse: func(*http.Response) error {
				return fmt.Errorf("saving the session: %w", &proxy.Error{Status: 503})
			}},
			kind: proxy.KindRefused, status: 503,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			failures := make(chan *proxy.Error, 1)
			tc.opts.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *proxy.Error) {
				failures <- e
				w.WriteHeader(e.Status)
			}
			u := newUpstream(t, proxy.Config{Servers: servers(tc.server)}, proxy.Options{})
			h := u.Handler(tc.opts)
			gw := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tc.limit > 0 {
					r.Body = http.MaxBytesReader(w, r.Body, tc.limit)
				}
				h.ServeHTTP(w, r)
			}))
			req, _ := http.NewRequest("POST", gw.URL, io.MultiReader(strings.NewReader(tc.body)))
			got := do(t, req)
			e := <-failures
			if e.Kind != tc.kind || e.Status != tc.status || got.status != tc.status {
				t.Errorf("got %v (%d), want %s (%d); the client saw %d", e.Kind, e.Status, tc.kind, tc.status, got.status)
			}
			if e.Server != tc.server || e.Upstream != "shop" || !strings.Contains(e.Error(), tc.server) {
				t.Errorf("the error does not say where: %v", e)
			}
			if blamed := u.Status()[0].Failures == 1; blamed != (tc.status/100 == 5 && tc.kind != proxy.KindRefused) {
				t.Errorf("held against the server: %t", blamed)
			}
		})
	}
}

func TestMalformedRequestBodyIsTheClientsFault(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	res := raw(t, gw, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %d", res.StatusCode)
	}
	eventually(t, "the server is not blamed, nor asked", func() bool {
		s := u.Status()[0]
		return s.Active == 0 && s.Requests == 0 && s.Failures == 0
	})
}

func TestClientThatGoesAwayIsNotHeldAgainstTheServer(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	kinds := make(chan proxy.Kind, 10)
	u := newUpstream(t, proxy.Config{Servers: servers(hanging(t, &hits), named(t, "b").URL), Retries: 1, Balance: proxy.RoundRobin},
		proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
	called := false
	gw := front(t, u.Handler(proxy.RouteOptions{ErrorHandler: func(http.ResponseWriter, *http.Request, *proxy.Error) { called = true }}))
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", gw.URL, nil)
	go func() {
		for hits.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if got := do(t, req); got.err == nil {
		t.Errorf("got %d", got.status)
	}
	if kind := <-kinds; kind != proxy.KindClientGone {
		t.Errorf("got %q", kind)
	}
	gw.Close()
	if s := u.Status()[0]; s.Failures != 0 || s.Active != 0 || called {
		t.Errorf("%+v, error handler called: %t", s, called)
	}
	if s := u.Status()[1]; s.Requests != 0 {
		t.Errorf("the request was tried again: %+v", s)
	}
}

func TestTruncatedResponseIsNeverCompleted(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"Content-Length: 100000\r\n\r\nhello",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		for _, front1 := range []string{"HTTP/1.1", "HTTP/1.0", "no server context"} {
			app := tcpServer(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
			})
			kinds := make(chan proxy.Kind, 1)
			u := newUpstream(t, proxy.Config{Servers: servers(app, named(t, "b").URL), Retries: 1},
				proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
			h := u.Handler(proxy.RouteOptions{})
			if front1 == "no server context" {
				func() {
					defer func() {
						if p := recover(); p != http.ErrAbortHandler {
							t.Errorf("recovered %v", p)
						}
					}()
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
				}()
			} else {
				conn, err := net.Dial("tcp", front(t, h).Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "GET / "+front1+"\r\nHost: a\r\n\r\n")
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err == nil {
					_, err = io.ReadAll(res.Body)
				}
				// HTTP/1.0 has no way to tell where a body of unknown length ends.
				if err == nil && (front1 == "HTTP/1.1" || res.ContentLength >= 0) {
					t.Errorf("%q: got a complete response", head)
				}
			}
			if kind := <-kinds; kind != proxy.KindTruncated {
				t.Errorf("%q: observed %q", head, kind)
			}
			if s := u.Status(); s[0].Failures != 1 || s[1].Requests != 0 {
				t.Errorf("%q: %+v", head, s)
			}
		}
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		failing func(testing.TB, *atomic.Int64) string
		method  string
		body    string
		header  string
		retries int
		want    int
	}{
		{name: "GET after a reset", failing: resetting, method: "GET", retries: 1, want: 200},
		{name: "not after silence", failing: hanging, method: "GET", retries: 1, want: 504},
		{name: "not without retries", failing: resetting, method: "GET", retries: 0, want: 502},
		{name: "HEAD", failing: resetting, method: "HEAD", retries: 1, want: 200},
		{name: "DELETE", failing: resetting, method: "DELETE", retries: 1, want: 200},
		{name: "PUT with a body", failing: resetting, method: "PUT", body: "hello", retries: 1, want: 200},
		{name: "not a PUT after silence", failing: hanging, method: "PUT", body: "hello", retries: 1, want: 504},
		{name: "PUT with a body that is too long to keep", failing: resettingLate, method: "PUT", body: strings.Repeat("x", 1<<20), retries: 1, want: 502},
		{name: "not POST", failing: resetting, method: "POST", retries: 1, want: 502},
		{name: "not POST with a body", failing: resetting, method: "POST", body: "hello", retries: 1, want: 502},
		{name: "not POST, whatever the client says", failing: resetting, method: "POST", header: "Idempotency-Key", retries: 1, want: 502},
		{name: "not an unknown method", failing: resetting, method: "BREW", retries: 1, want: 502},
		{name: "POST that never left", failing: func(t testing.TB, _ *atomic.Int64) string { return deadServer(t) }, method: "POST", body: "hello", retries: 1, want: 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var failed, served atomic.Int64
			good := origin(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				served.Add(1)
				if string(body) != tc.body {
					t.Errorf("the second server got %q", body)
				}
			})
			u := newUpstream(t, proxy.Config{Servers: servers(tc.failing(t, &failed), good.URL), Retries: tc.retries, Timeout: 200 * time.Millisecond}, proxy.Options{})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			req, _ := http.NewRequest(tc.method, gw.URL, io.MultiReader(strings.NewReader(tc.body)))
			if tc.body == "" {
				req.Body = nil
			}
			if tc.header != "" {
				req.Header.Set(tc.header, "k1")
			}
			got := do(t, req)
			if got.status != tc.want {
				t.Errorf("got %d, %v", got.status, got.err)
			}
			if failed.Load() > 1 || served.Load() > 1 {
				t.Errorf("%d and %d arrived", failed.Load(), served.Load())
			}
		})
	}
}

func TestNonIdempotentRequestOnAStaleConnectionIsNotRepeated(t *testing.T) {
	t.Parallel()
	// The server answers the first request of a connection and drops the
	// connection on the second: it may have acted on it.
	var posts atomic.Int64
	app := tcpServer(t, func(c net.Conn) {
		buf := make([]byte, 4096)
		for i := range 2 {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if bytes.HasPrefix(buf[:n], []byte("POST")) {
				posts.Add(1)
			}
			if i == 0 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	})
	gw := gateway(t, proxy.Config{Servers: servers(app, named(t, "b").URL), Retries: 1}, proxy.RouteOptions{})
	for _, body := range []string{"", "hello"} {
		posts.Store(0)
		for range 2 { // to either server: the app's connection is warm then
			get(t, gw.URL)
		}
		req, _ := http.NewRequest("POST", gw.URL, strings.NewReader(body))
		req.Header.Set("Idempotency-Key", "k1") // net/http would repeat it for this
		if got := do(t, req); got.status != http.StatusBadGateway || posts.Load() != 1 {
			t.Errorf("body %q: got %d, %d arrived", body, got.status, posts.Load())
		}
		get(t, gw.URL) // back to where round robin began
	}
}

func TestStatusesAreTriedAgainWhenAsked(t *testing.T) {
	t.Parallel()
	busy := origin(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
	for _, tc := range []struct {
		statuses []proxy.RetryOn
		second   string
		want     int
	}{
		{nil, named(t, "b").URL, 503},
		{[]proxy.RetryOn{503}, named(t, "b").URL, 200},
		{[]proxy.RetryOn{503}, deadServer(t), 502},
	} {
		gw := gateway(t, proxy.Config{Servers: servers(busy.URL, tc.second), Retries: 1, Retry: proxy.Retry{On: tc.statuses}}, proxy.RouteOptions{})
		if got := get(t, gw.URL); got.status != tc.want {
			t.Errorf("%v: got %d %s", tc.statuses, got.status, got.body)
		}
	}
	alone := gateway(t, proxy.Config{Servers: servers(busy.URL), Retries: 1, Retry: proxy.Retry{On: []proxy.RetryOn{503}}}, proxy.RouteOptions{})
	if got := get(t, alone.URL); got.status != 503 || !strings.HasPrefix(got.body, "busy") {
		t.Errorf("the only server's answer was lost: %d %s", got.status, got.body)
	}
}

func TestNothingIsTriedAgainOnceAnInterimResponseWasPassedOn(t *testing.T) {
	t.Parallel()
	app := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
	})
	gw := gateway(t, proxy.Config{Servers: servers(app, named(t, "b").URL), Retries: 1}, proxy.RouteOptions{})
	if got := get(t, gw.URL); got.status != http.StatusBadGateway {
		t.Errorf("got %d", got.status)
	}
}

func TestRetriesStayWithinTheBudget(t *testing.T) {
	t.Parallel()
	var dead, retried atomic.Int64
	bad := resetting(t, &dead)
	good := origin(t, func(http.ResponseWriter, *http.Request) { retried.Add(1) })
	u := newUpstream(t, proxy.Config{
		Servers: servers(bad, good.URL), Retries: 1, Ejection: proxy.Ejection{Off: true}, // so that half of all fail
	}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	const n = 1000
	failures := 0
	for range n {
		if get(t, gw.URL).status != http.StatusOK {
			failures++
		}
	}
	retries := int(u.Status()[1].Requests) - n/2
	if most := proxy.RetryReserve + n/5; retries > most {
		t.Errorf("%d retries, over %d", retries, most)
	}
	if retries < n/5 {
		t.Errorf("only %d retries", retries)
	}
	if failures != n/2-retries {
		t.Errorf("%d failures with %d retries", failures, retries)
	}
}

func TestFullServersAnswer503AtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var inside atomic.Int64
	block := func(w http.ResponseWriter, r *http.Request) {
		inside.Add(1)
		<-release
	}
	a, b := origin(t, block), origin(t, block)
	var kind atomic.Value
	gw := gateway(t, proxy.Config{Servers: servers(a.URL, b.URL), MaxConnections: 3, Retries: 1, Waiting: proxy.Waiting{Off: true}}, proxy.RouteOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, e *proxy.Error) {
			kind.Store(e.Kind)
			w.WriteHeader(e.Status)
		}})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if got := get(t, gw.URL); got.status != 200 {
				t.Errorf("got %d", got.status)
			}
		})
	}
	eventually(t, "all places are taken", func() bool { return inside.Load() == 6 })
	if got := get(t, gw.URL); got.status != 503 || kind.Load() != proxy.KindOverloaded {
		t.Errorf("got %d, %v", got.status, kind.Load())
	}
	close(release)
	wg.Wait()
	if got := get(t, gw.URL); got.status != 200 {
		t.Errorf("the places were not given back: %d", got.status)
	}
}

func TestSilenceWithinAResponseIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 200 * time.Millisecond
	for name, tc := range map[string]struct {
		contentType string
		cfg         proxy.Config
		route       proxy.RouteOptions
	}{
		"the upstream's, HTTP/1.1":    {"text/plain", proxy.Config{ReadTimeout: bound}, proxy.RouteOptions{}},
		"the upstream's, HTTP/2":      {"text/plain", proxy.Config{ReadTimeout: bound, Protocol: proxy.H2C}, proxy.RouteOptions{}},
		"the route's":                 {"text/plain", proxy.Config{ReadTimeout: time.Hour}, proxy.RouteOptions{ReadTimeout: bound}},
		"the route's, unbuffered":     {"text/plain", proxy.Config{}, proxy.RouteOptions{ReadTimeout: bound, Unbuffered: true}},
		"the route's, event stream":   {"text/event-stream", proxy.Config{}, proxy.RouteOptions{ReadTimeout: bound}},
		"the route's, events, HTTP/2": {"text/event-stream", proxy.Config{Protocol: proxy.H2C}, proxy.RouteOptions{ReadTimeout: bound}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := eitherOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				_, _ = io.WriteString(w, "xxxxx")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			kinds := make(chan proxy.Kind, 1)
			tc.cfg.Servers = servers(app)
			u := newUpstream(t, tc.cfg, proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
			if got := get(t, front(t, u.Handler(tc.route)).URL); got.err == nil || got.body != "xxxxx" {
				t.Errorf("got %q, %v", got.body, got.err)
			}
			if kind := <-kinds; kind != proxy.KindTimeout {
				t.Errorf("counted as %q", kind)
			}
		})
	}
}

func TestResponseThatMayBeSilent(t *testing.T) {
	t.Parallel()
	const bound = 20 * time.Millisecond
	for name, tc := range map[string]struct {
		contentType string
		route       proxy.RouteOptions
	}{
		"an event stream":           {"text/event-stream; charset=utf-8", proxy.RouteOptions{}},
		"a route without the bound": {"text/plain", proxy.RouteOptions{ReadTimeout: -1}},
	} {
		for _, protocol := range []proxy.Protocol{proxy.HTTP1, proxy.H2C} {
			t.Run(name+" over "+string(protocol), func(t *testing.T) {
				t.Parallel()
				app := eitherOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", tc.contentType)
					_, _ = io.WriteString(w, "a")
					w.(http.Flusher).Flush()
					time.Sleep(10 * bound) // the silence itself
					_, _ = io.WriteString(w, "b")
				})
				gw := gateway(t, proxy.Config{Servers: servers(app), Protocol: protocol, ReadTimeout: bound}, tc.route)
				if got := get(t, gw.URL); got.err != nil || got.body != "ab" {
					t.Errorf("got %q, %v", got.body, got.err)
				}
			})
		}
	}
}

// A response that is held until it is whole breaks off before the client has got a byte.
func TestSilenceWithinAHeldResponseIs504(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "xxxxx")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL), ReadTimeout: 100 * time.Millisecond, Retries: 1}, proxy.RouteOptions{})
	if got := get(t, gw.URL); got.status != http.StatusGatewayTimeout {
		t.Errorf("got %d %q, %v", got.status, got.body, got.err)
	}
}

func TestServerThatStopsReadingTheBodyTimesOut(t *testing.T) {
	t.Parallel()
	stuck := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 10))
		time.Sleep(2 * time.Second)
	})
	gw := gateway(t, proxy.Config{Servers: servers(stuck), Timeout: 200 * time.Millisecond}, proxy.RouteOptions{})
	req, _ := http.NewRequest("POST", gw.URL, io.LimitReader(zeros{}, 64<<20))
	if got := do(t, req); got.err == nil && got.status != http.StatusGatewayTimeout {
		t.Errorf("got %d, %v", got.status, got.err)
	}
}

func TestSlowClientsBodyIsNoTimeout(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL), Timeout: 100 * time.Millisecond}, proxy.RouteOptions{})
	pr, pw := io.Pipe()
	go func() {
		for range 4 {
			time.Sleep(80 * time.Millisecond)
			_, _ = pw.Write([]byte("x"))
		}
		pw.Close()
	}()
	req, _ := http.NewRequest("POST", gw.URL, pr)
	if got := do(t, req); got.status != 200 || got.body != "4" {
		t.Errorf("got %d %q %v", got.status, got.body, got.err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestClosedUpstreamRefuses(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, proxy.Config{Servers: servers(named(t, "a").URL)}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := get(t, gw.URL); got.body != "a" {
		t.Fatalf("%+v", got)
	}
	u.Close()
	u.Close()
	if got := get(t, gw.URL); got.status != 503 {
		t.Errorf("got %d", got.status)
	}
	if err := u.Update(proxy.Config{Servers: servers("http://a")}); err == nil {
		t.Error("updated after Close")
	}
}

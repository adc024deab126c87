package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
)

// echoing is an app server that answers with what it was asked.
func echoing(t testing.TB) *httptest.Server {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s for %s", r.Method, r.RequestURI, r.Header.Get("X-Forwarded-For"))
	})
}

func TestMiddlewareForwardsItsGroupAndLeavesTheRestToTheApp(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, proxy.Config{Servers: servers(echoing(t).URL)}, proxy.Options{})
	e := echo.New()
	e.GET("/own", func(c echo.Context) error { return c.String(http.StatusOK, "the app's own") })
	e.Group("/api", u.Middleware(proxy.RouteOptions{}))
	gw := front(t, e)
	for _, tc := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/api/a%2Fb?c;d", 200, "GET /api/a%2Fb?c;d for 127.0.0.1"},
		{"PURGE", "/api/x", 200, "PURGE /api/x for 127.0.0.1"},
		{"POST", "/api", 200, "POST /api for 127.0.0.1"},
		{"GET", "/own", 200, "the app's own"},
		{"GET", "/other", 404, `{"message":"Not Found"}`},
	} {
		req, _ := http.NewRequest(tc.method, gw.URL+tc.target, nil)
		if got := do(t, req); got.status != tc.status || strings.TrimSpace(got.body) != tc.body {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.target, got.status, got.body, tc.status, tc.body)
		}
	}
}

func TestMiddlewareForwardsAWholeApp(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, proxy.Config{Servers: servers(echoing(t).URL)}, proxy.Options{})
	e := echo.New()
	e.Use(u.Middleware(proxy.RouteOptions{}))
	req, _ := http.NewRequest("LOCK", front(t, e).URL+"/anything", nil)
	if got := do(t, req); got.body != "LOCK /anything for 127.0.0.1" {
		t.Errorf("%+v", got)
	}
}

func TestMiddlewarePanicsOnOptionsThatNewRefuses(t *testing.T) {
	t.Parallel()
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "no servers") {
			t.Errorf("recovered %v", err)
		}
	}()
	proxy.Middleware(proxy.Options{Logger: quiet()}, proxy.RouteOptions{})
	t.Error("no panic")
}

// bodyLimit fails as Echo's middleware.BodyLimit does, which is in a package
// that this module does not depend on.
func bodyLimit(limit int64) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Request().Body = &limitedBody{c.Request().Body, limit}
			return next(c)
		}
	}
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, echo.ErrStatusRequestEntityTooLarge
	}
	return n, err
}

// Echo's own error handler answers, as it does for the errors of other handlers.
func TestFailuresAreEchosHTTPErrors(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	reading := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }).URL
	for _, tc := range []struct {
		name       string
		server     string
		route      proxy.RouteOptions
		body       string
		status     int
		message    string
		retryAfter string
	}{
		{name: "nobody listens", server: deadServer(t), status: 502, message: "No app server could answer."},
		{name: "silence", server: hanging(t, &hits), route: proxy.RouteOptions{Timeout: 50 * time.Millisecond},
			status: 504, message: "The app server did not answer in time."},
		{name: "body over Echo's limit", server: reading, body: strings.Repeat("x", 2000),
			status: 413, message: "The request body is larger than is allowed here."},
		{name: "refused", server: reading, route: proxy.RouteOptions{ModifyResponse: func(*http.Response) error { return errors.New("odd") }},
			status: 502, message: "The app server's response was refused."},
		{name: "refused for now", server: reading, route: proxy.RouteOptions{ModifyResponse: func(*http.Response) error { return &proxy.Error{Status: 503} }},
			status: 503, message: "The app server's response was refused.", retryAfter: "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, proxy.Config{Servers: servers(tc.server)}, proxy.Options{})
			e := echo.New()
			var caught error
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error { caught = next(c); return caught }
			}, bodyLimit(1000))
			e.Any("/*", u.Handler(tc.route).Echo)
			gw := front(t, e)

			req, _ := http.NewRequest("POST", gw.URL, io.MultiReader(strings.NewReader(tc.body)))
			got := do(t, req)
			var body struct{ Message string }
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Errorf("%q: %v", got.body, err)
			}
			if got.status != tc.status || body.Message != tc.message || got.header.Get("Retry-After") != tc.retryAfter {
				t.Errorf("%d %q, Retry-After %q; want %d %q, %q", got.status, body.Message, got.header.Get("Retry-After"), tc.status, tc.message, tc.retryAfter)
			}
			var failure *proxy.Error
			if !errors.As(caught, &failure) || failure.Status != tc.status {
				t.Errorf("the app's middleware saw %v", caught)
			}
			if blamed := u.Status()[0].Failures == 1; blamed != (failure.Kind == proxy.KindConnect || failure.Kind == proxy.KindTimeout) {
				t.Errorf("held against the server: %t", blamed)
			}
		})
	}
}

func TestEchoCallsTheErrorHandlerOfTheRoute(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, proxy.Config{Servers: servers(deadServer(t))}, proxy.Options{})
	e := echo.New()
	e.Any("/*", u.Handler(proxy.RouteOptions{ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err *proxy.Error) {
		w.WriteHeader(err.Status)
		_, _ = io.WriteString(w, string(err.Kind))
	}}).Echo)
	if got := get(t, front(t, e).URL); got.status != 502 || got.body != "connect" {
		t.Errorf("%+v", got)
	}
}

func TestClientThatGoesAwayIs499ForTheApp(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	u := newUpstream(t, proxy.Config{Servers: servers(hanging(t, &hits))}, proxy.Options{})
	e := echo.New()
	statuses := make(chan int, 1)
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		var he *echo.HTTPError
		if errors.As(err, &he) {
			statuses <- he.Code
		}
	}
	e.Any("/*", u.Handler(proxy.RouteOptions{}).Echo)
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", front(t, e).URL, nil)
	go func() {
		for hits.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	do(t, req)
	if status := <-statuses; status != proxy.StatusClientGone {
		t.Errorf("got %d", status)
	}
}

// The 101 is written past Echo, whose middleware would see a 200 that was never sent.
func TestUpgradeIsNotedInEchosResponse(t *testing.T) {
	t.Parallel()
	type seen struct {
		committed bool
		status    int
		upgrades  int
	}
	ended := make(chan seen, 1)
	upgrades := 0
	u := newUpstream(t, proxy.Config{Servers: servers(echoSocket(t, nil))}, proxy.Options{})
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			ended <- seen{c.Response().Committed, c.Response().Status, upgrades}
			return err
		}
	})
	e.Any("/*", u.Handler(proxy.RouteOptions{OnUpgrade: func(*http.Request) { upgrades++ }}).Echo)
	gw := front(t, e)
	c := dialSocket(t, gw.URL)
	roundTrip(t, c, []byte("hello"))
	c.CloseNow()
	if got := <-ended; got != (seen{true, http.StatusSwitchingProtocols, 1}) {
		t.Errorf("%+v", got)
	}

	get(t, gw.URL) // not an upgrade: the app server says 426
	if got := <-ended; got != (seen{true, http.StatusUpgradeRequired, 1}) {
		t.Errorf("%+v", got)
	}
}

func TestResolverFindsTheClientWhereNoMiddlewareHas(t *testing.T) {
	t.Parallel()
	behind, err := clientip.New(clientip.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	app := echoing(t)
	for _, tc := range []struct {
		name     string
		resolver *clientip.Resolver
		want     string
	}{
		{"none: the peer", nil, "GET / for 127.0.0.1"},
		{"a trusted proxy", behind, "GET / for 2001:db8::7"},
	} {
		u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{Resolver: tc.resolver})
		req, _ := http.NewRequest("GET", front(t, u.Handler(proxy.RouteOptions{})).URL, nil)
		req.Header.Set("X-Forwarded-For", "2001:db8::7")
		if got := do(t, req); got.body != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got.body, tc.want)
		}
	}
}

// A client may use any address of its IPv6 prefix.
func TestIPHashKeepsAnIPv6ClientWithoutMiddleware(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, proxy.Config{Servers: servers(named(t, "a").URL, named(t, "b").URL, named(t, "c").URL), Balance: proxy.IPHash}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{})
	first := ""
	for i := range 20 {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = fmt.Sprintf("[2001:db8::%x]:1234", i+1)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if first == "" {
			first = w.Body.String()
		}
		if got := w.Body.String(); got != first || w.Code != 200 {
			t.Errorf("request %d: %d from %q, the first from %q", i, w.Code, got, first)
		}
	}
}

package clientip_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/clientip"
)

func TestHandlersFindTheClientInTheRequestsContext(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.Use(clientip.Middleware(clientip.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}))
	var got clientip.Info
	var ok bool
	e.GET("/", func(c echo.Context) error {
		got, ok = clientip.FromContext(c.Request().Context())
		return nil
	})
	e.ServeHTTP(httptest.NewRecorder(), request(proxy, xff, "2001:db8::7"))
	want := clientip.Info{Addr: netip.MustParseAddr("2001:db8::7"), Bucket: netip.MustParseAddr("2001:db8::")}
	if !ok || got != want {
		t.Errorf("got %v, %v; want %v", got, ok, want)
	}
}

func TestContextKeepsWhatElseItHas(t *testing.T) {
	t.Parallel()
	type key struct{ int }
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{1}, "kept"))
	info := clientip.Info{Addr: netip.MustParseAddr(client)}
	ctx := context.WithValue(clientip.NewContext(parent, info), key{2}, "another")
	if ctx.Value(key{1}) != "kept" {
		t.Error("the parent's value is gone")
	}
	if got, ok := clientip.FromContext(ctx); !ok || got != info {
		t.Errorf("got %v, %v", got, ok)
	}
	cancel()
	if ctx.Err() == nil {
		t.Error("the parent's end is not its own")
	}
	if _, ok := clientip.FromContext(parent); ok {
		t.Error("found in a context that has none")
	}
}

func TestRealIPTellsTheTruth(t *testing.T) {
	t.Parallel()
	res := behindProxies(t, "")
	for _, withMiddleware := range []bool{false, true} {
		e := echo.New()
		e.IPExtractor = res.Extractor()
		if withMiddleware {
			e.Use(res.Middleware())
		}
		e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, c.RealIP()) })
		for _, c := range []struct{ name, peer, header, line, want string }{
			{"spoofed X-Forwarded-For", "192.0.2.7:1", xff, "203.0.113.66", client},
			{"spoofed X-Real-IP", "192.0.2.7:1", "X-Real-Ip", "203.0.113.66", client},
			{"a proxy's X-Forwarded-For", proxy, xff, "203.0.113.66, " + client, client},
			{"no address", "", xff, "203.0.113.66", ""},
		} {
			rec := httptest.NewRecorder()
			e.ServeHTTP(rec, request(c.peer, c.header, c.line))
			if got := rec.Body.String(); got != c.want {
				t.Errorf("%s, middleware %v: got %q, want %q", c.name, withMiddleware, got, c.want)
			}
		}
	}
}

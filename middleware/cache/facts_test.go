package cache_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// What the caller of Serve knows of a request counts, and the route's functions
// are not asked.
func TestServeTakesWhatItsCallerKnows(t *testing.T) {
	t.Parallel()
	c, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	asked := func(*http.Request) bool { t.Error("a function of the route was called"); return false }
	route, err := cache.Compile(cache.Rule{Name: "r"}, cache.MiddlewareOptions{
		Scheme:      func(r *http.Request) string { asked(r); return "http" },
		LiveSession: asked, Bypass: asked,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Register(route)
	app := func(ec echo.Context) error {
		ec.Response().Header().Set("Cache-Control", "max-age=60")
		return ec.String(http.StatusOK, "x")
	}
	e := echo.New()
	serve := func(method string, known cache.Facts) string {
		rec := httptest.NewRecorder()
		// The request names another host and path than its Facts do.
		r := httptest.NewRequest(method, "http://other.test/other", nil)
		if err := c.Serve(e.NewContext(r, rec), route, &known, app); err != nil {
			t.Fatal(err)
		}
		c.WaitForFetches()
		return rec.Header().Get("Cache-Status")
	}

	for i, tc := range []struct {
		method string
		known  cache.Facts
		want   string
	}{
		{"GET", cache.Facts{Scheme: "https", Host: "shop.test", Path: "/a"}, "headgate; fwd=uri-miss"},
		{"GET", cache.Facts{Scheme: "https", Host: "shop.test", Path: "/a"}, "headgate; hit"},
		{"GET", cache.Facts{Scheme: "http", Host: "shop.test", Path: "/a"}, "headgate; fwd=uri-miss"},
		{"GET", cache.Facts{Scheme: "https", Host: "shop2.test", Path: "/a"}, "headgate; fwd=uri-miss"},
		{"GET", cache.Facts{Scheme: "https", Host: "shop.test", Path: "/b"}, "headgate; fwd=uri-miss"},
		{"GET", cache.Facts{Scheme: "https", Host: "shop.test", Path: "/a", Bypass: true}, "headgate; fwd=bypass"},
		// What was stored without a session is not public, so not for one.
		{"GET", cache.Facts{Scheme: "https", Host: "shop.test", Path: "/a", LiveSession: true}, "headgate; fwd="},
		{"POST", cache.Facts{Scheme: "https", Host: "shop.test", Path: "/a"}, "headgate; fwd=method"},
	} {
		if got := serve(tc.method, tc.known); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%d: %s %+v: Cache-Status %q, want %q", i, tc.method, tc.known, got, tc.want)
		}
	}
}

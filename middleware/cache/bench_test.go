package cache_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// sink is the cheapest http.ResponseWriter that keeps a header.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// benchmarkHit measures what the cache adds to a request that it answers from
// the local tier.
func benchmarkHit(b *testing.B, rule cache.Rule, fields []string, request http.Header) {
	c, err := cache.New(cache.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	body := strings.Repeat("x", 1024)
	e := echo.New()
	h := c.Middleware(rule, cache.MiddlewareOptions{})(func(c echo.Context) error {
		w := c.Response()
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Server", "origin")
		w.Header().Set("ETag", `"abc"`)
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		_, err := io.WriteString(w, body)
		return err
	})
	req, _ := http.NewRequest("GET", "http://shop.test/api/products/top?page=1", nil)
	req.Header = request
	w := &sink{h: make(http.Header)}
	ec := e.NewContext(req, w)
	hit := func() {
		clear(w.h)
		ec.Reset(req, w)
		if err := h(ec); err != nil {
			b.Fatal(err)
		}
	}
	hit()
	hit()
	if got := w.h.Get("Cache-Status"); !strings.Contains(got, "; hit") {
		b.Fatal(got)
	}
	b.ReportAllocs()
	for b.Loop() {
		hit()
	}
}

func BenchmarkLocalHit(b *testing.B) {
	browser := http.Header{"Accept": {"text/html,*/*;q=0.8"}, "Accept-Encoding": {"gzip, deflate, br"}, "User-Agent": {"Mozilla/5.0"}}
	b.Run("plain", func(b *testing.B) { benchmarkHit(b, cache.Rule{Name: "r"}, nil, browser) })
	b.Run("vary", func(b *testing.B) {
		benchmarkHit(b, cache.Rule{Name: "r"}, []string{"Vary: Accept-Encoding"}, browser)
	})
	b.Run("query filter and cookies", func(b *testing.B) {
		h := browser.Clone()
		h.Set("Cookie", "_ga=1; _gid=2")
		benchmarkHit(b, cache.Rule{Name: "r", IgnoreQuery: []string{"utm_*"}, IgnoreCookies: []string{"_g*"}}, nil, h)
	})
	b.Run("not modified", func(b *testing.B) {
		h := browser.Clone()
		h.Set("If-None-Match", `"abc"`)
		benchmarkHit(b, cache.Rule{Name: "r"}, nil, h)
	})
}

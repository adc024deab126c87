package cache_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/labstack/echo/v4"
)

// A flood of URLs under one rule leaves what is stored under another.
func TestManyURLsOfOneRuleLeaveWhatAnotherHasStored(t *testing.T) {
	t.Parallel()
	c, err := cache.New(cache.Options{LocalBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	e := echo.New()
	page := strings.Repeat("x", 4000)
	handler := func(c echo.Context) error { return c.String(200, page) }
	e.GET("/pages/:n", handler, c.Middleware(cache.Rule{Name: "pages", TTL: time.Hour}, cache.MiddlewareOptions{}))
	e.GET("/search/:n", handler, c.Middleware(cache.Rule{Name: "search", TTL: time.Hour}, cache.MiddlewareOptions{}))
	get := func(path string) (status string) {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Header().Get("Cache-Status")
	}
	const pages = 100
	for i := range pages {
		get(fmt.Sprintf("/pages/%d", i))
	}
	for i := range 2000 { // each asked twice, so that they are as worth keeping
		get(fmt.Sprintf("/search/%d", i))
		get(fmt.Sprintf("/search/%d", i))
	}
	hits := 0
	for i := range pages {
		if strings.Contains(get(fmt.Sprintf("/pages/%d", i)), "hit") {
			hits++
		}
	}
	if hits < pages {
		t.Errorf("%d of %d pages are still stored", hits, pages)
	}
}

package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An app server that breaks off within its answer has failed, as one that answers 500 has.
func TestStaleStandsInWhereTheAppServerBreaksOff(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1, stale-if-error=600")
		if !broken.Load() {
			fmt.Fprint(w, "old")
			return
		}
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "hello")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(shop.Close)
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%q], retries: 0}}
caches: {pages: {}}
routes: [{name: all, path: /*, upstream: shop, cache: pages}]
`, shop.URL))
	g.do("GET", "/page")
	broken.Store(true)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a := g.do("GET", "/page")
		if a.StatusCode != 200 || a.text != "old" {
			t.Fatalf("%d %q", a.StatusCode, a.text)
		}
		if strings.Contains(a.Header.Get("Cache-Status"), "fwd=stale") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the answer stays fresh: %s", a.Header.Get("Cache-Status"))
		}
	}
}

package server_test

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// Routes of one path, upstream and cache that make different requests of the
// same one answered from each other's entries: whoever came first decided what
// everybody saw.
func TestRoutesThatForwardDifferentlyDoNotAnswerForEachOther(t *testing.T) {
	t.Parallel()
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %q on %s", r.URL.Path, r.Header.Get("X-Audience"), r.Host)
	})
	for name, special := range map[string]string{
		"rewrite":         `rewrite: /internal/*`,
		"strip_prefix":    `strip_prefix: /x`,
		"request_headers": `request_headers: {set: {X-Audience: staff}}`,
		"preserve_host":   `preserve_host: false`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
upstreams: {shop: {servers: [%s]}}
caches: {all: {ttl: 60s}}
defaults: {upstream: shop, cache: all}
routes:
  - {name: staff, path: /x/*, match: {headers: {X-Staff: "1"}}, %s}
  - {name: public, path: /x/*}
`, app.URL, special))
			public := g.do("GET", "/x/other").text[len("/x/other"):]
			staff := g.do("GET", "/x/page", "X-Staff", "1").text
			if got := g.do("GET", "/x/page").text; got != "/x/page"+public || got == staff {
				t.Errorf("a visitor got %q, staff %q", got, staff)
			}
		})
	}
}

// The app had answered and its answer had been refused, as it could not be
// followed; the cache took that for an app that is away, and sent the stale page
// as a success.
func TestAStalePageDoesNotStandInForARefusedAnswer(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1")
		if n.Add(1) > 1 {
			w.Header().Set("Headgate-Session-Merge", "no JSON")
		}
		io.WriteString(w, "page")
	})
	g := start(t, fmt.Sprintf(withCache, "", app.URL))
	if a := g.do("GET", "/mine/x"); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	time.Sleep(1100 * time.Millisecond)
	if a := g.do("GET", "/mine/x"); a.StatusCode != 502 {
		t.Errorf("%d %q %s", a.StatusCode, a.text, a.Header.Get("Cache-Status"))
	}
}

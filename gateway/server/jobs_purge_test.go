package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAJobThatIsDoneInvalidatesWhatItHasChanged: its own URL, what its answer's Location names, and the tags of
// its route's purge, by the time that it is shown as done; as the answer to a request would have.
func TestAJobThatIsDoneInvalidatesWhatItHasChanged(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			version.Add(1)
			w.Header().Set("Location", "/list")
			return
		}
		fmt.Fprint(w, version.Load())
	})
	g := start(t, `
upstreams: {shop: {servers: ["`+app.URL+`"]}}
queues: {work: {}}
caches: {pages: {ttl: 1h}, tagged: {ttl: 1h, tags: [made]}}
routes:
  - {path: /page, methods: [POST], upstream: shop, queue: work, purge: made}
  - {path: /tagged, upstream: shop, cache: tagged}
  - {path: /*, upstream: shop, cache: pages}
`)
	paths := []string{"/page", "/list", "/tagged", "/other"}
	for _, path := range paths {
		if got := g.cached(path); got != "0" {
			t.Fatalf("%s: %q", path, got)
		}
	}
	a := g.do("POST", "/page")
	if a.StatusCode != 202 {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	eventually(t, "done", func() bool { return strings.Contains(g.do("GET", a.Header.Get("Location")).text, `"done"`) })
	for _, path := range paths {
		want := "1"
		if path == "/other" {
			want = "0"
		}
		if got := g.do("GET", path).text; got != want {
			t.Errorf("%s is %q after the job, want %q", path, got, want)
		}
	}
}

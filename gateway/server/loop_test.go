package server_test

import (
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
)

var viaPattern = regexp.MustCompile(`^1\.1 front, 1\.1 headgate-[0-9a-f]{8}$`)

// Issue 15, number 16: one request through a gateway whose upstream is the gateway itself opened thousands of
// connections. RFC 9110 section 7.6.3: its own name in Via tells that the request has come back.
func TestARequestThatComesBackIsRefused(t *testing.T) {
	t.Parallel()
	for _, cached := range []string{"", ", cache: pages"} {
		var asked atomic.Int64
		app := appFunc(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
		other := start(t, fmt.Sprintf(anyRoute, app.URL))
		first := start(t, fmt.Sprintf(`
upstreams: {other: {servers: ["http://%s"], timeout: 50s}, app: {servers: [%q]}}
caches: {pages: {ttl: 1m}}
routes:
  - {name: app, path: /app, upstream: app%[3]s}
  - {name: loop, path: /*, upstream: other%[3]s}
`, other.Addr(), app.URL, cached))
		if err := other.Run(parse(t, fmt.Sprintf(anyRoute, "http://"+first.Addr())), "test"); err != nil {
			t.Fatal(err)
		}
		if a := first.do("GET", "/loop"); a.StatusCode != http.StatusLoopDetected || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: the request in a circle was answered with %d: %s", cached, a.StatusCode, a.text)
		}
		if a := other.do("GET", "/app"); a.StatusCode != 200 || asked.Load() != 1 {
			t.Errorf("%q: through two gateways in a row: %d, and the app server was asked %d times", cached, a.StatusCode, asked.Load())
		}
	}
}

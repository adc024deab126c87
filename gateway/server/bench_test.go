package server_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// discarding takes an answer and keeps nothing of it.
type discarding struct {
	header http.Header
	status int
}

func (d *discarding) Header() http.Header         { return d.header }
func (d *discarding) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarding) WriteHeader(status int)      { d.status = status }

// BenchmarkAnswer is what the gateway's own part in an answer costs: all but
// the connection.
func BenchmarkAnswer(b *testing.B) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(make([]byte, 1024))
	}))
	b.Cleanup(app.Close)
	g := start(b, `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, deny: [203.0.113.0/24]}
upstreams: {app: {servers: ["`+app.URL+`"]}}
limits: {narrow: {requests: 1, window: 24h}}
caches: {pages: {}}
routes:
  - {name: denied, path: /denied, upstream: app, limits: narrow}
  - {name: cached, path: /cached, upstream: app, cache: pages}
  - {name: compressed, path: /compressed, upstream: app, cache: pages, compress: on}
`, func(o *server.Options) { o.AccessLog, o.Policy.Server.AccessLog.Path = nil, policies.AccessLogOff })
	for _, bench := range []struct {
		name, path, from string
		status           int
	}{{"denied", "/denied", "127.0.0.1:4711", 429}, {"denied network", "/denied", "203.0.113.7:4711", 403}, {"cached", "/cached", "127.0.0.1:4711", 200}, {"cached and compressed", "/compressed", "127.0.0.1:4711", 200}} {
		path := bench.path
		for range 3 {
			g.do("GET", path, "Accept-Encoding", "br")
		}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			header := http.Header{"User-Agent": {"bench"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip, br"}}
			r := httptest.NewRequest("GET", "http://shop.example"+path, nil)
			r.RemoteAddr = bench.from
			w := &discarding{header: http.Header{}}
			for b.Loop() {
				clear(w.header)
				clear(r.Header)
				maps.Copy(r.Header, header)
				r.URL, r.RequestURI, r.Host = &url.URL{Path: path}, path, "shop.example"
				g.ServeHTTP(w, r)
			}
			if w.status != bench.status {
				b.Fatalf("%d", w.status)
			}
		})
	}
}

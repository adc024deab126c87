package replay_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// BenchmarkReplay reads a log of 200,000 lines under two limits and a cache; lines/s is the figure that matters.
func BenchmarkReplay(b *testing.B) {
	const lines = 200_000
	policy := parse(b, shop+`
limits:
  per-ip: {requests: 100, window: 1m}
  per-route: {algorithm: token_bucket, requests: 60, window: 1m, key: [ip, route]}
caches: {pages: {ttl: 60s, ignore_query: ["utm_*"]}}
defaults: {limits: [per-ip, per-route]}
routes: [{name: api, path: /api/*, upstream: shop, cache: pages}, {path: /*, upstream: shop}]
`)
	writers := map[string]func(w io.Writer, at time.Time, ip, uri string){
		"combined": func(w io.Writer, at time.Time, ip, uri string) {
			fmt.Fprintf(w, "%s - - [%s] \"GET %s HTTP/1.1\" 200 4711 \"-\" %q\n", ip, at.Format("02/Jan/2006:15:04:05 -0700"), uri, browser)
		},
		"headgate": func(w io.Writer, at time.Time, ip, uri string) {
			fmt.Fprintf(w, `{"time":%q,"id":"0191","client_ip":%q,"method":"GET","host":"shop.example","uri":%q,"proto":"HTTP/1.1","status":200,"bytes":4711,"duration_ms":12.5,"route":"api","upstream":"http://127.0.0.1:9001","user_agent":%q}`+"\n",
				at.Format("2006-01-02T15:04:05.000Z07:00"), ip, uri, browser)
		},
		"caddy": func(w io.Writer, at time.Time, ip, uri string) {
			fmt.Fprintf(w, `{"level":"info","ts":%.3f,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":%q,"remote_port":"1","client_ip":%q,"proto":"HTTP/2.0","method":"GET","host":"shop.example","uri":%q,"headers":{"User-Agent":[%q],"Accept":["*/*"]}},"duration":0.0125,"size":4711,"status":200,"resp_headers":{"Server":["Caddy"]}}`+"\n",
				float64(at.UnixMilli())/1000, ip, ip, uri, browser)
		},
	}
	for name, write := range writers {
		rnd := rand.New(rand.NewPCG(1, 1))
		var log bytes.Buffer
		for i := range lines {
			write(&log, midnight.Add(time.Duration(i)*432*time.Millisecond), fmt.Sprintf("10.0.%d.%d", rnd.IntN(40), rnd.IntN(256)), fmt.Sprintf("/api/products/%d?utm_source=x", rnd.IntN(500)))
		}
		content := log.String()
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				run(b, replay.Options{Policy: policy, Logs: []logs.Log{text(name, content)}})
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

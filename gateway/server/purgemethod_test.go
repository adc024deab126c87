package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/internal/redistest"
)

const purging = `
server:
  listen: "127.0.0.1:0"
  admin: {listen: "127.0.0.1:0"}
  trusted_proxies: [127.0.0.0/8]
  purge_method: {allow: [192.0.2.0/24, "64:ff9b::c633:6407"]}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s], retries: 0}}
caches: {pages: {ttl: 1h, ignore_query: ["utm_*"]}}
limits: {per-ip: {requests: 50, window: 1h}}
defaults: {upstream: shop, limits: per-ip}
routes: [{path: /top/*, cache: pages}, {path: /*, host: [shop.example, other.example], methods: [GET], cache: pages}]
`

// A plug-in of the app's purges a URL on every instance: of its own Host alone, whatever the scheme that visitors use.
func TestPURGEPurgesItsURLOnEveryInstance(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL) })
	policy := fmt.Sprintf(strings.Replace(purging, "requests: 50", "requests: 5000", 1), redistest.Start(t).URL, shop.URL)
	one, other := start(t, policy), start(t, policy)
	warm(one, other)
	get := func(g *gateway, host, target string) *answer {
		return g.do("GET", target, "Host", host, "X-Forwarded-Proto", "https")
	}
	hit := func(g *gateway, host, target string) bool {
		return strings.Contains(get(g, host, target).Header.Get("Cache-Status"), "; hit")
	}
	all := []string{"/blog", "/blog/a", "/blog/a?page=2", "/blog/a%7Cc", "/blogs", "/", "/.*"}
	for _, tt := range []struct {
		target, host string
		headers      []string
		gone         string // of all, with blanks between them
		status       int
	}{
		{"/blog/a", "shop.example", nil, "/blog/a", 204},
		{"/blog//x/../%61", "SHOP.example.:80", nil, "/blog/a", 204},
		{"/blog/a?page=2", "shop.example:443", nil, "/blog/a?page=2", 204},
		{"/blog/a?utm_source=x", "shop.example", nil, "/blog/a", 204},
		{"/blog/a?page=3", "shop.example", nil, "", 204},
		{"/blog/a", "shop.example:8080", nil, "", 204},
		{"/blog", "shop.example", []string{"X-Purge-Method", "default"}, "/blog", 204},
		{"/.*", "shop.example", []string{"X-Purge-Method", "regex"}, strings.Join(all, " "), 204},
		{"/.*", "shop.example", nil, strings.Join(all, " "), 204},
		{"/.*", "shop.example", []string{"X-Purge-Method", "default"}, "/.*", 204},
		{"/blog/.*", "shop.example", []string{"X-Purge-Method", "regex"}, "/blog /blog/a /blog/a?page=2 /blog/a%7Cc", 204},
		{"/.*?page=2", "shop.example", nil, "", 204},
		{"/.*?page=2", "shop.example", []string{"X-Purge-Method", "regex"}, "", 400},
		{"/blog.*", "shop.example", []string{"X-Purge-Method", "regex"}, "", 400},
		{"/blog", "shop.example", []string{"X-Purge-Method", "regex"}, "", 400},
		{"/(blog%7Cnews)/.*", "shop.example", []string{"X-Purge-Method", "regex"}, "", 400},
		{"/blog/a%00", "shop.example", nil, "", 400},
		{"/nowhere", "unknown.example", nil, "", 204},
	} {
		for _, target := range all {
			get(one, "shop.example", target)
			get(one, "other.example", target)
			eventually(t, target+" is cached", func() bool { return hit(other, "shop.example", target) && hit(other, "other.example", target) })
		}
		a := one.do("PURGE", tt.target, append(tt.headers, "Host", tt.host, "X-Forwarded-For", "192.0.2.7")...)
		if a.StatusCode != tt.status || tt.status == 204 && (a.text != "" || a.Header.Get("Cache-Status") != "headgate; detail=purged") {
			t.Errorf("PURGE %s of %s: %d %v %s", tt.target, tt.host, a.StatusCode, a.Header, a.text)
		}
		gone := strings.Fields(tt.gone)
		var found []string
		for _, target := range all {
			if !hit(other, "shop.example", target) {
				found = append(found, target)
			}
			if !hit(other, "other.example", target) {
				t.Errorf("PURGE %s of %s: %s of another host is gone", tt.target, tt.host, target)
			}
		}
		if strings.Join(found, " ") != strings.Join(gone, " ") {
			t.Errorf("PURGE %s of %s %v: gone is %q, not %q", tt.target, tt.host, tt.headers, found, gone)
		}
	}
	if n := one.metric(`headgate_cache_purges_total{kind="prefix",soft="false"}`); n != 3 {
		t.Errorf("%g purges by prefix are counted", n)
	}
	eventually(t, "the log says so", func() bool {
		log := one.log.String()
		return strings.Count(log, `"method":"PURGE"`) == 18 && strings.Count(log, `"cache":"purged"`) == 13
	})
}

func TestWhoMayNotPurgeIsRefusedAndCounted(t *testing.T) {
	t.Parallel()
	var purges atomic.Int64
	shop := appFunc(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "PURGE" {
			purges.Add(1)
		}
	})
	policy := fmt.Sprintf(purging, "", shop.URL)
	g := start(t, policy)
	for from, status := range map[string]int{
		"192.0.2.9": 204, "64:ff9b::192.0.2.9": 204, "64:ff9b::198.51.100.7": 204,
		"198.51.100.7": 403, "192.0.3.9": 403, "192.0.2.9, 203.0.113.7": 403, "": 403,
	} {
		headers := []string{"Host", "shop.example"}
		if from != "" {
			headers = append(headers, "X-Forwarded-For", from)
		}
		a := g.do("PURGE", "/x", headers...)
		if a.StatusCode != status || a.Header.Get("RateLimit") == "" {
			t.Errorf("from %q: %d %v", from, a.StatusCode, a.Header)
		}
		if status == 403 {
			a.problem(t)
		}
	}
	last := 0
	for range 51 {
		last = g.do("PURGE", "/x", "Host", "shop.example", "X-Forwarded-For", "203.0.113.9").StatusCode
	}
	if last != 429 {
		t.Errorf("the 51st: %d", last)
	}
	if a := g.do("GET", "/x", "Host", "shop.example", "X-Forwarded-For", "203.0.113.9"); a.StatusCode != 429 {
		t.Errorf("refused purges are not counted: %d", a.StatusCode)
	}
	if purges.Load() > 0 {
		t.Error("the app has got a PURGE")
	}
	forwarding := start(t, strings.NewReplacer(`purge_method: {allow: [192.0.2.0/24, "64:ff9b::c633:6407"]}`, "", "methods: [GET], ", "").Replace(policy))
	if a := forwarding.do("PURGE", "/y", "Host", "shop.example", "X-Forwarded-For", "192.0.2.9"); a.StatusCode != 200 || purges.Load() != 1 {
		t.Errorf("without purge_method: %d", a.StatusCode)
	}
}

// A purge that Redis has not confirmed is no success.
func TestAPURGEThatIsNotConfirmedIs503(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policy := strings.Replace(fmt.Sprintf(purging, redis.URL, app(t, "shop").URL), "50s", "100ms", 1)
	g := start(t, policy)
	warm(g)
	redis.Stop()
	a := g.do("PURGE", "/x", "Host", "shop.example", "X-Forwarded-For", "192.0.2.9")
	if p := a.problem(t); a.StatusCode != 503 || a.Header.Get("Retry-After") != "1" || p.Detail == "" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.text)
	}
}

func TestExplainOfAPURGEPurgesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(purging, "", app(t, "shop").URL))
	g.do("GET", "/x", "Host", "shop.example")
	for _, tt := range []struct {
		url, from, answer string
		status            int
	}{
		{"http://shop.example/x", "192.0.2.9", "a purge of http://shop.example/x", 204},
		{"http://shop.example:443/x?a=b", "192.0.2.9", "a purge of http://shop.example:443/x?a=b and https://shop.example/x?a=b", 204},
		{"http://shop.example/blog/.*", "192.0.2.9", "a purge of all at and below http://shop.example/blog", 204},
		{"http://shop.example/x", "203.0.113.9", "a purge of http://shop.example/x", 403},
	} {
		e, err := g.Explain(t.Context(), pipeline.Question{Method: "PURGE", URL: tt.url, IP: tt.from})
		if err != nil || e.Answer != tt.answer || e.Status != tt.status || e.Stage != "purge" || len(e.Limits) != 1 || e.Route != "" {
			t.Errorf("%s from %s: %+v %v", tt.url, tt.from, e, err)
		}
	}
	if a := g.do("GET", "/x", "Host", "shop.example"); !strings.Contains(a.Header.Get("Cache-Status"), "; hit") {
		t.Error(a.Header)
	}
}

package server_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

const floodedLimits = `
memory: {counters: %s}
limits:
  login:  {algorithm: fixed_window, requests: 3, window: 1h}
  tenant: {key: "header:X-Tenant", requests: 100, window: 1h}
routes:
  - {name: login, path: /login, limits: login, respond: {status: 204}}
  - {name: api, path: /api, limits: tenant, respond: {status: 204}}
`

// serve takes one request through the gateway, without a connection.
func (g *gateway) serve(target, addr string, headers ...string) (status int) {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = addr + ":1234"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Code
}

// Neither other addresses nor a header's values give a client its logins back.
func TestAFloodOfKeysFreesNoClientThatIsOverItsLimit(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(floodedLimits, "1MiB"))
	for range 3 {
		g.serve("/login", "192.0.2.1")
		g.serve("/login", "192.0.2.2")
	}
	for i := range 20_000 { // the memory holds about 4,500
		if status := g.serve("/api", "192.0.2.1", "X-Tenant", fmt.Sprint(i)); status != 204 {
			t.Fatal(status)
		}
	}
	if status := g.serve("/login", "192.0.2.1"); status != 429 {
		t.Errorf("a client that has spent its logins, after it has sent 20,000 values of a header: %d", status)
	}
	for i := range 20_000 {
		g.serve("/login", fmt.Sprintf("198.18.%d.%d", i/256, i%256))
	}
	if status := g.serve("/login", "192.0.2.2"); status != 429 {
		t.Errorf("a client that has spent its logins, after 20,000 others: %d", status)
	}
	metrics := g.admin("GET", "/metrics").text
	for _, limit := range []string{"login", "tenant"} {
		if !strings.Contains(metrics, `headgate_limit_counters_dropped_total{limit="`+limit+`"} 1`) {
			t.Errorf("the metrics do not say that counters of %s were dropped", limit)
		}
	}
	if !strings.Contains(metrics, "headgate_limit_counters_limit_bytes 1.048576e+06\n") {
		t.Error("the metrics do not say what counters may take")
	}
}

// The bound changes with the policy, for limits that need the room as well, and counters stay.
func TestAReloadChangesTheMemoryOfCounters(t *testing.T) {
	t.Parallel()
	next := fmt.Sprintf(floodedLimits, "1MiB")
	g := start(t, next, func(o *server.Options) {
		o.Load = func() (*policies.Policy, error) { return parse(t, next), nil }
	})
	for i := range 9 {
		g.serve("/login", fmt.Sprintf("192.0.2.%d", i%3))
	}
	large := strings.Replace(fmt.Sprintf(floodedLimits, "64MiB"), "requests: 100,", "algorithm: sliding_log, requests: 50000,", 1)
	for i, policy := range []string{large, fmt.Sprintf(floodedLimits, "2MiB"), strings.Replace(large, "64MiB", "0", 1)} {
		next = policy
		if err := g.Reload("test"); err != nil {
			t.Fatal(err)
		}
		if status := g.serve("/login", fmt.Sprintf("192.0.2.%d", i)); status != 429 {
			t.Errorf("the counter is lost with\n%s", policy)
		}
	}
	next = fmt.Sprintf(floodedLimits, "2MiB")
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(g.admin("GET", "/metrics").text, "headgate_limit_counters_limit_bytes 2.097152e+06\n") {
		t.Error("the bound is not that of the policy that runs")
	}
}

// The bound changes with the policy, and what is stored stays.
func TestAReloadChangesTheMemoryOfTheCache(t *testing.T) {
	t.Parallel()
	shop := app(t, "shop")
	policy := func(bound string) string {
		return fmt.Sprintf(`
memory: {cache: %s}
upstreams: {shop: {servers: [%q]}}
caches: {pages: {ttl: 1h}}
routes: [{name: all, path: /*, upstream: shop, cache: pages}]
`, bound, shop.URL)
	}
	next := policy("4MiB")
	g := start(t, next, func(o *server.Options) {
		o.Load = func() (*policies.Policy, error) { return parse(t, next), nil }
	})
	g.do("GET", "/page")
	for _, tc := range []struct{ bound, metric string }{{"2MiB", "2.097152e+06"}, {"8MiB", "8.388608e+06"}} {
		next = policy(tc.bound)
		if err := g.Reload("test"); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(g.admin("GET", "/metrics").text, "headgate_cache_local_limit_bytes "+tc.metric+"\n") {
			t.Errorf("the cache's bound is not %s after a reload", tc.bound)
		}
		if a := g.do("GET", "/page"); !strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("with %s: %s", tc.bound, a.Header.Get("Cache-Status"))
		}
	}
}

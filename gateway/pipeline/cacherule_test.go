package pipeline

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/policies"
)

// Every key of a cache in the policy reaches the rule, and none is forgotten
// here either: a key that this test does not set fails it.
func TestEveryKeyOfACacheReachesItsRule(t *testing.T) {
	const text = `
version: 1
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
caches:
  pages:
    ttl: 1s
    force_ttl: 2s
    stale_while_revalidate: 3s
    stale_if_error: 4s
    lock_timeout: 7s
    tags: [a, b]
    ignore_query: ["utm_*"]
    ignore_cookies: ["_ga*"]
    key_headers: [X-Tenant]
    heuristic: true
    max_body: 5KiB
    errors: {404: 6s}
  by-id: {query: [id]}
  any-query: {query: []}
routes: [{path: /*, upstream: app, cache: pages}, {path: /a, upstream: app, cache: by-id}, {path: /b, upstream: app, cache: any-query}]
`
	p, problems := policies.Parse("headgate.yaml", []byte(text), policies.LoadOptions{})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	keys := reflect.ValueOf(*p.Caches["pages"])
	for i := range keys.NumField() {
		if name := keys.Type().Field(i).Name; name != "Query" && keys.Type().Field(i).Tag.Get("yaml") != "-" && keys.Field(i).IsZero() {
			t.Errorf("caches.*.%s is not in this test", name)
		}
	}
	for name, want := range map[string]cache.Rule{
		"pages": {
			TTL: time.Second, ForceTTL: 2 * time.Second, StaleWhileRevalidate: 3 * time.Second, StaleIfError: 4 * time.Second, LockTimeout: 7 * time.Second,
			Tags: []string{"a", "b"}, IgnoreQuery: []string{"utm_*"}, IgnoreCookies: []string{"_ga*"}, KeyHeaders: []string{"X-Tenant"},
			Heuristic: true, MaxBody: 5 << 10, QueryMax: 64 << 10, Errors: map[int]time.Duration{http.StatusNotFound: 6 * time.Second},
		},
		"by-id":     {Query: []string{"id"}, LockTimeout: 5 * time.Second, MaxBody: 1 << 20, QueryMax: 64 << 10},
		"any-query": {Query: []string{}, LockTimeout: 5 * time.Second, MaxBody: 1 << 20, QueryMax: 64 << 10},
	} {
		want.Name = name
		got := *p.Caches[name]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got): %s", name, diff)
		}
	}
}

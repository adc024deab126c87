package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// own is a line of our own access log: a time after midnight, method, path, status, and more fields.
func own(at time.Duration, method, uri string, status int, more string) string {
	return fmt.Sprintf(`{"time":%q,"client_ip":"192.0.2.1","method":%q,"host":"a.example","uri":%q,"status":%d,"bytes":10,"duration_ms":1%s}`+"\n",
		midnight.Add(at).Format("2006-01-02T15:04:05.000Z07:00"), method, uri, status, more)
}

func TestWhatOurOwnLogTellsBeyondOthersIsHeeded(t *testing.T) {
	t.Parallel()
	const byApp, session = `,"upstream":"http://a"`, `,"user":"u","session":"s"`
	tests := []struct {
		name, policy string
		lines        []string
		denied       map[string]int64 // by limit
		cache        replay.CacheCount
		maintenance  int64
		networks     int64
	}{
		{name: "what the gateway refused itself counts by its status", policy: `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, count: [401]}}
routes: [{path: /*, upstream: shop, limits: l}]`,
			lines:  []string{own(0, "GET", "/", 403, `,"error":"cross-site"`), own(s, "GET", "/", 401, `,"error":"no key"`), own(2*s, "GET", "/", 401, `,"error":"no key"`)},
			denied: map[string]int64{"l": 1}},
		{name: "a request in flight holds its place for as long as it took", policy: `
limits: {l: {concurrent: 2}}
routes: [{path: /*, upstream: shop, limits: l}]`,
			lines: []string{own(0, "GET", "/", 200, `,"duration_ms":5000`+byApp), own(s, "GET", "/", 200, `,"duration_ms":1500`+byApp), own(2*s, "GET", "/", 200, byApp),
				own(3*s, "GET", "/", 200, byApp), own(4*s, "GET", "/", 200, byApp)},
			denied: map[string]int64{"l": 1}},
		{name: "users have numbers of their own, and the plan that the log names", policy: `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, plans: {user: 2, gold: 3}}}
routes: [{path: /*, upstream: shop, limits: l, session: optional}]`,
			lines: []string{own(0, "GET", "/", 200, byApp), own(s, "GET", "/", 200, byApp), own(2*s, "GET", "/", 200, byApp+session), own(3*s, "GET", "/", 200, byApp+session), own(4*s, "GET", "/", 200, byApp+session),
				own(5*s, "GET", "/", 200, byApp+session+`,"plan":"gold"`), own(6*s, "GET", "/", 200, byApp+session+`,"plan":"gold"`), own(7*s, "GET", "/", 200, byApp+session+`,"plan":"gold"`)},
			denied: map[string]int64{"l": 2}},
		{name: "limits of defaults hold where no route fits", policy: `
limits: {l: {algorithm: fixed_window, requests: 2, window: 1m, key: [ip, route]}}
defaults: {limits: l}
routes: [{path: /known, upstream: shop}]`,
			lines:  []string{own(0, "GET", "/a", 404, ""), own(s, "GET", "/b", 404, ""), own(2*s, "GET", "/c", 404, ""), own(3*s, "GET", "/known", 200, byApp)},
			denied: map[string]int64{"l": 1}},
		{name: "an error that the gateway answered with is given back", policy: `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, count: failed}}
routes: [{path: /*, upstream: shop, limits: l}]`,
			lines:  []string{own(0, "GET", "/", 502, `,"error":"no server"`), own(s, "GET", "/", 502, byApp), own(2*s, "GET", "/", 502, byApp)},
			denied: map[string]int64{"l": 1}},
		{name: "honest logins at once wait for each other's answers", policy: `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, count: failed}}
routes: [{path: /*, upstream: shop, limits: l, session: login}]`,
			lines: []string{own(0, "POST", "/", 200, byApp+`,"login":true`), own(0, "POST", "/", 200, byApp+`,"login":true`), own(0, "POST", "/", 200, byApp+`,"login":true`),
				own(0, "POST", "/", 200, byApp), own(0, "POST", "/", 200, byApp)},
			denied: map[string]int64{"l": 1}},
		{name: "a preflight that the gateway answered is not counted, one that was forwarded is", policy: `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m}}
routes: [{path: /*, upstream: shop, limits: l, cors: {allow_origins: ["https://b.example"]}}]`,
			lines:  []string{own(0, "OPTIONS", "/", 204, ""), own(0, "OPTIONS", "/", 204, ""), own(s, "OPTIONS", "/", 204, byApp), own(2*s, "OPTIONS", "/", 204, byApp)},
			denied: map[string]int64{"l": 1}},
		{name: "under maintenance no limit counts", policy: `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m}}
routes: [{path: /work, upstream: shop, limits: l, maintenance: {}}, {path: /let, upstream: shop, limits: l, maintenance: {allow: [192.0.2.1/32]}}]`,
			lines:  []string{own(0, "GET", "/work", 200, byApp), own(0, "GET", "/work", 200, byApp), own(0, "GET", "/let", 200, byApp), own(s, "GET", "/let", 200, byApp)},
			denied: map[string]int64{"l": 1}, maintenance: 2},
		{name: "a network of server.deny asks no limit", policy: `
server: {deny: [192.0.2.0/24]}
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m}}
routes: [{path: /*, upstream: shop, limits: l}]`,
			lines:    []string{own(0, "GET", "/", 200, byApp), own(s, "GET", "/%00", 403, `,"denied_network":"192.0.2.1/32","error":"denied network"`)},
			networks: 2},
		{name: "a denial is of the limit that the gateway asks first", policy: `
limits:
  users: {algorithm: fixed_window, requests: 1, window: 1m, key: user}
  per-ip: {algorithm: fixed_window, requests: 2, window: 1m}
routes: [{path: /me, upstream: shop, limits: [users, per-ip], session: optional}, {path: /*, upstream: shop, limits: per-ip}]`,
			lines: []string{own(0, "GET", "/me", 200, session), own(s, "GET", "/x", 200, ""), own(2*s, "GET", "/me", 200, session), own(3*s, "GET", "/me", 200, session)},
			// The second denial is remembered of the address, and nobody asks for the session.
			denied: map[string]int64{"users": 1, "per-ip": 1}},
		{name: "a live session goes past the cache, except on routes without sessions", policy: `
caches: {c: {ttl: 1m}}
routes: [{path: /with, upstream: shop, cache: c, session: optional}, {path: /without, upstream: shop, cache: c}]`,
			lines: []string{
				own(0, "GET", "/with", 200, ""), own(s, "GET", "/with", 200, session), own(2*s, "GET", "/with", 200, ""),
				own(0, "GET", "/without", 200, ""), own(s, "GET", "/without", 200, session),
			},
			cache: replay.CacheCount{Requests: 5, Hits: 2, Origin: 3}},
		{name: "what is too large is not cached", policy: `
caches: {c: {ttl: 1m, max_body: 9}}
routes: [{path: /*, upstream: shop, cache: c}]`,
			lines: []string{own(0, "GET", "/", 200, ""), own(s, "GET", "/", 200, "")},
			cache: replay.CacheCount{Requests: 2, Origin: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, replay.Options{Policy: parse(t, shop+tt.policy), Logs: []logs.Log{text("log", strings.Join(tt.lines, ""))}})
			for _, l := range r.Policy.Limits {
				if l.Denied != tt.denied[l.Name] {
					t.Errorf("limit %s denied %d, want %d", l.Name, l.Denied, tt.denied[l.Name])
				}
			}
			if c := r.Policy.Cache; c != nil && c.CacheCount != tt.cache {
				t.Errorf("cache: %+v, want %+v", c.CacheCount, tt.cache)
			}
			if r.Policy.Maintenance != tt.maintenance {
				t.Errorf("%d under maintenance", r.Policy.Maintenance)
			}
			if r.Policy.Networks != tt.networks || r.Policy.Unmatched.Top != nil && tt.networks > 0 {
				t.Errorf("%d of denied networks, %+v", r.Policy.Networks, r.Policy.Unmatched)
			}
			if told := strings.Contains(strings.Join(r.Notes, " "), "nothing is known of blocks"); told != (tt.networks > 0) {
				t.Errorf("notes: %q", r.Notes)
			}
		})
	}
}

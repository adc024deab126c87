package cache_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
)

// storeCase sends the same request twice and says whether the second one must
// have reached the origin.
type storeCase struct {
	name    string
	rule    cache.Rule
	status  int
	fields  []string // of the response
	request []string
	stored  bool
}

func (tc storeCase) run(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(tc.rule))
	if tc.status == 0 {
		tc.status = 200
	}
	s.serves(tc.status, "body", tc.fields...)
	s.get("/x", tc.request...)
	again := s.get("/x", tc.request...)
	if got := s.calls.Load() == 1; got != tc.stored {
		t.Fatalf("stored: %v, want %v (Cache-Status %q)", got, tc.stored, again.cacheStatus())
	}
	if tc.stored && again.StatusCode != tc.status {
		t.Fatalf("status %d from the cache, want %d", again.StatusCode, tc.status)
	}
}

// TestRFC9111StoringResponses goes through section 3, "Storing Responses in Caches".
func TestRFC9111StoringResponses(t *testing.T) {
	t.Parallel()
	const fresh = "Cache-Control: max-age=60"
	cases := []storeCase{
		{name: "3: no-store is not stored", fields: []string{"Cache-Control: no-store, max-age=60"}},
		{name: "3: no-store in any case of letters", fields: []string{"Cache-Control: No-StOrE, max-age=60"}},
		{name: "3: private is not stored by a shared cache", fields: []string{"Cache-Control: private, max-age=60"}},
		{name: "3: private on a line of its own", fields: []string{fresh, "Cache-Control: private"}},
		{name: "3: Authorization is not stored", fields: []string{fresh}, request: []string{"Authorization: Basic eDp5"}},
		{name: "3.5: Authorization with public is", stored: true, fields: []string{fresh + ", public"}, request: []string{"Authorization: Basic eDp5"}},
		{name: "3.5: Authorization with s-maxage is", stored: true, fields: []string{"Cache-Control: s-maxage=60"}, request: []string{"Authorization: Basic eDp5"}},
		{name: "3.5: Authorization with must-revalidate is", stored: true, fields: []string{fresh + ", must-revalidate"}, request: []string{"Authorization: Basic eDp5"}},
		{name: "3: explicit max-age is enough", stored: true, fields: []string{fresh}},
		{name: "3: explicit s-maxage is enough", stored: true, fields: []string{"Cache-Control: s-maxage=60"}},
		{name: "3: explicit Expires is enough", stored: true, fields: []string{"Date: Sun, 01 Mar 2026 12:00:00 GMT", "Expires: Sun, 01 Mar 2026 12:01:00 GMT"}},
		{name: "3: nothing explicit and no rule is not reused"},
		{name: "3: must-understand with a status it understands overrides no-store", stored: true, fields: []string{"Cache-Control: must-understand, no-store, max-age=60"}},
		{name: "3: must-understand with a status it does not understand", status: 299, fields: []string{"Cache-Control: must-understand, max-age=60"}},
		{name: "3: a status that is not known, with freshness", stored: true, status: 299, fields: []string{fresh}},
		{name: "3: 206 is not stored", status: 206, fields: []string{fresh, "Content-Range: bytes 0-3/10"}},
		{name: "3: 416 is not stored", status: 416, fields: []string{fresh}},
		{name: "3: a request's no-store", fields: []string{fresh}, request: []string{"Cache-Control: no-store"}},
		{name: "docs/architecture.md: Set-Cookie is not stored", fields: []string{fresh, "Set-Cookie: id=1"}},
		{name: "docs/architecture.md: Set-Cookie is not stored although public", fields: []string{fresh + ", public", "Set-Cookie: id=1"}},
		{name: "5.2.2.7: private with fields stores the rest", stored: true, fields: []string{`Cache-Control: private="X-Mine", max-age=60`, "X-Mine: 1"}},
		{name: "rule: a TTL where the origin says nothing", stored: true, rule: cache.Rule{TTL: time.Minute}},
		{name: "rule: no TTL for an error", status: 404, rule: cache.Rule{TTL: time.Minute}},
		{name: "rule: negative caching", stored: true, status: 404, rule: cache.Rule{Errors: map[int]time.Duration{404: time.Second}}},
		{name: "rule: the origin's max-age=0 wins over TTL", fields: []string{"Cache-Control: max-age=0"}, rule: cache.Rule{TTL: time.Minute}},
		{name: "rule: ForceTTL wins over max-age=0", stored: true, fields: []string{"Cache-Control: max-age=0"}, rule: cache.Rule{ForceTTL: time.Minute}},
		{name: "rule: ForceTTL wins over no-cache", stored: true, fields: []string{"Cache-Control: no-cache"}, rule: cache.Rule{ForceTTL: time.Minute}},
		{name: "rule: ForceTTL never over no-store", fields: []string{"Cache-Control: no-store"}, rule: cache.Rule{ForceTTL: time.Minute}},
		{name: "rule: ForceTTL never over private", fields: []string{"Cache-Control: private"}, rule: cache.Rule{ForceTTL: time.Minute}},
		{name: "rule: ForceTTL although the origin's cache has had it long", stored: true, fields: []string{"Age: 7200"}, rule: cache.Rule{ForceTTL: time.Minute}},
		{name: "cookie: no TTL for a request with one", request: []string{"Cookie: id=1"}, rule: cache.Rule{TTL: time.Minute}},
		{name: "cookie: no ForceTTL for a request with one", request: []string{"Cookie: id=1"}, rule: cache.Rule{ForceTTL: time.Minute}},
		{name: "cookie: the origin's word counts", stored: true, fields: []string{fresh}, request: []string{"Cookie: id=1"}},
		{name: "cookie: ignored ones do not stand in the way", stored: true, request: []string{"Cookie: _ga=1; _gat=2"}, rule: cache.Rule{TTL: time.Minute, IgnoreCookies: []string{"_ga*"}}},
		{name: "cookie: ignored ones beside others do", request: []string{"Cookie: _ga=1; id=2"}, rule: cache.Rule{TTL: time.Minute, IgnoreCookies: []string{"_ga*"}}},
		{name: "too large: declared", fields: []string{fresh, "Content-Length: 4"}, rule: cache.Rule{MaxBody: 3}},
		{name: "too large: found out", fields: []string{fresh, "Trailer: X"}, rule: cache.Rule{MaxBody: 3}},
	}
	for _, status := range []int{200, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 499, 500, 501, 502, 503, 504, 599} {
		cases = append(cases, storeCase{name: fmt.Sprintf("3: %d with freshness", status), stored: true, status: status, fields: []string{fresh}})
	}
	for _, status := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		cases = append(cases, storeCase{name: fmt.Sprintf("4.2.2: %d by heuristic", status), stored: true, status: status, rule: cache.Rule{Heuristic: true},
			fields: []string{"Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT", "Date: Sun, 01 Mar 2026 12:00:00 GMT"}})
	}
	for _, status := range []int{201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599} {
		lm := []string{"Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT", "Date: Sun, 01 Mar 2026 12:00:00 GMT"}
		cases = append(cases, storeCase{name: fmt.Sprintf("4.2.2: %d not by heuristic", status), status: status, rule: cache.Rule{Heuristic: true}, fields: lm},
			storeCase{name: fmt.Sprintf("4.2.2: %d by heuristic with public", status), stored: true, status: status, rule: cache.Rule{Heuristic: true}, fields: append(lm, "Cache-Control: public")})
	}
	for _, tc := range cases {
		t.Run(tc.name, tc.run)
	}
}

// TestRFC9111StoringHeaderFields is section 3.1: what is stored of the header.
func TestRFC9111StoringHeaderFields(t *testing.T) {
	t.Parallel()
	cases := []struct {
		field, value string
		stored       bool
	}{
		{"Test-Header", "a", true}, {"X-Test-Header", "a", true}, {"Content-Foo", "a", true}, {"Content-Type", "text/x", true},
		{"Content-Md5", "rL0Y20zC+Fzt72VPzMSk2A==", true}, {"Content-Security-Policy", "default-src 'self'", true},
		{"Etag", `"a"`, true}, {"Last-Modified", "Sat, 28 Feb 2026 12:00:00 GMT", true}, {"Clear-Site-Data", `"cookies"`, true},
		{"X-Frame-Options", "deny", true}, {"Link", "</a>; rel=preload", true}, {"Surrogate-Key", "a b", true},
		{"Keep-Alive", "timeout=5", false}, {"Proxy-Authenticate", "Basic", false},
		{"Proxy-Authentication-Info", "x", false}, {"Proxy-Authorization", "Basic x", false}, {"Proxy-Connection", "close", false},
		{"Te", "trailers", false}, {"Upgrade", "h2c", false}, {"Warning", `110 - "stale"`, false},
		{"Ratelimit", `"a";r=1`, false}, {"Ratelimit-Policy", `"a";q=1`, false}, {"X-Ratelimit-Limit", "1", false}, {"X-Request-Id", "1", false},
		{"X-Secret-Thing", "1", false},
	}
	for _, tc := range cases {
		t.Run(tc.field, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRoute(cache.MiddlewareOptions{Unstored: []string{"x-secret-*"}}))
			s.serves(200, "body", "Cache-Control: max-age=60", tc.field+": "+tc.value)
			s.get("/x")
			got := s.get("/x")
			s.expectCalls(1)
			if has := got.Header.Get(tc.field) == tc.value; has != tc.stored {
				t.Fatalf("%s is %q in the stored response", tc.field, got.Header.Get(tc.field))
			}
		})
	}
	t.Run("fields that Connection names", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60", "Connection: A, b", "A: 1", "B: 2", "C: 3")
		s.get("/x")
		if h := s.get("/x").Header; h.Get("A") != "" || h.Get("B") != "" || h.Get("C") != "3" {
			t.Fatalf("stored fields %v", h)
		}
	})
	for _, directive := range []string{"no-cache", "private"} {
		t.Run("5.2.2: fields that "+directive+" names", func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "body", `Cache-Control: `+directive+`="a, b", max-age=60`, "A: 1", "B: 2", "C: 3")
			if h := s.get("/x").Header; h.Get("A") != "1" {
				t.Fatalf("the first client did not get all fields: %v", h)
			}
			if h := s.get("/x").Header; h.Get("A") != "" || h.Get("B") != "" || h.Get("C") != "3" {
				t.Fatalf("stored fields %v", h)
			}
			s.expectCalls(1)
		})
	}
}

// TestRFC9111UpdatingStoredHeaderFields is section 3.2, with a 304.
func TestRFC9111UpdatingStoredHeaderFields(t *testing.T) {
	t.Parallel()
	cases := []struct {
		field, old, new string
		updated         bool
	}{
		{"Test-Header", "old", "new", true}, {"X-Test-Header", "old", "new", true}, {"Content-Foo", "old", "new", true},
		{"Content-Type", "text/plain", "text/html", true}, {"Content-Location", "/old", "/new", true},
		{"Content-Security-Policy", "default-src 'self'", "default-src 'none'", true}, {"X-Frame-Options", "deny", "sameorigin", true},
		{"Expires", "Sun, 01 Mar 2026 13:00:00 GMT", "Sun, 01 Mar 2026 14:00:00 GMT", true},
		{"Content-Length", "4", "5", false}, {"Content-Encoding", "x-old", "x-new", false}, {"Content-Digest", "old", "new", false},
		{"Content-Md5", "old", "new", true}, {"X-Content-Foo", "old", "new", true},
		{"Proxy-Authenticate", "", "Basic", false}, {"Keep-Alive", "", "timeout=5", false}, {"Warning", "", `110 - "stale"`, false},
		{"Content-Range", "old", "new", false},
	}
	for _, tc := range cases {
		t.Run(tc.field, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.respond(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=10")
				w.Header().Set("ETag", `"v"`)
				if r.Header.Get("If-None-Match") == `"v"` {
					w.Header().Set(tc.field, tc.new)
					w.WriteHeader(304)
					return
				}
				w.Header().Set(tc.field, tc.old)
				w.Write([]byte("body"))
			})
			s.get("/x")
			s.clock.step(11 * time.Second)
			want := tc.old
			if tc.updated {
				want = tc.new
			}
			for range 2 { // from the validation, and from what it stored
				got := s.get("/x")
				if got.Header.Get(tc.field) != want || got.body != "body" || got.StatusCode != 200 {
					t.Fatalf("%d, %s: %q, body %q; want %q", got.StatusCode, tc.field, got.Header.Get(tc.field), got.body, want)
				}
			}
			s.expectCalls(2)
		})
	}
	t.Run("a field that the 304 does not have stays", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("Last-Modified", "Sat, 28 Feb 2026 12:00:00 GMT")
			if r.Header.Get("If-Modified-Since") != "" {
				w.WriteHeader(304)
				return
			}
			w.Header().Set("A", "stays")
		})
		s.get("/x")
		s.clock.step(11 * time.Second)
		if got := s.get("/x"); got.Header.Get("A") != "stays" {
			t.Fatalf("header %v", got.Header)
		}
	})
}

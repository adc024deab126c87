package cache_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// TestRFC9111Invalidation is section 4.4, and RFC 9875 section 3.
func TestRFC9111Invalidation(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		method  string
		target  string
		status  int
		fields  []string
		invalid bool
	}{
		{name: "POST", method: "POST", invalid: true},
		{name: "PUT", method: "PUT", invalid: true},
		{name: "DELETE", method: "DELETE", status: 204, invalid: true},
		{name: "PATCH", method: "PATCH", invalid: true},
		{name: "a method that is not known", method: "M-SEARCH", invalid: true},
		{name: "a redirect", method: "POST", status: 303, invalid: true},
		{name: "OPTIONS is safe", method: "OPTIONS"},
		{name: "a client error changes nothing", method: "POST", status: 400},
		{name: "a server error changes nothing", method: "POST", status: 500},
		{name: "another URL", method: "POST", target: "/y"},
		{name: "another query", method: "POST", target: "/x?a=1"},
		{name: "Location", method: "POST", target: "/y", status: 201, fields: []string{"Location: /x"}, invalid: true},
		{name: "Location in full", method: "POST", target: "/y", status: 201, fields: []string{"Location: http://shop.test/x"}, invalid: true},
		{name: "Content-Location", method: "POST", target: "/y", fields: []string{"Content-Location: x"}, invalid: true},
		{name: "Location on another origin", method: "POST", target: "/y", status: 201, fields: []string{"Location: https://shop.test/x"}},
		{name: "Location on another host", method: "POST", target: "/y", status: 201, fields: []string{"Location: http://other.test/x"}},
		{name: "9875: a group", method: "POST", target: "/y", fields: []string{`Cache-Group-Invalidation: "a", "g1"`}, invalid: true},
		{name: "9875: another group", method: "POST", target: "/y", fields: []string{`Cache-Group-Invalidation: "a"`}},
		{name: "9875: not by a safe method", method: "OPTIONS", target: "/y", fields: []string{`Cache-Group-Invalidation: "g1"`}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "old", "Cache-Control: max-age=600", `Cache-Groups: "g1", "g2"`, "Vary: Foo")
			s.get("/x", "Foo: 1")
			s.get("/x", "Foo: 2")
			if tc.target == "" {
				tc.target = "/x"
			}
			if tc.status == 0 {
				tc.status = 200
			}
			s.serves(tc.status, "", tc.fields...)
			s.do(tc.method, tc.target)
			s.serves(200, "new", "Cache-Control: max-age=600")
			for _, foo := range []string{"Foo: 1", "Foo: 2"} {
				if invalid := s.get("/x", foo).body == "new"; invalid != tc.invalid {
					t.Fatalf("invalidated: %v, want %v", invalid, tc.invalid)
				}
			}
		})
	}
	t.Run("before the client is answered", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "old", "Cache-Control: max-age=600")
		s.get("/x")
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" {
				io.WriteString(w, "new")
				return
			}
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			if a := s.get("/x"); a.body != "new" { // the client may have the head by now
				t.Errorf("%q after the POST was answered", a.body)
			}
		})
		s.do("POST", "/x")
	})
	t.Run("tags of a purging route without a cache", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "old", "Cache-Control: max-age=600", "Cache-Tag: products")
		s.get("/x")
		e := echo.New()
		e.Use(s.cache.Invalidation(cache.InvalidationOptions{Tags: []string{"products"}}))
		status := 500
		e.POST("/admin", func(c echo.Context) error { return c.NoContent(status) })
		post := func() {
			req, _ := http.NewRequest("POST", "http://shop.test/admin", nil)
			e.ServeHTTP(discard{}, req)
		}
		post()
		if !s.get("/x").hit() {
			t.Fatal("a failed request purged")
		}
		status = 200
		post()
		s.serves(200, "new")
		if a := s.get("/x"); a.body != "new" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("the ignored query of a purged URL does not matter", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, withRule(cache.Rule{IgnoreQuery: []string{"utm_*"}}))
		s.serves(200, "old", "Cache-Control: max-age=600")
		s.get("/x?id=1&utm_source=a")
		s.serves(200, "new", "Cache-Control: max-age=600")
		if err := s.cache.Purge(context.Background(), cache.Purge{URL: "https://shop.test/x?utm_source=b&id=1"}); err != nil {
			t.Fatal(err)
		}
		if a := s.get("/x?id=1"); a.body != "new" {
			t.Fatalf("%q", a.body)
		}
	})
}

// TestRFC9111RequestDirectives is section 5.2.1: which of them are obeyed.
func TestRFC9111RequestDirectives(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		response string
		rule     cache.Rule
		step     time.Duration
		control  string
		reused   bool
	}{
		{name: "no-cache does not reach the origin", response: "max-age=60", control: "no-cache", reused: true},
		{name: "max-age=0 does not reach the origin", response: "max-age=60", control: "max-age=0", reused: true},
		{name: "min-fresh does not reach the origin", response: "max-age=60", control: "min-fresh=600", reused: true},
		{name: "5.2.1.2: max-stale", response: "max-age=10", step: 15 * time.Second, control: "max-stale=10", reused: true},
		{name: "5.2.1.2: max-stale without a value", response: "max-age=10", step: 15 * time.Second, control: "max-stale", reused: true},
		{name: "5.2.1.2: staler than max-stale", response: "max-age=10", step: 25 * time.Second, control: "max-stale=10"},
		{name: "5.2.2.2: max-stale with must-revalidate", response: "max-age=10, must-revalidate", step: 15 * time.Second, control: "max-stale=10"},
		{name: "5.2.2.10: max-stale with s-maxage", response: "s-maxage=10", step: 15 * time.Second, control: "max-stale=10"},
		{name: "5.2.1.5: no-store may still be answered from the cache", response: "max-age=60", control: "no-store", reused: true},
		{name: "obeyed: no-cache", rule: cache.Rule{ClientRevalidation: true}, response: "max-age=60", control: "no-cache"},
		{name: "obeyed: max-age", rule: cache.Rule{ClientRevalidation: true}, response: "max-age=60", step: 5 * time.Second, control: "max-age=4"},
		{name: "obeyed: a greater max-age", rule: cache.Rule{ClientRevalidation: true}, response: "max-age=60", step: 5 * time.Second, control: "max-age=6", reused: true},
		{name: "obeyed: min-fresh", rule: cache.Rule{ClientRevalidation: true}, response: "max-age=60", control: "min-fresh=61"},
		{name: "obeyed: a smaller min-fresh", rule: cache.Rule{ClientRevalidation: true}, response: "max-age=60", control: "min-fresh=59", reused: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRule(tc.rule))
			s.serves(200, "body", "Cache-Control: "+tc.response)
			s.get("/x")
			s.clock.step(tc.step)
			a := s.get("/x", "Cache-Control: "+tc.control)
			if reused := s.calls.Load() == 1; reused != tc.reused {
				t.Fatalf("reused: %v, want %v (%s)", reused, tc.reused, a.cacheStatus())
			}
		})
	}
	t.Run("5.2.1.7: only-if-cached", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60")
		if a := s.get("/x", "Cache-Control: only-if-cached"); a.StatusCode != 504 {
			t.Fatalf("status %d", a.StatusCode)
		}
		s.expectCalls(0)
		s.get("/x")
		if a := s.get("/x", "Cache-Control: only-if-cached"); a.body != "body" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("5.4: Pragma of a request is like no-cache, and does not reach the origin", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60")
		s.get("/x")
		s.get("/x", "Pragma: no-cache")
		s.expectCalls(1)
	})
}

// What went wrong in others, when they were probed.
func TestLeaksOfOthers(t *testing.T) {
	t.Parallel()
	const fresh = "Cache-Control: max-age=60"
	t.Run("a GET's body does not poison the key", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			io.Copy(w, r.Body)
		})
		req, _ := http.NewRequest("GET", s.server.URL+"/x", strings.NewReader("poison"))
		req.Host = "shop.test"
		res, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if !strings.Contains(res.Header.Get("Cache-Status"), "fwd=bypass") {
			t.Fatal(res.Header.Get("Cache-Status"))
		}
		if a := s.get("/x"); a.body != "" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("X-Forwarded-Host does not poison the key, nor choose it", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, r.Host)
		})
		s.get("/x", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https")
		if a := s.get("/x"); a.body != "shop.test" || !a.hit() {
			t.Fatalf("%q %s", a.body, a.cacheStatus())
		}
		if a := s.get("/x", "Host: other.test"); a.body != "other.test" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("Set-Cookie is not replayed", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "x", fresh, "Set-Cookie: id=1")
		s.get("/x")
		s.serves(200, "y", fresh)
		if a := s.get("/x"); a.Header.Get("Set-Cookie") != "" || a.body != "y" {
			t.Fatal("replayed")
		}
	})
	t.Run("an authorized answer is not for others", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "secret", fresh)
		s.get("/x", "Authorization: Bearer 1")
		s.serves(200, "login", fresh)
		if a := s.get("/x"); a.body != "login" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("nor is a stranger's for the authorized", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "login", fresh)
		s.get("/x")
		s.serves(200, "secret", fresh)
		if a := s.get("/x", "Authorization: Bearer 1"); a.body != "secret" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("what the rule alone keeps is not for requests with cookies", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, withRule(cache.Rule{TTL: time.Minute}))
		s.serves(200, "anonymous")
		s.get("/x")
		s.serves(200, "personal")
		if a := s.get("/x", "Cookie: app=1"); a.body != "personal" {
			t.Fatalf("%q", a.body)
		}
		if a := s.get("/x"); a.body != "anonymous" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("gzip without Vary does not go to a client that cannot read it", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.Header().Set("Content-Encoding", "gzip")
			}
			io.WriteString(w, "body")
		})
		s.get("/x", "Accept-Encoding: gzip")
		if a := s.get("/x", "Accept-Encoding: identity"); a.Header.Get("Content-Encoding") != "" {
			t.Fatal("gzip for identity")
		}
	})
	t.Run("a live session bypasses what is not public", func(t *testing.T) {
		t.Parallel()
		session := func(r *http.Request) bool { return r.Header.Get("X-Session") != "" }
		s := newSite(t, withRoute(cache.MiddlewareOptions{LiveSession: session}))
		s.serves(200, "anonymous", fresh)
		s.get("/x")
		s.serves(200, "mine", fresh)
		if a := s.get("/x", "X-Session: 1"); a.body != "mine" {
			t.Fatalf("%q", a.body)
		}
		if a := s.get("/x"); a.body != "anonymous" {
			t.Fatalf("%q", a.body)
		}
		s.serves(200, "for all", fresh+", public")
		s.get("/y", "X-Session: 1")
		for _, f := range []string{"X-Session: 2", "A: b"} {
			if a := s.get("/y", f); a.body != "for all" || !a.hit() {
				t.Fatalf("%q %s", a.body, a.cacheStatus())
			}
		}
	})
	t.Run("parameter cloaking with a semicolon", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, withRule(cache.Rule{TTL: time.Minute, IgnoreQuery: []string{"utm_*"}}))
		s.respond(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.RawQuery) })
		s.get("/x?id=1&utm_x=1;id=evil")
		if a := s.get("/x?id=1"); a.body != "id=1" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("control fields are not shared", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, withRoute(cache.MiddlewareOptions{Control: []string{"headgate-*"}}))
		s.serves(200, "x", fresh, "HEADGATE_Session_Merge: {}")
		s.get("/x")
		s.serves(200, "y", fresh)
		if a := s.get("/x"); a.body != "y" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("an operator's bypass is neither served nor stored", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, withRoute(cache.MiddlewareOptions{Bypass: func(r *http.Request) bool { return r.Header.Get("X-Token") == "t" }}))
		s.serves(200, "old", fresh)
		s.get("/x")
		s.serves(200, "new", fresh)
		if a := s.get("/x", "X-Token: t"); a.body != "new" {
			t.Fatalf("%q", a.body)
		}
		if a := s.get("/x"); a.body != "old" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("the gateway's own errors are not stored", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, withRule(cache.Rule{TTL: time.Minute, Errors: map[int]time.Duration{404: time.Minute}}))
		s.originIs(func(c echo.Context) error { return echo.ErrNotFound })
		s.get("/x")
		s.serves(200, "there")
		if a := s.get("/x"); a.body != "there" {
			t.Fatalf("%q", a.body)
		}
	})
}

package cache_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// TestRFC9111ConditionalRequests is section 4.3.2: conditions of a client that
// the cache answers by itself.
func TestRFC9111ConditionalRequests(t *testing.T) {
	t.Parallel()
	const lm = "Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT"
	cases := []struct {
		name    string
		fields  []string
		request []string
		status  int
	}{
		{"a strong tag", []string{`ETag: "abc"`}, []string{`If-None-Match: "abc"`}, 304},
		{"another tag", []string{`ETag: "abc"`}, []string{`If-None-Match: "abd"`}, 200},
		{"the first of a list", []string{`ETag: "abc"`}, []string{`If-None-Match: "abc", "1", "2"`}, 304},
		{"in the middle of a list", []string{`ETag: "abc"`}, []string{`If-None-Match: "1", "abc", "2"`}, 304},
		{"the last of a list", []string{`ETag: "abc"`}, []string{`If-None-Match: "1","2","abc"`}, 304},
		{"on a second line", []string{`ETag: "abc"`}, []string{`If-None-Match: "1"`, `If-None-Match: "abc"`}, 304},
		{"a tag with a comma", []string{`ETag: "a,b"`}, []string{`If-None-Match: "x", "a,b"`}, 304},
		{"part of a tag with a comma", []string{`ETag: "b"`}, []string{`If-None-Match: "a, "b"`}, 200},
		{"obs-text", []string{"ETag: \"abc\xc3\xa9\""}, []string{"If-None-Match: \"abc\xc3\xa9\""}, 304},
		{"weak with weak", []string{`ETag: W/"abc"`}, []string{`If-None-Match: W/"abc"`}, 304},
		{"weak with strong", []string{`ETag: W/"abc"`}, []string{`If-None-Match: "abc"`}, 304},
		{"strong with weak", []string{`ETag: "abc"`}, []string{`If-None-Match: W/"abc"`}, 304},
		{"w in lower case is no weak tag", []string{`ETag: W/"abc"`}, []string{`If-None-Match: w/"abc"`}, 200},
		{"a backslash is no escape", []string{`ETag: "a\b"`}, []string{`If-None-Match: "a\b"`}, 304},
		{"without quotes, both", []string{`ETag: abc`}, []string{`If-None-Match: abc`}, 304},
		{"*", []string{`ETag: "abc"`}, []string{`If-None-Match: *`}, 304},
		{"If-None-Match wins over If-Modified-Since", []string{`ETag: "abc"`, lm}, []string{`If-None-Match: "x"`, "If-Modified-Since: Sat, 28 Feb 2026 12:00:00 GMT"}, 200},
		{"If-None-Match alone counts", []string{`ETag: "abc"`, lm}, []string{`If-None-Match: "abc"`, "If-Modified-Since: Fri, 27 Feb 2026 12:00:00 GMT"}, 304},
		{"not modified since then", []string{lm}, []string{"If-Modified-Since: Sat, 28 Feb 2026 12:00:00 GMT"}, 304},
		{"not modified since later", []string{lm}, []string{"If-Modified-Since: Sat, 28 Feb 2026 13:00:00 GMT"}, 304},
		{"modified since", []string{lm}, []string{"If-Modified-Since: Sat, 28 Feb 2026 11:59:59 GMT"}, 200},
		{"since in RFC 850", []string{lm}, []string{"If-Modified-Since: Saturday, 28-Feb-26 12:00:00 GMT"}, 304},
		{"since no date", []string{lm}, []string{"If-Modified-Since: yesterday"}, 200},
		{"no Last-Modified: Date instead", []string{"Date: Sun, 01 Mar 2026 12:00:00 GMT"}, []string{"If-Modified-Since: Sun, 01 Mar 2026 12:00:00 GMT"}, 304},
		{"If-Match is for the origin", []string{`ETag: "abc"`}, []string{`If-Match: "x"`}, 200},
		{"If-Unmodified-Since is for the origin", []string{lm}, []string{"If-Unmodified-Since: Fri, 27 Feb 2026 12:00:00 GMT"}, 200},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "body", append(tc.fields, "Cache-Control: max-age=60", "Vary: Foo", "Content-Location: /y", "Content-Type: text/x")...)
			s.get("/x")
			a := s.get("/x", tc.request...)
			s.expectCalls(1)
			if a.StatusCode != tc.status {
				t.Fatalf("status %d, want %d", a.StatusCode, tc.status)
			}
			if tc.status == 304 {
				// RFC 9110 section 15.4.5
				for _, name := range []string{"Cache-Control", "Content-Location", "Date", "Vary"} {
					if a.Header.Get(name) == "" {
						t.Errorf("the 304 has no %s", name)
					}
				}
				if strings.HasPrefix(tc.fields[0], "ETag") && a.Header.Get("Etag") == "" {
					t.Error("the 304 has no ETag")
				}
				if a.body != "" || a.Header.Get("Content-Type") != "" {
					t.Errorf("the 304 describes a body: %v %q", a.Header, a.body)
				}
			}
		})
	}
}

// TestRFC9111Validation is sections 4.3.1, 4.3.3 and 4.3.4.
func TestRFC9111Validation(t *testing.T) {
	t.Parallel()
	// validating is an origin whose first answer is stale after 10 s.
	validating := func(t *testing.T, first []string, then func(w http.ResponseWriter, r *http.Request)) *site {
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			if s.calls.Load() > 1 {
				then(w, r)
				return
			}
			w.Header().Set("Cache-Control", "max-age=10")
			for _, f := range first {
				name, value, _ := strings.Cut(f, ": ")
				w.Header().Add(name, value)
			}
			io.WriteString(w, "first")
		})
		s.get("/x")
		s.clock.step(11 * time.Second)
		return s
	}
	notModified := func(fields ...string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			for _, f := range fields {
				name, value, _ := strings.Cut(f, ": ")
				w.Header().Set(name, value)
			}
			w.WriteHeader(304)
		}
	}

	t.Run("4.3.1: both validators are sent", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: W/"a"`, "Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT"}, notModified())
		if a := s.get("/x"); a.body != "first" || a.StatusCode != 200 || !strings.Contains(a.cacheStatus(), "fwd=stale; fwd-status=304") {
			t.Fatalf("%d %q %s", a.StatusCode, a.body, a.cacheStatus())
		}
		h := s.last().Header
		if h.Get("If-None-Match") != `W/"a"` || h.Get("If-Modified-Since") != "Sat, 28 Feb 2026 12:00:00 GMT" {
			t.Fatalf("sent %v", h)
		}
		s.get("/x")
		s.expectCalls(2)
	})
	t.Run("4.3.1: the selecting fields are sent", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`, "Vary: Foo"}, notModified())
		s.get("/x") // without Foo: the same variant
		if s.last().Header.Get("If-None-Match") != `"a"` {
			t.Fatal("not validated")
		}
		s.get("/x", "Foo: 1")
		if h := s.last().Header; h.Get("If-None-Match") != "" || h.Get("Foo") != "1" {
			t.Fatalf("another variant was validated: %v", h)
		}
	})
	t.Run("4.3.1: the client's own conditions are replaced, and then evaluated", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`}, notModified())
		if a := s.get("/x", `If-None-Match: "mine", "a"`); a.StatusCode != 304 {
			t.Fatalf("status %d", a.StatusCode)
		}
		if got := s.last().Header.Get("If-None-Match"); got != `"a"` {
			t.Fatalf("sent %s", got)
		}
	})
	t.Run("4.3.1: nothing to validate with", func(t *testing.T) {
		t.Parallel()
		s := validating(t, nil, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "second") })
		if a := s.get("/x"); a.body != "second" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("4.3.3: a full response replaces", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, "second")
		})
		for range 2 {
			if a := s.get("/x"); a.body != "second" {
				t.Fatalf("%q", a.body)
			}
		}
		s.expectCalls(2)
	})
	t.Run("4.3.3: a full response that is not stored supersedes", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			io.WriteString(w, "second")
		})
		s.get("/x")
		s.get("/x")
		if h := s.last().Header; h.Get("If-None-Match") != "" {
			t.Fatalf("what was superseded is still being validated: %v", h)
		}
	})
	t.Run("4.3.3: a server error is passed on", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
		if a := s.get("/x"); a.StatusCode != 500 {
			t.Fatalf("status %d", a.StatusCode)
		}
	})
	t.Run("4.3.4: a 304 with another strong tag is not about what is stored", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`}, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" {
				w.Header().Set("ETag", `"b"`)
				w.WriteHeader(304)
				return
			}
			w.Header().Set("Cache-Control", "max-age=10")
			io.WriteString(w, "asked again")
		})
		for range 2 {
			if a := s.get("/x"); a.body != "asked again" || a.StatusCode != 200 || a.err != nil {
				t.Fatalf("%d %q %v", a.StatusCode, a.body, a.err)
			}
			s.expectCalls(3) // also of a client that tries again when it is cut off
		}
	})
	t.Run("4.3.4: all variants with the same strong tag are freshened", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("Vary", "Foo")
			w.Header().Set("ETag", `"same"`)
			if r.Header.Get("If-None-Match") != "" {
				w.Header().Set("A", "new")
				w.WriteHeader(304)
				return
			}
			io.WriteString(w, r.Header.Get("Foo"))
		})
		s.get("/x", "Foo: 1")
		s.get("/x", "Foo: 2")
		s.clock.step(11 * time.Second)
		s.get("/x", "Foo: 1")
		if a := s.get("/x", "Foo: 2"); a.body != "2" || a.Header.Get("A") != "new" || !a.hit() {
			t.Fatalf("%q %v", a.body, a.Header)
		}
		s.expectCalls(3)
	})
	t.Run("a 304 with Set-Cookie is one user's", func(t *testing.T) {
		t.Parallel()
		s := validating(t, []string{`ETag: "a"`}, notModified("Set-Cookie: id=7"))
		if a := s.get("/x"); a.Header.Get("Set-Cookie") != "id=7" || a.body != "first" {
			t.Fatalf("%v %q", a.Header, a.body)
		}
		s.serves(200, "next", "Cache-Control: max-age=60")
		if a := s.get("/x"); a.Header.Get("Set-Cookie") != "" || a.body != "next" {
			t.Fatalf("replayed: %v %q", a.Header, a.body)
		}
	})
	t.Run("5.2.2.4: no-cache is validated every time", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache, max-age=60")
			w.Header().Set("ETag", `"a"`)
			if r.Header.Get("If-None-Match") == `"a"` {
				w.WriteHeader(304)
				return
			}
			io.WriteString(w, "body")
		})
		for i := range 3 {
			if a := s.get("/x"); a.body != "body" || a.StatusCode != 200 {
				t.Fatalf("%d %q", a.StatusCode, a.body)
			}
			s.expectCalls(int64(i + 1))
		}
		if s.last().Header.Get("If-None-Match") == "" {
			t.Fatal("not validated")
		}
	})
}

// TestRFC9111Head is section 4.3.5, and HEAD from a stored GET (section 4).
func TestRFC9111Head(t *testing.T) {
	t.Parallel()
	t.Run("answered from a stored GET", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60")
		s.get("/x")
		a := s.do("HEAD", "/x")
		s.expectCalls(1)
		if a.Header.Get("Content-Length") != "4" || a.StatusCode != 200 || a.body != "" {
			t.Fatalf("%d %v", a.StatusCode, a.Header)
		}
	})
	t.Run("not stored as a GET", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60")
		s.do("HEAD", "/x")
		if s.last().Method != "HEAD" {
			t.Fatalf("forwarded as %s", s.last().Method)
		}
		if a := s.get("/x"); a.body != "body" {
			t.Fatalf("%q", a.body)
		}
		s.expectCalls(2)
	})
	t.Run("the second one fetches the whole", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60")
		s.do("HEAD", "/x")
		s.do("HEAD", "/x")
		if s.last().Method != "GET" {
			t.Fatalf("forwarded as %s", s.last().Method)
		}
		eventually(t, "it is stored", func() bool { return s.cache.Stats().LocalEntries == 1 })
		s.do("HEAD", "/x")
		s.get("/x")
		s.expectCalls(2)
	})
	stale := func(t *testing.T, status int, fields ...string) *site {
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=10", `ETag: "a"`, "A: 1")
		s.get("/x")
		s.clock.step(11 * time.Second)
		s.serves(status, "", append(fields, "Cache-Control: max-age=60")...)
		s.do("HEAD", "/x")
		s.serves(200, "new", "Cache-Control: max-age=60")
		return s
	}
	t.Run("4.3.5: freshens what is stored", func(t *testing.T) {
		t.Parallel()
		s := stale(t, 200, `ETag: "a"`, "A: 2")
		if a := s.get("/x"); a.body != "body" || a.Header.Get("A") != "2" {
			t.Fatalf("%q %v", a.body, a.Header)
		}
	})
	t.Run("4.3.5: another tag invalidates", func(t *testing.T) {
		t.Parallel()
		if a := stale(t, 200, `ETag: "b"`).get("/x"); a.body != "new" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("4.3.5: another length invalidates", func(t *testing.T) {
		t.Parallel()
		if a := stale(t, 200, "Content-Length: 5").get("/x"); a.body != "new" {
			t.Fatalf("%q", a.body)
		}
	})
	t.Run("4.3.5: 410 invalidates", func(t *testing.T) {
		t.Parallel()
		if a := stale(t, 410).get("/x"); a.body != "new" {
			t.Fatalf("%q", a.body)
		}
	})
}

// TestRFC9110RangesFromAStoredResponse is RFC 9110 section 14 on a stored 200.
func TestRFC9110RangesFromAStoredResponse(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		request []string
		status  int
		body    string
		content string // Content-Range
	}{
		{"from the middle", []string{"Range: bytes=2-5"}, 206, "2345", "bytes 2-5/10"},
		{"to the end", []string{"Range: bytes=5-"}, 206, "56789", "bytes 5-9/10"},
		{"beyond the end", []string{"Range: bytes=5-100"}, 206, "56789", "bytes 5-9/10"},
		{"the last bytes", []string{"Range: bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{"more last bytes than there are", []string{"Range: bytes=-30"}, 206, "0123456789", "bytes 0-9/10"},
		{"a huge suffix", []string{"Range: bytes=-99999999999999999999"}, 206, "0123456789", "bytes 0-9/10"},
		{"one byte", []string{"Range: bytes=0-0"}, 206, "0", "bytes 0-0/10"},
		{"unit in capitals", []string{"Range: BYTES=0-0"}, 206, "0", "bytes 0-0/10"},
		{"out of it", []string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{"no last bytes", []string{"Range: bytes=-0"}, 416, "", "bytes */10"},
		{"backwards", []string{"Range: bytes=5-2"}, 200, "0123456789", ""},
		{"several", []string{"Range: bytes=0-1,4-5"}, 200, "0123456789", ""},
		{"another unit", []string{"Range: lines=0-1"}, 200, "0123456789", ""},
		{"nonsense", []string{"Range: bytes=a-b"}, 200, "0123456789", ""},
		{"If-Range holds", []string{"Range: bytes=0-1", `If-Range: "v"`}, 206, "01", "bytes 0-1/10"},
		{"If-Range does not hold", []string{"Range: bytes=0-1", `If-Range: "w"`}, 200, "0123456789", ""},
		{"If-Range weak", []string{"Range: bytes=0-1", `If-Range: W/"v"`}, 200, "0123456789", ""},
		{"If-Range by date", []string{"Range: bytes=0-1", "If-Range: Sat, 28 Feb 2026 12:00:00 GMT"}, 206, "01", "bytes 0-1/10"},
		{"If-Range by another date", []string{"Range: bytes=0-1", "If-Range: Fri, 27 Feb 2026 12:00:00 GMT"}, 200, "0123456789", ""},
		{"a condition comes first", []string{"Range: bytes=0-1", `If-None-Match: "v"`}, 304, "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "0123456789", "Cache-Control: max-age=60", `ETag: "v"`, "Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT", "A: 1")
			s.get("/x")
			a := s.get("/x", tc.request...)
			s.expectCalls(1)
			if a.StatusCode != tc.status || a.body != tc.body || a.Header.Get("Content-Range") != tc.content {
				t.Fatalf("%d %q %q", a.StatusCode, a.body, a.Header.Get("Content-Range"))
			}
			if tc.status == 206 && (a.Header.Get("Etag") != `"v"` || a.Header.Get("A") != "1" || a.Header.Get("Age") == "") {
				t.Fatalf("fields of the stored response are missing: %v", a.Header)
			}
		})
	}
	t.Run("of nothing stored goes to the origin as it is", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(206, "23", "Cache-Control: max-age=60", "Content-Range: bytes 2-3/10")
		a := s.get("/x", "Range: bytes=2-3")
		if a.StatusCode != 206 || a.body != "23" || s.last().Header.Get("Range") != "bytes=2-3" {
			t.Fatalf("%d %q", a.StatusCode, a.body)
		}
		// It was a part of something small: the next one fetches that.
		s.serves(200, "0123456789", "Cache-Control: max-age=60")
		s.get("/x", "Range: bytes=2-3")
		if s.last().Header.Get("Range") != "" {
			t.Fatal("the whole was not fetched")
		}
		if a := s.get("/x", "Range: bytes=2-3"); a.StatusCode != 206 || a.body != "23" || !a.hit() {
			t.Fatalf("%d %q %s", a.StatusCode, a.body, a.cacheStatus())
		}
		s.expectCalls(2)
	})
	t.Run("across pieces of a large body", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		body := strings.Repeat("0123456789abcdef", 30_000)
		s.serves(200, body, "Cache-Control: max-age=60")
		s.get("/x")
		if a := s.get("/x", "Range: bytes=65000-131199"); a.body != body[65000:131200] {
			t.Fatalf("%d bytes", len(a.body))
		}
	})
}

// TestRFC9111ServingStale is section 4.2.4 with RFC 5861.
func TestRFC9111ServingStale(t *testing.T) {
	t.Parallel()
	unreachable := func(c echo.Context) error { return echo.NewHTTPError(http.StatusBadGateway, "away") }
	fails := func(status int) echo.HandlerFunc {
		return func(c echo.Context) error { return c.NoContent(status) }
	}
	cases := []struct {
		name    string
		control string
		rule    cache.Rule
		step    time.Duration
		origin  echo.HandlerFunc
		stale   bool
	}{
		{name: "4.2.4: the origin is away", control: "max-age=10", origin: unreachable, stale: true},
		{name: "4.2.4: away, must-revalidate", control: "max-age=10, must-revalidate", origin: unreachable},
		{name: "4.2.4: away, proxy-revalidate", control: "max-age=10, proxy-revalidate", origin: unreachable},
		{name: "4.2.4: away, s-maxage", control: "s-maxage=10", origin: unreachable},
		{name: "4.2.4: away, no-cache", control: "max-age=10, no-cache", origin: unreachable},
		{name: "5861: 503 without permission", control: "max-age=10", origin: fails(503)},
		{name: "5861: 503 with stale-if-error", control: "max-age=10, stale-if-error=60", origin: fails(503), stale: true},
		{name: "5861: 500 with stale-if-error", control: "max-age=10, stale-if-error=60", origin: fails(500), stale: true},
		{name: "5861: 404 is no error", control: "max-age=10, stale-if-error=60", origin: fails(404)},
		{name: "5861: stale-if-error is over", control: "max-age=10, stale-if-error=60", step: time.Minute + time.Second, origin: fails(503)},
		{name: "5861: stale-if-error with must-revalidate", control: "max-age=10, must-revalidate, stale-if-error=60", origin: fails(503)},
		{name: "rule: stale_if_error", control: "max-age=10", rule: cache.Rule{StaleIfError: time.Minute}, origin: fails(504), stale: true},
		{name: "rule: the response's own wins", control: "max-age=10, stale-if-error=0", rule: cache.Rule{StaleIfError: time.Minute}, origin: fails(504)},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRule(tc.rule))
			s.serves(200, "stored", "Cache-Control: "+tc.control, `ETag: "a"`)
			s.get("/x")
			s.clock.step(11*time.Second + tc.step)
			s.originIs(tc.origin)
			a := s.get("/x")
			s.expectCalls(2)
			if stale := a.body == "stored"; stale != tc.stale {
				t.Fatalf("stale: %v, want %v (%d, %s)", stale, tc.stale, a.StatusCode, a.cacheStatus())
			}
			if !tc.stale && a.StatusCode < 400 {
				t.Fatalf("status %d instead of an error", a.StatusCode)
			}
		})
	}
	for _, name := range []string{"response", "rule"} {
		t.Run("5861: stale-while-revalidate of the "+name, func(t *testing.T) {
			t.Parallel()
			r, control := cache.Rule{}, "max-age=10, stale-while-revalidate=30"
			if name == "rule" {
				r, control = cache.Rule{StaleWhileRevalidate: 30 * time.Second}, "max-age=10"
			}
			s := newSite(t, withRule(r))
			s.serves(200, "old", "Cache-Control: "+control)
			s.get("/x")
			s.clock.step(15 * time.Second)
			s.serves(200, "new", "Cache-Control: "+control)
			if a := s.get("/x"); a.body != "old" || a.Header.Get("Age") != "15" {
				t.Fatalf("%q, Age %s", a.body, a.Header.Get("Age"))
			}
			eventually(t, "it is refreshed", func() bool { return s.get("/x").body == "new" })
			s.clock.step(41 * time.Second)
			s.serves(200, "newest", "Cache-Control: "+control)
			if a := s.get("/x"); a.body != "newest" {
				t.Fatalf("%q beyond the window", a.body)
			}
		})
	}
}

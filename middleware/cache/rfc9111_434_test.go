package cache_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// header makes a header of fields, "Name: value".
func header(fields ...string) http.Header {
	h := http.Header{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

// goneStale is a site with one stored response that is stale.
func goneStale(t *testing.T, fields ...string) *site {
	s := newSite(t)
	s.serves(200, "first", append(fields, "Cache-Control: max-age=10")...)
	s.get("/x")
	s.clock.step(11 * time.Second)
	return s
}

// TestRFC9111PersonalNotModified is section 4.3.4 where the 304 may not be
// stored: the one who asked gets all of it.
func TestRFC9111PersonalNotModified(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		fields []string
		send   []string
		kept   bool
	}{
		{name: "Set-Cookie is for one user: what is stored stays as it was", fields: []string{"Cache-Control: max-age=60", "Set-Cookie: id=7"}, kept: true},
		{name: "a request's no-store: what is stored stays as it was", fields: []string{"Cache-Control: max-age=60"}, send: []string{"Cache-Control: no-store"}, kept: true},
		{name: "no-store ends what is stored", fields: []string{"Cache-Control: no-store"}},
		{name: "private ends what is stored", fields: []string{"Cache-Control: private"}},
		{name: "Vary: * ends what is stored", fields: []string{"Vary: *"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := goneStale(t, `ETag: "a"`)
			s.serves(304, "", tc.fields...)
			a := s.get("/x", tc.send...)
			if a.body != "first" || a.StatusCode != 200 {
				t.Fatalf("%d %q", a.StatusCode, a.body)
			}
			for _, name := range []string{"Set-Cookie", "Cache-Control"} {
				if got, want := a.Header.Get(name), header(tc.fields...).Get(name); want != "" && got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			s.get("/x", `If-None-Match: "z"`)
			s.expectCalls(3)
			if sent := s.last().Header.Get("If-None-Match"); (sent == `"a"`) != tc.kept {
				t.Fatalf("the next validation sends %s", sent)
			}
		})
	}
}

// A request that comes when a validation has been answered for its own client
// alone, and the handler has not returned yet, validates by itself. It joined
// that validation, and went to the origin without the stored validators.
func TestRequestAfterAPersonalNotModifiedValidatesByItself(t *testing.T) {
	t.Parallel()
	s := goneStale(t, `ETag: "a"`)
	g := newGate()
	defer g.release()
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Set-Cookie", "id=7")
		w.WriteHeader(304)
		if s.calls.Load() == 2 {
			g.wait()
		}
	})
	if a := s.get("/x"); a.body != "first" {
		t.Fatalf("%q", a.body)
	}
	s.get("/x", `If-None-Match: "z"`)
	if sent := s.last().Header.Get("If-None-Match"); sent != `"a"` {
		t.Fatalf("the next validation sends %s", sent)
	}
}

// TestRFC9111ValidationSupersedes is section 4.3.3 and 4 ("the most recent
// response"): what has been validated is gone, whatever dates the new one has
// and whatever it varies on.
func TestRFC9111ValidationSupersedes(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 304} {
		t.Run(fmt.Sprintf("an older Date and another Vary on a %d", status), func(t *testing.T) {
			t.Parallel()
			s := goneStale(t, `ETag: "a"`, "Vary: Foo", "Date: Sun, 01 Mar 2026 12:00:05 GMT")
			s.serves(status, "second", `ETag: "a"`, "Vary: Foo, Bar", "Date: Sun, 01 Mar 2026 12:00:01 GMT", "Cache-Control: max-age=60")
			s.get("/x")
			if a := s.get("/x"); !a.hit() {
				t.Fatalf("not reused: %s", a.cacheStatus())
			}
			s.expectCalls(2)
		})
	}
}

// TestRFC9111HeadLeavesWhatItSaysNothingAbout is section 4.3.5: only a 200 (or
// what was stored) is to be compared; an error of the server, or the answer to
// a client's own condition, says nothing about what is stored.
func TestRFC9111HeadLeavesWhatItSaysNothingAbout(t *testing.T) {
	t.Parallel()
	for _, status := range []int{304, 500, 503, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := goneStale(t, `ETag: "a"`)
			s.serves(status, "")
			s.do("HEAD", "/x", `If-None-Match: "mine"`)
			s.serves(304, "", "Cache-Control: max-age=60")
			if a := s.get("/x"); a.body != "first" {
				t.Fatalf("%d %q", a.StatusCode, a.body)
			}
		})
	}
}

// TestRFC9111MustRevalidateWithoutTheOrigin is section 5.2.2.2: the error that
// is generated instead of a stale answer is a 504.
func TestRFC9111MustRevalidateWithoutTheOrigin(t *testing.T) {
	t.Parallel()
	for control, status := range map[string]int{"must-revalidate": 504, "proxy-revalidate": 504, "s-maxage=10": 504, "no-cache": 502} {
		t.Run(control, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "first", `ETag: "a"`, "Cache-Control: max-age=10, "+control)
			s.get("/x")
			s.clock.step(11 * time.Second)
			s.originIs(func(c echo.Context) error { return echo.NewHTTPError(http.StatusBadGateway, "away") })
			if a := s.get("/x"); a.StatusCode != status {
				t.Fatalf("status %d, want %d", a.StatusCode, status)
			}
		})
	}
}

// TestNotModifiedKeepsWhatMiddlewareInFrontHasSet: on a 304 as on a 200.
func TestNotModifiedKeepsWhatMiddlewareInFrontHasSet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.front = func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set("Vary", "Origin")
			c.Response().Header().Set("RateLimit", `"a";r=1`)
			return next(c)
		}
	}
	s.serves(200, "body", "Cache-Control: max-age=60", `ETag: "a"`, "Vary: Foo")
	for _, send := range []string{"A: b", "A: b", `If-None-Match: "a"`} {
		a := s.get("/x", send)
		if got := strings.Join(a.Header["Vary"], ", "); got != "Origin, Foo" || a.Header.Get("RateLimit") == "" {
			t.Errorf("%d to %s: Vary %q in %v", a.StatusCode, send, got, a.Header)
		}
	}
	s.expectCalls(1)
}

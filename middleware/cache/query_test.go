package cache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
)

// QUERY, RFC 10008: safe, idempotent, and cached by its content.

// answersQueries sets an origin that says what it was asked.
func answersQueries(s *site, fields ...string) {
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Set(name, value)
		}
		fmt.Fprintf(w, "%s %q of %q in %q", r.Method, content, r.Header.Get("Content-Type"), r.Header.Get("Accept-Language"))
	})
}

func TestQueryInvalidatesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	answersQueries(s)
	s.get("/hot")
	s.query("/hot", "anything", false)
	if a := s.get("/hot"); !a.hit() {
		t.Fatalf("a QUERY has emptied the entry of its URL: %s", a.cacheStatus())
	}
}

func TestQueryIsKeyedByItsContent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	answersQueries(s)
	first := s.query("/q", "select 1", false, "Content-Type: application/sql")
	if want := `QUERY "select 1" of "application/sql" in ""`; first.body != want || first.hit() {
		t.Fatalf("%s, %s", first.body, first.cacheStatus())
	}
	for _, chunked := range []bool{false, true} {
		if a := s.query("/q", "select 1", chunked, "Content-Type: application/sql"); !a.hit() || a.body != first.body {
			t.Fatalf("the same, chunked %t: %s, %s", chunked, a.body, a.cacheStatus())
		}
	}
	for name, ask := range map[string]func() *answer{
		"other content":      func() *answer { return s.query("/q", "select 2", false, "Content-Type: application/sql") },
		"longer content":     func() *answer { return s.query("/q", "select 1 ", false, "Content-Type: application/sql") },
		"no content":         func() *answer { return s.query("/q", "", false, "Content-Type: application/sql") },
		"another media type": func() *answer { return s.query("/q", "select 1", false, "Content-Type: text/plain") },
		"no media type":      func() *answer { return s.query("/q", "select 1", false) },
		"an encoding": func() *answer {
			return s.query("/q", "select 1", false, "Content-Type: application/sql", "Content-Encoding: gzip")
		},
		"another language": func() *answer {
			return s.query("/q", "select 1", false, "Content-Type: application/sql", "Content-Language: de")
		},
		"another URL": func() *answer { return s.query("/q?x=1", "select 1", false, "Content-Type: application/sql") },
		"GET":         func() *answer { return s.get("/q") },
	} {
		if a := ask(); a.hit() {
			t.Errorf("%s: served from the entry of another: %s", name, a.body)
		}
	}
	if a := s.get("/q"); !a.hit() || !strings.HasPrefix(a.body, "GET ") {
		t.Errorf("GET: %s, %s", a.body, a.cacheStatus())
	}
	s.query("/other", "", false)
	if a := s.do("HEAD", "/other"); a.hit() {
		t.Errorf("a HEAD was served the entry of a QUERY: %s", a.cacheStatus())
	}
	if a := s.query("/q", "", false); a.hit() {
		t.Errorf("a QUERY without content was served the entry of GET: %s", a.body)
	}
}

func TestQueryAboveQueryMaxGoesPastTheCacheWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(cache.Rule{QueryMax: 10_000}))
	answersQueries(s)
	fits, long := strings.Repeat("x", 10_000), strings.Repeat("y", 10_001)
	for _, chunked := range []bool{false, true} {
		if a := s.query("/fits", fits, chunked); !strings.Contains(a.body, fits) || a.hit() != chunked {
			t.Errorf("10000 bytes, chunked %t: %s", chunked, a.cacheStatus())
		}
		for range 2 {
			a := s.query("/long", long, chunked)
			if !strings.Contains(a.body, long) || !strings.Contains(a.cacheStatus(), "fwd=bypass; detail=query-too-long") {
				t.Errorf("10001 bytes, chunked %t: %d bytes, %s", chunked, len(a.body), a.cacheStatus())
			}
		}
	}
}

func TestQueryIsValidatedWithItsContent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	answersQueries(s, `Etag: "v1"`)
	s.query("/q", "ask", false)
	if a := s.query("/q", "ask", false, `If-None-Match: "v1"`); a.StatusCode != 304 || !a.hit() {
		t.Fatalf("a conditional QUERY: %d, %s", a.StatusCode, a.cacheStatus())
	}
	if a := s.query("/q", "ask", false, "Range: bytes=0-4"); a.StatusCode != 206 || a.body != "QUERY" {
		t.Fatalf("a range of a QUERY's response: %d %s", a.StatusCode, a.body)
	}
	s.expectCalls(1)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		if r.Method != "QUERY" || string(content) != "ask" || r.Header.Get("If-None-Match") != `"v1"` {
			t.Errorf("validated by %s %q with If-None-Match: %s", r.Method, content, r.Header.Get("If-None-Match"))
		}
		w.WriteHeader(http.StatusNotModified)
	})
	s.clock.step(2 * time.Minute)
	if a := s.query("/q", "ask", false); a.StatusCode != 200 || !strings.HasPrefix(a.body, `QUERY "ask"`) {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	s.expectCalls(2)
}

func TestQueryIsSelectedByVary(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	answersQueries(s, "Vary: Accept-Language")
	for i, want := range []struct {
		language string
		hit      bool
	}{{"de", false}, {"fr", false}, {"de", true}, {"fr", true}} {
		a := s.query("/q", "ask", false, "Accept-Language: "+want.language)
		if a.hit() != want.hit || !strings.HasSuffix(a.body, fmt.Sprintf("%q", want.language)) {
			t.Errorf("%d: %s, %s", i, a.body, a.cacheStatus())
		}
	}
}

func TestPurgesAndUnsafeMethodsReachEveryQueryOfTheURL(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(cache.Rule{Tags: []string{"products"}}))
	answersQueries(s)
	purge := func(p cache.Purge) func() {
		return func() {
			if err := s.cache.Purge(context.Background(), p); err != nil {
				t.Error(err)
			}
		}
	}
	for name, change := range map[string]func(){
		"URL":    purge(cache.Purge{URL: "https://shop.test/a/q"}),
		"prefix": purge(cache.Purge{Prefix: "https://shop.test/a"}),
		"tag":    purge(cache.Purge{Tag: "products"}),
		"POST":   func() { s.do("POST", "/a/q") },
	} {
		for _, content := range []string{"one", "two"} {
			s.query("/a/q", content, false)
			if a := s.query("/a/q", content, false); !a.hit() {
				t.Fatalf("%s: not stored: %s", name, a.cacheStatus())
			}
		}
		change()
		for _, content := range []string{"one", "two"} {
			if a := s.query("/a/q", content, false); a.hit() {
				t.Errorf("%s: %s is still there", name, content)
			}
		}
	}
}

func TestAHundredEqualQueriesAskTheOriginOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	release := make(chan struct{})
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		<-release
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "%s %s", r.Method, content)
	})
	go func() { s.awaitWaiting(100); close(release) }()
	for i, a := range crowd(t, 100, func(int) (*answer, error) { return s.query("/q", "ask", false), nil }) {
		if a.body != "QUERY ask" {
			t.Fatalf("%d: %s", i, a.body)
		}
	}
	s.expectCalls(1)
}

func TestQueryOfOneInstanceIsAHitOnAnother(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "%s %s", r.Method, content)
	})
	f.sites[0].query("/q", "ask", false)
	eventually(t, "the entry is in Redis", func() bool { return f.sites[1].query("/q", "ask", false).hit() })
	if a := f.sites[1].query("/q", "another", false); a.hit() || a.body != "QUERY another" {
		t.Fatalf("%s, %s", a.body, a.cacheStatus())
	}
	server.AssertEveryKeyExpires(t)
}

// A QUERY whose content breaks off is the next handler's to refuse, and what that says is not stored for other clients.
func TestQueryThatBreaksOffIsPassedOnAsThat(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	failed := make(chan error, 1)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if string(content) == "beginning" {
			failed <- err
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(http.StatusBadRequest)
	})
	conn, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "QUERY /q HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 100\r\n\r\nbeginning")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := <-failed; err == nil {
		t.Fatal("the next handler was given the beginning for the whole")
	}
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && !strings.Contains(res.Header.Get("Cache-Status"), "query-incomplete") {
		t.Errorf("Cache-Status: %s", res.Header.Get("Cache-Status"))
	}
	if a := s.query("/q", "beginning"+strings.Repeat("x", 91), false); a.hit() {
		t.Errorf("the refusal was stored: %s", a.cacheStatus())
	}
}

// What clients hold by sending QUERY slowly is bounded, and other requests are cached all the while.
func TestContentOfQueriesIsBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, withOptions(func(o *cache.Options) { o.FillBytes = 256 << 10 }))
	answersQueries(s)
	const held = 16
	for range held { // each sends 4 KiB of 8, which takes 4 KiB of the 64 KiB that there are
		conn, err := net.Dial("tcp", s.host())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "QUERY /slow HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 8192\r\n\r\n%s", strings.Repeat("x", 4096))
	}
	eventually(t, "a QUERY goes past the cache", func() bool {
		a := s.query("/q", "ask", false)
		if !strings.HasPrefix(a.body, `QUERY "ask"`) {
			t.Fatalf("%s", a.body)
		}
		return strings.Contains(a.cacheStatus(), "query-memory")
	})
	s.get("/page")
	if a := s.get("/page"); !a.hit() {
		t.Errorf("a GET: %s", a.cacheStatus())
	}
}

func TestPlanOfAQueryNeedsItsContent(t *testing.T) {
	t.Parallel()
	route, err := cache.Compile(cache.Rule{Name: "test", QueryMax: 10}, cache.MiddlewareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plan := func(content string) cache.Plan {
		req, err := http.NewRequest("QUERY", "http://shop.test/q", strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return route.Plan(req)
	}
	a, b, long := plan("ask"), plan("other"), plan("longer than ten")
	if a.Action != cache.ActionLookUp || b.Action != cache.ActionLookUp || a.Key.Hash() == b.Key.Hash() {
		t.Errorf("%+v, %+v", a, b)
	}
	if parts := a.Key.Parts(); !strings.HasPrefix(parts[len(parts)-1], "QUERY of 3 bytes, sha256 ") {
		t.Errorf("%v", parts)
	}
	if long.Action != cache.ActionForward || long.Detail != "query-too-long" {
		t.Errorf("%+v", long)
	}
	req, _ := http.NewRequest("QUERY", "http://shop.test/q", nil)
	req.GetBody = nil
	if unknown := route.Plan(req); unknown.Key != nil || unknown.Detail != "query-unknown" {
		t.Errorf("%+v", unknown)
	}
}

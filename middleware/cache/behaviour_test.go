package cache_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/store"
)

// TestRFC9211CacheStatus: what the field says of each way through the cache.
func TestRFC9211CacheStatus(t *testing.T) {
	t.Parallel()
	const fresh = "Cache-Control: max-age=60"
	cases := []struct {
		name   string
		fields []string
		warm   bool
		step   time.Duration
		method string
		send   []string
		want   string
	}{
		{name: "a miss that is stored", fields: []string{fresh}, want: "headgate; fwd=uri-miss; ttl=60; stored"},
		{name: "a hit", fields: []string{fresh}, warm: true, step: 18 * time.Second, want: "headgate; hit; ttl=42"},
		{name: "stale", fields: []string{fresh}, warm: true, step: 61 * time.Second, want: "headgate; fwd=stale; ttl=60; stored"},
		{name: "another variant", fields: []string{fresh, "Vary: Foo"}, warm: true, send: []string{"Foo: 1"}, want: "headgate; fwd=vary-miss; ttl=60; stored"},
		{name: "a part", fields: []string{fresh}, send: []string{"Range: bytes=0-1"}, want: "headgate; fwd=partial; ttl=60; stored"},
		{name: "no-store", fields: []string{"Cache-Control: no-store"}, want: "headgate; fwd=uri-miss; detail=no-store"},
		{name: "private", fields: []string{"Cache-Control: private"}, want: "headgate; fwd=uri-miss; detail=private"},
		{name: "Set-Cookie", fields: []string{fresh, "Set-Cookie: a=b"}, want: "headgate; fwd=uri-miss; detail=set-cookie"},
		{name: "Vary: *", fields: []string{fresh, "Vary: *"}, want: "headgate; fwd=uri-miss; detail=vary"},
		{name: "no freshness", want: "headgate; fwd=uri-miss; detail=no-freshness"},
		{name: "authorization", fields: []string{fresh}, send: []string{"Authorization: Basic eDp5"}, want: "headgate; fwd=uri-miss; detail=authorization"},
		{name: "too large", fields: []string{fresh, "Content-Length: 4"}, want: "headgate; fwd=uri-miss; detail=too-large"},
		{name: "an unsafe method", method: "POST", want: "headgate; fwd=method"},
		{name: "a safe method", method: "OPTIONS", want: "headgate; fwd=method"},
		{name: "a path too deep to purge", send: []string{"Path: " + strings.Repeat("/a", 100)}, want: "headgate; fwd=bypass"},
		{name: "after a cache nearer the origin", fields: []string{fresh, "Cache-Status: near; hit"}, want: "near; hit | headgate; fwd=uri-miss; ttl=60; stored"},
		{name: "a hit after a cache nearer the origin", fields: []string{fresh, "Cache-Status: near; hit"}, warm: true, want: "near; hit | headgate; hit; ttl=60"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := cache.Rule{}
			if tc.name == "too large" {
				r.MaxBody = 2
			}
			s := newSite(t, withRule(r))
			s.serves(200, "body", tc.fields...)
			if tc.warm {
				s.get("/x")
			}
			s.clock.step(tc.step)
			if tc.method == "" {
				tc.method = "GET"
			}
			path := "/x"
			if len(tc.send) > 0 && strings.HasPrefix(tc.send[0], "Path: ") {
				path, tc.send = tc.send[0][len("Path: "):], nil
			}
			if got := strings.Join(s.do(tc.method, path, tc.send...).Header["Cache-Status"], " | "); got != tc.want {
				t.Fatalf("%s, want %s", got, tc.want)
			}
		})
	}
}

// After a purge there is nothing that could have been another variant.
func TestRFC9211PurgedIsAMissOfTheURI(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "body", "Cache-Control: max-age=60", "Vary: Foo")
	s.get("/x")
	if err := s.cache.Purge(context.Background(), cache.Purge{URL: "http://shop.test/x"}); err != nil {
		t.Fatal(err)
	}
	if a := s.get("/x", "Foo: 1"); !strings.Contains(a.cacheStatus(), "fwd=uri-miss") {
		t.Errorf("after a purge: %s", a.cacheStatus())
	}
	s.clock.step(time.Hour)
	if a := s.get("/x", "Foo: 2"); !strings.Contains(a.cacheStatus(), "fwd=uri-miss") {
		t.Errorf("with nothing but the expired: %s", a.cacheStatus())
	}
}

func TestKeySeparatesWhatDiffers(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name        string
		rule        cache.Rule
		first, then string
		head, tail  []string
		same        bool
	}{
		{name: "path", first: "/a", then: "/b"},
		{name: "letter case of the path", first: "/a", then: "/A"},
		{name: "an encoded slash", first: "/a/b", then: "/a%2Fb"},
		{name: "query", first: "/a?x=1", then: "/a?x=2"},
		{name: "order of the query", first: "/a?x=1&y=2", then: "/a?y=2&x=1"},
		{name: "an empty query", first: "/a", then: "/a?"},
		{name: "host", first: "/a", then: "/a", head: []string{"Host: a.test"}, tail: []string{"Host: b.test"}},
		{name: "port", first: "/a", then: "/a", head: []string{"Host: a.test:8080"}, tail: []string{"Host: a.test:8081"}},
		{name: "letter case of the host", first: "/a", then: "/a", head: []string{"Host: A.test"}, tail: []string{"Host: a.test"}, same: true},
		{name: "the default port", first: "/a", then: "/a", head: []string{"Host: a.test"}, tail: []string{"Host: a.test:80"}, same: true},
		{name: "ignored query", rule: cache.Rule{IgnoreQuery: []string{"utm_*"}}, first: "/a?utm_x=1&y=2", then: "/a?y=2&utm_z=1", same: true},
		{name: "ignored query, encoded", rule: cache.Rule{IgnoreQuery: []string{"utm_*"}}, first: "/a?utm%5Fx=1&y=2", then: "/a?y=2", same: true},
		{name: "only these", rule: cache.Rule{Query: []string{"id"}}, first: "/a?id=1&x=1", then: "/a?id=1&x=2", same: true},
		{name: "only these, which differ", rule: cache.Rule{Query: []string{"id"}}, first: "/a?id=1", then: "/a?id=2"},
		{name: "only these, twice", rule: cache.Rule{Query: []string{"id"}}, first: "/a?id=1", then: "/a?id=1&id=2"},
		{name: "key header", rule: cache.Rule{KeyHeaders: []string{"x-tenant"}}, first: "/a", then: "/a", head: []string{"X-Tenant: 1"}, tail: []string{"X-Tenant: 2"}},
		{name: "key header, empty and absent", rule: cache.Rule{KeyHeaders: []string{"x-tenant"}}, first: "/a", then: "/a", head: []string{"X-Tenant: "}},
		{name: "key header on two lines", rule: cache.Rule{KeyHeaders: []string{"x-tenant"}}, first: "/a", then: "/a", head: []string{"X-Tenant: 1", "X-Tenant: 2"}, tail: []string{"X-Tenant: 12"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRule(tc.rule))
			s.serves(200, "x", "Cache-Control: max-age=60")
			s.get(tc.first, tc.head...)
			if same := s.get(tc.then, tc.tail...).hit(); same != tc.same {
				t.Fatalf("the same entry: %v, want %v", same, tc.same)
			}
		})
	}
}

func TestIgnoredCookiesDoNotReachTheOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(cache.Rule{IgnoreCookies: []string{"_ga*"}}))
	s.get("/x", "Cookie: _ga=1; id=2; _gat_x=3")
	if got := s.last().Header.Get("Cookie"); got != "id=2" {
		t.Fatalf("Cookie: %s", got)
	}
	s.get("/y", "Cookie: _ga=1")
	if _, ok := s.last().Header["Cookie"]; ok {
		t.Fatal("an empty Cookie field")
	}
}

func TestStaleStandsInWithoutWaitingForTheOriginEachTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "old", "Cache-Control: max-age=10")
	s.get("/x")
	s.clock.step(20 * time.Second)
	s.originIs(func(echo.Context) error { return echo.NewHTTPError(504, "timeout") })
	for range 5 {
		if a := s.get("/x"); a.body != "old" {
			t.Fatalf("%d %q", a.StatusCode, a.body)
		}
	}
	s.expectCalls(2)
	s.clock.step(2 * time.Second)
	s.serves(200, "new", "Cache-Control: max-age=10")
	if a := s.get("/x"); a.body != "new" {
		t.Fatalf("%q", a.body)
	}
}

func TestRuleIsCheckedWhenItIsMade(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]cache.Rule{
		"no Name":        {},
		"ttl":            {Name: "r", TTL: -1},
		"force_ttl":      {Name: "r", ForceTTL: -1},
		"both query":     {Name: "r", Query: []string{"a"}, IgnoreQuery: []string{"b"}},
		"key_headers":    {Name: "r", KeyHeaders: []string{"a b"}},
		"max_body":       {Name: "r", MaxBody: -1},
		"errors.206":     {Name: "r", Errors: map[int]time.Duration{206: time.Second}},
		"not a tag":      {Name: "r", Tags: []string{" "}},
		"ignore_query":   {Name: "r", IgnoreQuery: []string{""}},
		"not a pattern":  {Name: "r", IgnoreCookies: []string{"*a*a*a*a*a*a*a*a*a*"}},
		"stale_if_error": {Name: "r", StaleIfError: -1},
	} {
		if err := r.Check(); err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%+v: %v, want an error about %s", r, err, want)
		}
	}
	for _, p := range []cache.Purge{{}, {All: true, Tag: "a"}, {URL: "/x"}, {URL: "ftp://a/b"}, {Prefix: "http://a/?x"}, {URL: "http://a/%zz"}} {
		c, err := cache.New(cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Purge(context.Background(), p); err == nil {
			t.Errorf("%+v was accepted", p)
		}
		c.Close()
	}
}

// recorder notes what the cache tells its observer.
type recorder struct {
	cache.NopObserver
	mu      sync.Mutex
	results []cache.Result
	stored  int64
	purged  []string
}

func (r *recorder) Request(res cache.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, res)
}

func (r *recorder) Stored(_ string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored += n
}

func (r *recorder) Purged(kind string, _ bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purged = append(r.purged, kind)
}

func TestObserverIsToldOnceForEachRequest(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	s := newSite(t, withOptions(func(o *cache.Options) { o.Observer = rec }))
	s.serves(200, "body", "Cache-Control: max-age=60")
	s.get("/x")
	s.get("/x")
	s.serves(200, "body", "Cache-Control: no-store")
	s.get("/y")
	if err := s.cache.PurgeTags(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	want := []cache.Result{{Rule: "test", Forward: "uri-miss"}, {Rule: "test", Hit: true, Tier: cache.TierLocal}, {Rule: "test", Forward: "uri-miss", Detail: "no-store"}}
	if len(rec.results) != len(want) {
		t.Fatalf("%+v", rec.results)
	}
	for i, r := range rec.results {
		if r != want[i] {
			t.Errorf("%+v, want %+v", r, want[i])
		}
	}
	if rec.stored != 4 || len(rec.purged) != 1 {
		t.Errorf("stored %d, purged %v", rec.stored, rec.purged)
	}
}

func TestLocalTierStaysInItsBytes(t *testing.T) {
	t.Parallel()
	s := newSite(t, withOptions(func(o *cache.Options) { o.LocalBytes = 1 << 20 }))
	s.serves(200, strings.Repeat("x", 50_000), "Cache-Control: max-age=60")
	for i := range 100 {
		s.get("/" + strings.Repeat("x", i))
	}
	eventually(t, "the tier is full, and within its bound", func() bool {
		st := s.cache.Stats()
		return st.LocalBytes <= 1<<20 && st.LocalEntries > 0 && st.LocalEntries <= 21
	})
}

func TestMiddlewareForAnyEchoApp(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.Use(cache.Middleware(cache.Options{Rule: cache.Rule{TTL: time.Minute}}))
	calls := 0
	e.GET("/users/:id", func(c echo.Context) error {
		calls++
		return c.String(200, "user "+c.Param("id")+" at "+c.Path())
	})
	for range 2 {
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, httptest.NewRequest("GET", "/users/7", nil))
		if rec.Body.String() != "user 7 at /users/:id" {
			t.Fatalf("%q", rec.Body)
		}
	}
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	ignore := goleak.IgnoreCurrent() // not parallel, for that
	server := redistest.Start(t)
	r, err := store.Open(store.Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(cache.Options{Redis: r})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.Use(c.Middleware(cache.Rule{Name: "r", TTL: time.Minute}, cache.MiddlewareOptions{}))
	e.GET("/*", func(c echo.Context) error { return c.String(200, "x") })
	for _, path := range []string{"/a", "/a", "/b"} {
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	server.Client.Close()
	server.Close()
	goleak.VerifyNone(t, ignore)
}

func TestRequestsAfterCloseGoToTheOrigin(t *testing.T) {
	t.Parallel()
	c, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.Use(c.Middleware(cache.Rule{Name: "r"}, cache.MiddlewareOptions{}))
	e.GET("/*", func(c echo.Context) error { return c.String(200, "x") })
	c.Close()
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/a", nil))
	if rec.Body.String() != "x" {
		t.Fatalf("%d %q", rec.Code, rec.Body)
	}
}

// What clients send at will must not cost much, nor be kept.
func TestHostileRequestsAreAnsweredAndNotKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(cache.Rule{TTL: time.Minute, KeyHeaders: []string{"X-Tenant"}}))
	s.serves(200, "x", "Vary: Accept-Language")
	big := strings.Repeat("en, ", 100_000)
	for name, send := range map[string]func() *answer{
		"a long query":      func() *answer { return s.get("/q?" + strings.Repeat("a=b&", 10_000)) },
		"a deep path":       func() *answer { return s.get(strings.Repeat("/a", 10_000)) },
		"a long key header": func() *answer { return s.get("/k", "X-Tenant: "+big) },
		"a long condition":  func() *answer { return s.get("/c", "If-None-Match: "+strings.Repeat(`"a", `, 50_000)) },
	} {
		if a := send(); a.StatusCode != 200 || a.body != "x" {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	for range 40 {
		if a := s.get("/l", "Accept-Language: "+big); a.StatusCode != 200 {
			t.Errorf("a long language: %d", a.StatusCode)
		}
	}
	if n := s.cache.Stats().LocalEntries; n > 2 {
		t.Errorf("%d of them were kept", n)
	}
}

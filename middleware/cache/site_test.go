package cache_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// clock is a time that tests step.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a cache in front of an origin, with a real HTTP server before it.
type site struct {
	t      testing.TB
	clock  *clock
	cache  *cache.Cache
	server *httptest.Server
	client *http.Client
	calls  atomic.Int64

	mu     sync.Mutex
	origin echo.HandlerFunc
	front  echo.MiddlewareFunc // before the cache; nil: none
	seen   []*http.Request     // what reached the origin
}

type siteOption func(*siteConfig)

type siteConfig struct {
	options cache.Options
	rule    cache.Rule
	route   cache.MiddlewareOptions
	clock   *clock
}

func withRule(r cache.Rule) siteOption                { return func(c *siteConfig) { c.rule = r } }
func withRoute(o cache.MiddlewareOptions) siteOption  { return func(c *siteConfig) { c.route = o } }
func withOptions(f func(o *cache.Options)) siteOption { return func(c *siteConfig) { f(&c.options) } }
func withClock(k *clock) siteOption                   { return func(c *siteConfig) { c.clock = k } }

func newSite(t testing.TB, options ...siteOption) *site {
	t.Helper()
	cfg := siteConfig{rule: cache.Rule{Name: "test"}, clock: newClock()}
	for _, o := range options {
		o(&cfg)
	}
	if cfg.rule.Name == "" {
		cfg.rule.Name = "test"
	}
	if cfg.rule.LockTimeout == 0 {
		cfg.rule.LockTimeout = redisPatience // longer than the origin of any test takes that is not about it
	}
	s := &site{t: t, clock: cfg.clock}
	cfg.options.Now = s.clock.Now
	cfg.options.Logger = slog.New(slog.DiscardHandler)
	var err error
	if s.cache, err = cache.New(cfg.options); err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.HideBanner = true
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if s.front != nil {
				return s.front(next)(c)
			}
			return next(c)
		}
	}, s.cache.Middleware(cfg.rule, cfg.route))
	handler := func(c echo.Context) error {
		s.calls.Add(1)
		s.mu.Lock()
		s.seen = append(s.seen, c.Request().Clone(context.Background()))
		origin := s.origin
		s.mu.Unlock()
		return origin(c)
	}
	e.Any("/*", handler)
	e.Add("QUERY", "/*", handler)
	for _, method := range []string{"PURGE", "M-SEARCH", "LOCK"} {
		e.Add(method, "/*", func(c echo.Context) error { s.calls.Add(1); return s.origin(c) })
	}
	s.server = httptest.NewServer(e)
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 512},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.server.Close()
		if err := s.cache.Close(); err != nil {
			t.Error(err)
		}
	})
	s.respond(func(w http.ResponseWriter, r *http.Request) {})
	return s
}

// respond sets the origin.
func (s *site) respond(f func(w http.ResponseWriter, r *http.Request)) {
	s.originIs(func(c echo.Context) error {
		f(c.Response(), c.Request())
		return nil
	})
}

func (s *site) originIs(f echo.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.origin = f
}

// serves sets an origin that always answers the same: fields as "Name: value".
func (s *site) serves(status int, body string, fields ...string) {
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		if status != 204 && status != 304 {
			io.WriteString(w, body)
		}
	})
}

// last is the last request that the origin saw.
func (s *site) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[len(s.seen)-1]
}

type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (a *answer) cacheStatus() string { return a.Header.Get("Cache-Status") }
func (a *answer) hit() bool           { return strings.Contains(a.cacheStatus(), "; hit") }

// do sends a request: fields as "Name: value".
func (s *site) do(method, path string, fields ...string) *answer {
	s.t.Helper()
	a, err := s.try(context.Background(), method, path, fields...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (s *site) try(ctx context.Context, method, path string, fields ...string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "shop.test" // the same for all instances
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header[http.CanonicalHeaderKey(name)] = append(req.Header[http.CanonicalHeaderKey(name)], value)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return &answer{res, string(body), err}, nil
}

func (s *site) get(path string, fields ...string) *answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, fields...)
}

// query sends a QUERY with its content, whose length is not declared if chunked.
func (s *site) query(path, content string, chunked bool, fields ...string) *answer {
	s.t.Helper()
	var body io.Reader = strings.NewReader(content)
	if chunked {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequest("QUERY", s.server.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = "shop.test"
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return &answer{res, string(text), err}
}

func (s *site) host() string { return s.server.Listener.Addr().(*net.TCPAddr).String() }

// expectCalls fails unless the origin was asked this often so far.
func (s *site) expectCalls(want int64) {
	s.t.Helper()
	if got := s.calls.Load(); got != want {
		s.t.Fatalf("the origin was asked %d times, want %d", got, want)
	}
}

// eventually polls for what happens in the background.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// awaitWaiting waits until n requests wait for the origin together.
func (s *site) awaitWaiting(n int) {
	for deadline := time.Now().Add(time.Minute); s.cache.Stats().Waiting < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Errorf("%d requests wait after a minute, want %d", s.cache.Stats().Waiting, n)
			return
		}
	}
}

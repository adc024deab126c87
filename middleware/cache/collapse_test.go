package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// crowd sends n requests at once and gives their answers.
func crowd(t testing.TB, n int, send func(i int) (*answer, error)) []*answer {
	t.Helper()
	answers, errs := make([]*answer, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i], errs[i] = send(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return answers
}

// gate holds an origin's answers back until enough requests are known to wait.
type gate struct {
	entered chan struct{}
	open    chan struct{}
	once    sync.Once
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 4096), open: make(chan struct{})} }

func (g *gate) wait() {
	g.entered <- struct{}{}
	<-g.open
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

func TestConcurrentMissesAskTheOriginOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := newGate()
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, strings.Repeat("a", 100_000))
	})
	go func() {
		<-g.entered
		s.awaitWaiting(200)
		g.release()
	}()
	for _, a := range crowd(t, 200, func(int) (*answer, error) { return s.try(context.Background(), "GET", "/x") }) {
		if a.StatusCode != 200 || len(a.body) != 100_000 {
			t.Fatalf("status %d, %d bytes", a.StatusCode, len(a.body))
		}
	}
	s.expectCalls(1)
}

// Seen in Souin and Squid: those who wait are handed the leader's answer.
func TestBurstOfPersonalAnswersGivesEachClientItsOwnInParallel(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]string{"no-store": "Cache-Control: no-store", "private": "Cache-Control: private, max-age=60",
		"set-cookie": "Set-Cookie: id=1", "vary": "Vary: *", "control field": "Headgate_Login: 42"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRule(cache.Rule{TTL: time.Minute}), withRoute(cache.MiddlewareOptions{Control: []string{"headgate-*"}}))
			const clients = 40
			var together sync.WaitGroup
			together.Add(clients)
			var parallel atomic.Int64
			s.respond(func(w http.ResponseWriter, r *http.Request) {
				if s.calls.Load() == 1 {
					s.awaitWaiting(clients) // all others wait for this one
				} else if parallel.Add(1) == clients-1 {
					defer together.Add(-clients) // all others are here at once
				}
				k, v, _ := strings.Cut(fields, ": ")
				w.Header().Set(k, v)
				io.WriteString(w, r.Header.Get("X-User"))
			})
			for i, a := range crowd(t, clients, func(i int) (*answer, error) {
				return s.try(context.Background(), "GET", "/x", fmt.Sprintf("X-User: u%d", i))
			}) {
				if want := fmt.Sprintf("u%d", i); a.body != want {
					t.Fatalf("%s was answered %q", want, a.body)
				}
			}
			s.expectCalls(clients)
			// And the next burst does not wait for anybody.
			if a := s.get("/x", "X-User: z"); a.body != "z" || !strings.Contains(a.cacheStatus(), "hit-for-miss") {
				t.Fatalf("%q, %s", a.body, a.cacheStatus())
			}
		})
	}
}

func TestFollowersOfAnotherVariantGetTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := newGate()
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Lang")
		io.WriteString(w, r.Header.Get("X-Lang"))
	})
	go func() {
		<-g.entered
		s.awaitWaiting(90)
		g.release()
	}()
	for i, a := range crowd(t, 90, func(i int) (*answer, error) {
		return s.try(context.Background(), "GET", "/x", fmt.Sprintf("X-Lang: l%d", i%3))
	}) {
		if want := fmt.Sprintf("l%d", i%3); a.body != want {
			t.Fatalf("%s was answered %q", want, a.body)
		}
	}
	s.expectCalls(3)
}

func TestFollowersStreamWhileTheLeaderDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	more := make(chan struct{})
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		<-more
		io.WriteString(w, "second")
	})
	var bodies []io.ReadCloser
	for range 3 {
		res, err := s.client.Get(s.server.URL + "/x")
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 6)
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "first " {
			t.Fatalf("%q, %v", buf, err)
		}
		bodies = append(bodies, res.Body)
	}
	close(more)
	for _, b := range bodies {
		if rest, err := io.ReadAll(b); err != nil || string(rest) != "second" {
			t.Fatalf("%q, %v", rest, err)
		}
		b.Close()
	}
	s.expectCalls(1)
}

// Seen in Souin: a truncated answer was sent on, and stored, as complete.
func TestBodyThatEndsEarlyCutsOffEveryClientAndIsNotStored(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() error{
		"abort":             func() error { panic(http.ErrAbortHandler) },
		"error":             func() error { return errors.New("connection reset") },
		"less than it said": func() error { return nil },
		"panic":             func() error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			g := newGate()
			s.originIs(func(c echo.Context) error {
				g.wait()
				c.Response().Header().Set("Cache-Control", "max-age=60")
				if name == "less than it said" {
					c.Response().Header().Set("Content-Length", "100")
				}
				io.WriteString(c.Response(), "half")
				c.Response().Flush()
				return end()
			})
			go func() {
				<-g.entered
				time.Sleep(30 * time.Millisecond)
				g.release()
			}()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					a, err := s.try(context.Background(), "GET", "/x")
					if err == nil && a.err == nil {
						t.Errorf("a client took %q for whole", a.body)
					}
				})
			}
			wg.Wait()
			before := s.calls.Load()
			s.serves(200, "whole", "Cache-Control: max-age=60")
			if a := s.get("/x"); a.body != "whole" || s.calls.Load() != before+1 {
				t.Fatalf("%q from the cache", a.body)
			}
		})
	}
}

func TestFetchGoesOnWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := newGate()
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "body")
	})
	ctx, leave := context.WithCancel(context.Background())
	go func() {
		<-g.entered
		leave()
	}()
	if _, err := s.try(ctx, "GET", "/x"); err == nil {
		t.Fatal("the client did not leave")
	}
	g.release()
	eventually(t, "the answer is stored", func() bool { return s.cache.Stats().LocalEntries == 1 })
	if a := s.get("/x"); a.body != "body" || !a.hit() {
		t.Fatalf("%q, %s", a.body, a.cacheStatus())
	}
	s.expectCalls(1)
}

func TestFetchThatNobodyWantsEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ended := make(chan struct{})
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "start")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, leave := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/x", nil)
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	res.Body.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the origin still works for nobody")
	}
}

func TestErrorOfTheOriginIsForAllWhoWait(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := newGate()
	s.originIs(func(c echo.Context) error {
		g.wait()
		return echo.NewHTTPError(http.StatusBadGateway, "the upstream is away")
	})
	go func() {
		<-g.entered
		s.awaitWaiting(20)
		g.release()
	}()
	for _, a := range crowd(t, 20, func(int) (*answer, error) { return s.try(context.Background(), "GET", "/x") }) {
		if a.StatusCode != 502 {
			t.Fatalf("status %d", a.StatusCode)
		}
	}
	s.expectCalls(1)
	s.get("/x")
	s.expectCalls(2) // it was not stored
}

func TestPanicReachesTheRequestThatCausedIt(t *testing.T) {
	t.Parallel()
	c, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e := echo.New()
	h := c.Middleware(cache.Rule{Name: "r"}, cache.MiddlewareOptions{})(func(echo.Context) error { panic("boom") })
	defer func() {
		if p := recover(); p != "boom" {
			t.Fatalf("recovered %v", p)
		}
	}()
	req, _ := http.NewRequest("GET", "http://a/x", nil)
	_ = h(e.NewContext(req, discard{}))
	t.Fatal("no panic")
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestRequestAfterAPurgeDoesNotJoinTheFetchFromBefore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var version atomic.Int64
	more := make(chan struct{})
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Cache-Tag", "t") // known only when the head is there
		v := version.Load()
		fmt.Fprint(w, v)
		w.(http.Flusher).Flush()
		if v == 0 {
			<-more
		}
	})
	res, err := s.client.Do(&http.Request{Method: "GET", URL: mustURL(s.server.URL + "/x"), Host: "shop.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	version.Add(1)
	if err := s.cache.PurgeTags(context.Background(), "t"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a := s.get("/x"); a.body != "1" {
			t.Fatalf("%q", a.body)
		}
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "0" {
		t.Fatalf("the request from before: %q, %v", rest, err)
	}
	if a := s.get("/x"); a.body != "1" {
		t.Fatalf("%q came back", a.body)
	}
	s.expectCalls(2)
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

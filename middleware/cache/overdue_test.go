package cache_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
)

// still is a cache in front of an origin, without a network, in a bubble of synctest: its time passes at once.
type still struct {
	t     *testing.T
	echo  *echo.Echo
	cache *cache.Cache
	begun time.Time

	mu    sync.Mutex
	calls []time.Duration // when the origin was asked
}

// visit is one request, and what has come of it.
type visit struct {
	*httptest.ResponseRecorder
	took    time.Duration
	aborted bool
}

// inBubble runs a test whose origin is told how often it was asked before.
func inBubble(t *testing.T, rule cache.Rule, origin func(call int, w http.ResponseWriter, r *http.Request) error, test func(s *still)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &still{t: t, echo: echo.New(), begun: time.Now()}
		var err error
		if s.cache, err = cache.New(cache.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		defer s.cache.Close()
		rule.Name = "test"
		s.echo.Use(s.cache.Middleware(rule, cache.MiddlewareOptions{}))
		s.echo.GET("/*", func(c echo.Context) error {
			s.mu.Lock()
			call := len(s.calls)
			s.calls = append(s.calls, time.Since(s.begun))
			s.mu.Unlock()
			return origin(call, c.Response(), c.Request())
		})
		test(s)
	})
}

func (s *still) get(ctx context.Context) (v *visit) {
	v = &visit{ResponseRecorder: httptest.NewRecorder()}
	begun := time.Now()
	defer func() {
		v.took = time.Since(begun)
		if p := recover(); p == http.ErrAbortHandler {
			v.aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	s.echo.ServeHTTP(v, httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
	return v
}

// gets sends n requests, the first of which leads, and waits for all.
func (s *still) gets(n int) []*visit {
	visits := make([]*visit, n)
	var wg sync.WaitGroup
	for i := range visits {
		wg.Go(func() { visits[i] = s.get(s.t.Context()) })
		synctest.Wait()
	}
	wg.Wait()
	return visits
}

func (s *still) expectCalls(at ...time.Duration) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != len(at) {
		s.t.Fatalf("the origin was asked at %v, want %v", s.calls, at)
	}
	for i := range at {
		if s.calls[i] != at[i] {
			s.t.Fatalf("the origin was asked at %v, want %v", s.calls, at)
		}
	}
}

func (s *still) expect(v *visit, body string, took time.Duration) {
	s.t.Helper()
	if v.Code != 200 || v.Body.String() != body || v.took != took || v.aborted {
		s.t.Errorf("%d %q after %v (aborted: %v; %s), want %q after %v", v.Code, v.Body, v.took, v.aborted, v.Header().Get("Cache-Status"), body, took)
	}
}

// hang is silent as long as the proxy lets an origin be.
func hang(r *http.Request, timeout time.Duration) error {
	select {
	case <-r.Context().Done():
		return context.Cause(r.Context())
	case <-time.After(timeout):
		return echo.NewHTTPError(http.StatusGatewayTimeout, "the origin is silent")
	}
}

func write(w http.ResponseWriter, body string, fields ...string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		w.Header().Set(fields[i], fields[i+1])
	}
	_, err := io.WriteString(w, body)
	return err
}

const lockTimeout = 5 * time.Second // the default

func TestAHungLeaderIsReplacedByOneFollower(t *testing.T) {
	t.Parallel()
	inBubble(t, cache.Rule{}, func(call int, w http.ResponseWriter, r *http.Request) error {
		if call == 0 {
			return hang(r, time.Hour)
		}
		time.Sleep(time.Second)
		return write(w, "new", "Cache-Control", "max-age=60")
	}, func(s *still) {
		for _, v := range s.gets(10) { // the leader, too
			s.expect(v, "new", lockTimeout+time.Second)
		}
		s.expectCalls(0, lockTimeout)
		s.expect(s.get(s.t.Context()), "new", 0)
	})
}

func TestAHungOriginIsAskedOnceForEachLockTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 11 * time.Second
	inBubble(t, cache.Rule{LockTimeout: 3 * time.Second}, func(_ int, _ http.ResponseWriter, r *http.Request) error {
		return hang(r, timeout)
	}, func(s *still) {
		for i, v := range s.gets(30) { // those that have asked the origin wait for it; no other longer than the first
			want := timeout
			if v.took > timeout {
				want = v.took
			}
			if v.Code != 504 || v.took < timeout || v.took > 2*timeout || i > 4 && v.took != want {
				t.Errorf("request %d: %d after %v", i, v.Code, v.took)
			}
		}
		s.expectCalls(0, 3*time.Second, 6*time.Second, 9*time.Second)
	})
}

func TestASlowLeaderServesThoseThatHaveMovedOn(t *testing.T) {
	t.Parallel()
	var ended chan time.Duration
	var begun time.Time
	inBubble(t, cache.Rule{}, func(call int, w http.ResponseWriter, r *http.Request) error {
		if call == 1 {
			defer func() { ended <- time.Since(begun) }()
			return hang(r, time.Hour)
		}
		time.Sleep(8 * time.Second)
		if err := write(w, "the ", "Cache-Control", "max-age=60"); err != nil {
			return err
		}
		time.Sleep(time.Second)
		return write(w, "slow one")
	}, func(s *still) {
		begun, ended = s.begun, make(chan time.Duration, 1)
		for _, v := range s.gets(10) {
			s.expect(v, "the slow one", 9*time.Second)
		}
		s.expectCalls(0, lockTimeout)
		synctest.Wait()
		select {
		case at := <-ended:
			if at != 8*time.Second {
				t.Errorf("the second request is given up at %v", at)
			}
		default:
			t.Error("the second request goes on, though the first is answered")
		}
		s.expect(s.get(s.t.Context()), "the slow one", 0)
	})
}

func TestFollowersThatHaveMovedOnAreReleasedTogether(t *testing.T) {
	t.Parallel()
	inBubble(t, cache.Rule{}, func(call int, w http.ResponseWriter, r *http.Request) error {
		time.Sleep(8 * time.Second)
		return write(w, "yours", "Cache-Control", "private")
	}, func(s *still) {
		took := map[time.Duration]int{}
		for _, v := range s.gets(10) {
			s.expect(v, "yours", v.took)
			took[v.took]++
		}
		// The leader, the one that has taken its place, and all others together from when the first answer is known to be for one client.
		if took[8*time.Second] != 1 || took[13*time.Second] != 1 || took[16*time.Second] != 8 {
			t.Errorf("they took %v", took)
		}
	})
}

func TestABodyThatHangsIsFetchedAgain(t *testing.T) {
	t.Parallel()
	const readTimeout = time.Minute
	inBubble(t, cache.Rule{}, func(call int, w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Length", "10")
		if call > 0 {
			return write(w, "0123456789", "Cache-Control", "max-age=3600")
		}
		if err := write(w, "hello", "Cache-Control", "max-age=3600"); err != nil {
			return err
		}
		return hang(r, readTimeout)
	}, func(s *still) {
		left, leave := context.WithCancel(s.t.Context())
		go s.get(left)
		time.Sleep(time.Second)
		leave()
		time.Sleep(2 * time.Second)
		cut := make(chan *visit, 1)
		go func() { cut <- s.get(s.t.Context()) }() // it is given what there is
		time.Sleep(10 * time.Second)
		s.expect(s.get(s.t.Context()), "0123456789", 0)
		s.expectCalls(0, 13*time.Second)
		if v := <-cut; !v.aborted || v.Body.String() != "hello" || v.took != readTimeout-3*time.Second {
			t.Errorf("%d %q after %v, aborted: %v", v.Code, v.Body, v.took, v.aborted)
		}
		s.expect(s.get(s.t.Context()), "0123456789", 0)
		s.expectCalls(0, 13*time.Second)
	})
}

func TestWhatAHungLeaderBringsLaterReplacesNothingNewer(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"the rest of its body": func(w http.ResponseWriter, r *http.Request) error { return write(w, " news") },
		"nothing":              func(w http.ResponseWriter, r *http.Request) error { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, cache.Rule{}, func(call int, w http.ResponseWriter, r *http.Request) error {
				if call > 0 {
					return write(w, "new", "Cache-Control", "max-age=3600")
				}
				if err := write(w, "old", "Cache-Control", "max-age=3600"); err != nil {
					return err
				}
				time.Sleep(20 * time.Second)
				return ends(w, r)
			}, func(s *still) {
				first := make(chan *visit, 1)
				go func() { first <- s.get(s.t.Context()) }()
				time.Sleep(10 * time.Second)
				s.expect(s.get(s.t.Context()), "new", 0)
				if v := <-first; v.aborted != (name == "nothing") {
					t.Errorf("aborted: %v, %q", v.aborted, v.Body)
				}
				synctest.Wait()
				s.expect(s.get(s.t.Context()), "new", 0)
				s.expectCalls(0, 10*time.Second)
			})
		})
	}
}

func TestAHungRefreshHoldsBackNoGoodCopy(t *testing.T) {
	t.Parallel()
	old := func(w http.ResponseWriter) error {
		return write(w, "old", "Cache-Control", "max-age=10", "Etag", `"v"`)
	}
	t.Run("stale_if_error", func(t *testing.T) {
		t.Parallel()
		inBubble(t, cache.Rule{StaleIfError: time.Hour}, func(call int, w http.ResponseWriter, r *http.Request) error {
			if call == 0 {
				return old(w)
			}
			return hang(r, time.Hour)
		}, func(s *still) {
			s.get(s.t.Context())
			time.Sleep(20 * time.Second)
			for _, v := range s.gets(5) {
				s.expect(v, "old", lockTimeout)
			}
			s.expect(s.get(s.t.Context()), "old", 0) // the origin is known to hang
			time.Sleep(lockTimeout)
			s.expect(s.get(s.t.Context()), "old", lockTimeout)
			s.expectCalls(0, 20*time.Second, 30*time.Second)
		})
	})
	t.Run("stale_if_error, slow", func(t *testing.T) {
		t.Parallel()
		inBubble(t, cache.Rule{StaleIfError: time.Hour}, func(call int, w http.ResponseWriter, r *http.Request) error {
			if call == 0 {
				return old(w)
			}
			time.Sleep(20 * time.Second)
			return write(w, "new", "Cache-Control", "max-age=60")
		}, func(s *still) {
			s.get(s.t.Context())
			time.Sleep(20 * time.Second)
			s.expect(s.get(s.t.Context()), "old", lockTimeout)
			time.Sleep(16 * time.Second)
			s.expect(s.get(s.t.Context()), "new", 0)
			s.expectCalls(0, 20*time.Second)
		})
	})
	t.Run("stale_if_error, in the body", func(t *testing.T) {
		t.Parallel()
		inBubble(t, cache.Rule{StaleIfError: time.Hour}, func(call int, w http.ResponseWriter, r *http.Request) error {
			switch call {
			case 0:
				return old(w)
			case 1:
				if err := write(w, "par", "Cache-Control", "max-age=60", "Content-Length", "10"); err != nil {
					return err
				}
			}
			return hang(r, time.Hour)
		}, func(s *still) {
			s.get(s.t.Context())
			time.Sleep(20 * time.Second)
			left, leave := context.WithTimeout(s.t.Context(), 2*time.Second)
			defer leave()
			s.get(left)
			time.Sleep(6 * time.Second)
			s.expect(s.get(s.t.Context()), "old", lockTimeout)
			s.expectCalls(0, 20*time.Second, 28*time.Second)
		})
	})
	t.Run("stale_while_revalidate", func(t *testing.T) {
		t.Parallel()
		inBubble(t, cache.Rule{StaleWhileRevalidate: 30 * time.Second}, func(call int, w http.ResponseWriter, r *http.Request) error {
			switch call {
			case 0:
				return old(w)
			case 3:
				return write(w, "new", "Cache-Control", "max-age=60")
			}
			return hang(r, time.Hour)
		}, func(s *still) {
			s.get(s.t.Context())
			time.Sleep(20 * time.Second)
			for range 6 {
				s.expect(s.get(s.t.Context()), "old", 0)
				time.Sleep(1800 * time.Millisecond)
			}
			s.expectCalls(0, 20*time.Second, 25400*time.Millisecond)
			s.expect(s.get(s.t.Context()), "old", 0) // begins the next refresh, which comes
			synctest.Wait()
			s.expect(s.get(s.t.Context()), "new", 0)
		})
	})
	t.Run("stale_while_revalidate is over", func(t *testing.T) {
		t.Parallel()
		inBubble(t, cache.Rule{StaleWhileRevalidate: 10 * time.Second}, func(call int, w http.ResponseWriter, r *http.Request) error {
			switch call {
			case 0:
				return old(w)
			case 2:
				return write(w, "new", "Cache-Control", "max-age=60")
			}
			return hang(r, time.Hour)
		}, func(s *still) {
			s.get(s.t.Context())
			time.Sleep(18 * time.Second)
			s.expect(s.get(s.t.Context()), "old", 0)
			time.Sleep(3 * time.Second)
			s.expect(s.get(s.t.Context()), "new", 2*time.Second)
		})
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		inBubble(t, cache.Rule{}, func(call int, w http.ResponseWriter, r *http.Request) error {
			switch call {
			case 0:
				return old(w)
			case 2:
				w.Header().Set("Cache-Control", "max-age=60")
				w.WriteHeader(http.StatusNotModified)
				return nil
			}
			return hang(r, time.Hour)
		}, func(s *still) {
			s.get(s.t.Context())
			time.Sleep(20 * time.Second)
			for _, v := range s.gets(5) {
				s.expect(v, "old", lockTimeout)
			}
			s.expectCalls(0, 20*time.Second, 25*time.Second)
		})
	})
}

// Another instance leads where this one's leader hangs, and what it stores is for this one's requests as well.
func TestAHungLeaderIsReplacedByAnotherInstance(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL, withRule(cache.Rule{LockTimeout: time.Second}))
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		if f.calls.Load() == 1 {
			g.wait()
			io.WriteString(w, "old")
			return
		}
		io.WriteString(w, "new")
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*redisPatience)
	defer cancel()
	answers := make(chan *answer, 2)
	get := func(s *site) {
		a, err := s.try(ctx, "GET", "/x")
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}
	go get(f.sites[0])
	<-g.entered
	go get(f.sites[1])
	for range 2 {
		if a := <-answers; a == nil || a.body != "new" {
			t.Errorf("%+v", a)
		}
	}
	g.release()
	eventually(t, "the hung fetch has ended", func() bool { return f.sites[0].cache.Stats().Fetches == 0 })
	for _, s := range f.sites {
		if a := s.get("/x"); a.body != "new" || !a.hit() {
			t.Errorf("%q, %s", a.body, a.cacheStatus())
		}
	}
	if n := f.calls.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// What a leader brings whose lease another instance has taken over replaces nothing newer, in Redis and in its own memory.
func TestWhatALateLeaderBringsReplacesNothingNewerInRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 3, server.URL, withRule(cache.Rule{LockTimeout: time.Second}))
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		if f.calls.Load() == 1 {
			io.WriteString(w, "old")
			w.(http.Flusher).Flush()
			g.wait()
			return
		}
		io.WriteString(w, "new")
	})
	first := make(chan string, 1)
	go func() {
		a, err := f.sites[0].try(context.Background(), "GET", "/x")
		if err != nil {
			t.Error(err)
			first <- ""
			return
		}
		first <- a.body
	}()
	<-g.entered
	if a := f.sites[1].get("/x"); a.body != "new" {
		t.Errorf("%q", a.body)
	}
	eventually(t, "it is in Redis", func() bool {
		return f.sites[2].do("GET", "/x", "Cache-Control: only-if-cached").StatusCode == 200
	})
	g.release()
	if body := <-first; body != "old" {
		t.Errorf("the client that has begun to read is given %q", body)
	}
	for range 20 {
		for i, s := range f.sites {
			if a := s.get("/x"); a.body != "new" || !a.hit() {
				t.Fatalf("instance %d: %q, %s", i, a.body, a.cacheStatus())
			}
		}
	}
	if n := f.calls.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// An instance that dies while it leads delays the others by about a second: its lease is that short, and renewed while it lives.
func TestLeaseIsOfASecondAndRenewed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 1, server.URL, withOptions(func(o *cache.Options) { o.Lease = 0 }))
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		io.WriteString(w, "x")
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.sites[0].get("/x")
	}()
	<-g.entered
	lease := func() (key string, left time.Duration) {
		keys, _ := server.Client.Keys(context.Background(), "*}:l:*").Result()
		if len(keys) != 1 {
			return "", 0
		}
		return keys[0], server.Client.PTTL(context.Background(), keys[0]).Val()
	}
	key, left := lease()
	renewed := 0
	eventually(t, "it is renewed", func() bool {
		k, now := lease()
		if now > time.Second {
			t.Errorf("a dead instance delays the others by %v", now)
		}
		if now > left && k == key {
			renewed++
		}
		left = now
		return renewed >= 5
	})
	g.release()
	<-done
}

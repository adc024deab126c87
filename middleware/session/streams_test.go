package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
)

// stream is an open response of a test.
type stream struct {
	used  atomic.Bool // the client has sent something
	busy  bool        // it always has
	ended atomic.Bool
}

func (s *stream) Used() bool { return s.used.Swap(false) || s.busy }
func (s *stream) End()       { s.ended.Store(true) }

// open opens a stream of the browser's session.
func (b *browser) open(t testing.TB, m *session.Manager) *stream {
	t.Helper()
	r := b.get(t, m)
	if r.session() == nil {
		t.Fatal("there is no session")
	}
	s := new(stream)
	t.Cleanup(r.rs.Follow(s))
	return s
}

func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// looked waits until an instance has looked after all streams at least once from now on: two streams
// end one after the other, of which the second one is found ended in another look.
func looked(t testing.TB, m *session.Manager) {
	t.Helper()
	for range 2 {
		b := new(browser)
		b.login(t, m, "looked")
		s := b.open(t, m)
		if _, err := m.RevokeUser(context.Background(), "looked"); err != nil {
			t.Fatal(err)
		}
		within(t, "a look at the streams", s.ended.Load)
	}
}

func TestStreamsEndWithTheirSessionAtEveryInstance(t *testing.T) {
	t.Parallel()
	settings := session.Settings{IdleTimeout: 10 * time.Minute, AbsoluteTimeout: time.Hour}
	for name, end := range map[string]func(t *testing.T, f *fleet, b *browser) error{
		"a logout": func(t *testing.T, f *fleet, b *browser) error { return b.start(t, f.instances[1], logout).answer() },
		"a logout everywhere, from another browser": func(t *testing.T, f *fleet, _ *browser) error {
			other := new(browser)
			other.login(t, f.instances[1], "42")
			return other.start(t, f.instances[1], optional).answer(session.HeaderLogout, "everywhere")
		},
		"an operator, by reference": func(t *testing.T, f *fleet, b *browser) error {
			_, err := f.instances[1].Revoke(context.Background(), b.value()[:24])
			return err
		},
		"an operator, by user": func(_ *testing.T, f *fleet, _ *browser) error {
			_, err := f.instances[1].RevokeUser(context.Background(), "42")
			return err
		},
		"the idle timeout": func(_ *testing.T, f *fleet, _ *browser) error {
			f.clock.Advance(11 * time.Minute)
			return nil
		},
		"the absolute timeout, though it is used": func(t *testing.T, f *fleet, b *browser) error {
			for range 13 {
				f.clock.Advance(5 * time.Minute)
				b.get(t, f.instances[1])
			}
			return nil
		},
		"another login of the browser": func(t *testing.T, f *fleet, b *browser) error {
			key := "headgate:session:" + b.value()[:24]
			b.login(t, f.instances[1], "43")
			b.get(t, f.instances[1])
			f.clock.Advance(31 * time.Second)
			if f.server == nil {
				return nil
			}
			if left := f.server.Client.PTTL(context.Background(), key).Val(); left <= 0 || left > 30*time.Second {
				t.Errorf("Redis keeps the replaced session for another %v", left)
			}
			return f.server.Client.Del(context.Background(), key).Err() // so as not to wait for it
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachStore(t, settings, func(t *testing.T, f *fleet) {
				b := new(browser)
				b.login(t, f.instances[0], "42")
				streams := []*stream{b.open(t, f.instances[0]), b.open(t, f.instances[0]), b.open(t, f.instances[1])}
				for _, m := range f.instances {
					looked(t, m)
				}
				for i, s := range streams {
					if s.ended.Load() {
						t.Fatalf("stream %d has ended before its session", i)
					}
				}
				if err := end(t, f, b); err != nil {
					t.Fatal(err)
				}
				for i, s := range streams {
					within(t, fmt.Sprintf("the end of stream %d", i), s.ended.Load)
				}
			})
		})
	}
}

func TestStreamsStayWithTheirSession(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		b, other, guest := new(browser), new(browser), new(browser)
		b.login(t, f.instances[0], "42")
		other.login(t, f.instances[0], "42")
		guest.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"a":1}`)
		streams := []*stream{b.open(t, f.instances[0]), b.open(t, f.instances[1]), guest.open(t, f.instances[0])}
		b.start(t, f.instances[1], optional).mustAnswer(session.HeaderRenew, "?1")
		b.get(t, f.instances[1])
		f.clock.Advance(2 * time.Minute)
		first := b.value()
		for range 2 { // rotated, and the new ID presented
			b.get(t, f.instances[0])
		}
		if b.value() == first {
			t.Fatal("the ID was not rotated")
		}
		f.clock.Advance(time.Minute) // the old one has ended
		other.start(t, f.instances[0], logout).mustAnswer()
		for range 4 { // used at one instance alone
			f.clock.Advance(10 * time.Minute)
			b.get(t, f.instances[1])
			guest.get(t, f.instances[1])
		}
		looked(t, f.instances[0])
		looked(t, f.instances[1])
		for i, s := range streams {
			if s.ended.Load() {
				t.Errorf("stream %d has ended", i)
			}
		}
	})
}

func TestWhatAClientSendsThroughAStreamIsUseOfTheSession(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		b := new(browser)
		b.login(t, f.instances[0], "42")
		s := b.open(t, f.instances[0])
		idle := b.open(t, f.instances[1]) // of the same session
		for range 3 {
			f.clock.Advance(20 * time.Minute)
			s.used.Store(true)
			within(t, "the use is noted", func() bool {
				list, err := f.instances[1].List(context.Background(), "42")
				return err == nil && len(list) == 1 && list[0].Seen.Equal(f.clock.Now().Truncate(time.Millisecond))
			})
		}
		looked(t, f.instances[1])
		if s.ended.Load() || idle.ended.Load() {
			t.Error("a session that is used has ended")
		}
		f.clock.Advance(31 * time.Minute)
		within(t, "the end of a session that is not used any more", func() bool { return s.ended.Load() && idle.ended.Load() })
	})
}

func TestShorterTimeoutsHoldForOpenStreams(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		b := new(browser)
		b.login(t, f.instances[0], "42")
		s := b.open(t, f.instances[0])
		f.clock.Advance(2 * time.Minute)
		looked(t, f.instances[0])
		m, err := f.instances[0].With(session.Settings{IdleTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		looked(t, f.instances[0])
		if s.ended.Load() {
			t.Fatal("Settings that are not in force have ended a stream")
		}
		m.Govern()
		within(t, "the end", s.ended.Load)
	})
}

func TestARedisThatDoesNotAnswerEndsNoStream(t *testing.T) {
	t.Parallel()
	settings := session.Settings{IdleTimeout: 10 * time.Minute}
	f := &fleet{clock: newClock(), server: redistest.Start(t)}
	for i := range f.instances {
		f.instances[i] = newManager(t, session.Options{Redis: openRedisWithin(t, f.server.URL, time.Second), Settings: settings, Now: f.clock.Now})
	}
	var streams []*stream
	for i := range 600 {
		b := new(browser)
		b.login(t, f.instances[0], fmt.Sprint(i))
		streams = append(streams, b.open(t, f.instances[0]))
	}
	f.server.Pause()
	f.clock.Advance(20 * time.Minute)
	time.Sleep(3 * time.Second) // for as long as it takes otherwise; a slower machine proves less
	for i, s := range streams {
		if s.ended.Load() {
			t.Fatalf("stream %d has ended", i)
		}
	}
	f.server.Resume()
	for i, s := range streams {
		within(t, fmt.Sprintf("the end of stream %d", i), s.ended.Load)
	}
}

func TestStreamsEndWithTheirSessionInACluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	m := newManager(t, session.Options{Redis: openRedis(t, c.URL)})
	var streams []*stream
	for i := range 50 {
		b := new(browser)
		b.login(t, m, fmt.Sprintf("cluster-stream-%d", i))
		streams = append(streams, b.open(t, m))
	}
	if _, err := m.RevokeUser(context.Background(), "cluster-stream-7"); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of one", streams[7].ended.Load)
	looked(t, m)
	for i, s := range streams {
		if s.ended.Load() != (i == 7) {
			t.Errorf("stream %d: ended is %v", i, s.ended.Load())
		}
	}
}

// Ten thousand streams cost Redis some twenty commands a second, and those that are in constant use a
// write per session and minute.
func TestTenThousandStreamsCostRedisLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("it logs in ten thousand users")
	}
	t.Parallel()
	const n = 10_000
	f := redisFleet(t, session.Settings{})
	m := f.instances[0]
	streams := make([]*stream, n)
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < n; i += 50 {
				b := new(browser)
				b.login(t, m, fmt.Sprint(i))
				streams[i] = b.openBusy(t, m)
			}
		})
	}
	wg.Wait()
	looked(t, m)
	exists, evals := f.calls(t, "exists"), f.calls(t, "eval")
	const looks = 6
	for range looks / 2 {
		looked(t, m)
	}
	if got := f.calls(t, "exists") - exists; got < looks || got > looks*(n/512+1)+looks*(512+8)*2 {
		t.Errorf("%d commands for %d looks at %d streams", got, looks, n)
	}
	if got := f.calls(t, "eval") - evals; got > 100 {
		t.Errorf("%d scripts though nothing was due", got)
	}
	f.clock.Advance(2 * time.Minute)
	looked(t, m)
	if got := f.calls(t, "eval") - evals; got < n || got > 3*n {
		t.Errorf("%d scripts for one touch of %d sessions", got, n)
	}
	if _, err := m.RevokeUser(context.Background(), "77"); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of one of them", streams[77].ended.Load)
	for i, s := range streams {
		if i != 77 && s.ended.Load() {
			t.Fatalf("stream %d has ended", i)
		}
	}
}

func (b *browser) openBusy(t testing.TB, m *session.Manager) *stream {
	s := &stream{busy: true}
	t.Cleanup(b.get(t, m).rs.Follow(s))
	return s
}

// calls is how often Redis has run a command.
func (f *fleet) calls(t testing.TB, command string) int {
	t.Helper()
	info, err := f.server.Client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`cmdstat_` + command + `:calls=(\d+)`).FindStringSubmatch(info)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

func TestAnEchoHandlersContextEndsWithTheSession(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	e := echo.New()
	causes := make(chan error, 1)
	e.POST("/login", func(c echo.Context) error { return session.LogIn(c, "42") }, m.Middleware(login))
	e.GET("/events", func(c echo.Context) error {
		ctx, stop := session.Until(c)
		defer stop()
		c.Response().WriteHeader(http.StatusOK)
		c.Response().Flush()
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	}, m.Middleware(required))
	server := httptest.NewServer(e)
	defer server.Close()

	res, err := http.Post(server.URL+"/login", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for _, leaves := range []bool{true, false} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
		r.AddCookie(res.Cookies()[0])
		events, err := http.DefaultClient.Do(r)
		if err != nil || events.StatusCode != 200 {
			t.Fatal(events, err)
		}
		defer events.Body.Close()
		want := session.ErrEnded
		if leaves {
			cancel()
			want = context.Canceled
		} else if _, err := m.RevokeUser(context.Background(), "42"); err != nil {
			t.Fatal(err)
		}
		if cause := <-causes; !errors.Is(cause, want) {
			t.Errorf("the context's cause is %v, want %v", cause, want)
		}
	}
}

package proxy_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// clock is a clock that tests turn.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_700_000_000, c.offset.Load()) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// shares sends n requests and counts who answered; errors count as "".
func shares(t testing.TB, url string, n int) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range n {
		a := get(t, url)
		if a.status != http.StatusOK {
			a.body = ""
		}
		got[a.body]++
	}
	return got
}

func TestHealthChecksTakeServersOutAndBringThemBack(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	var host atomic.Value
	a := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			host.Store(r.Host + "?" + r.URL.RawQuery)
			if sick.Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
			return
		}
		_, _ = io.WriteString(w, "a")
	})
	u := newUpstream(t, proxy.Config{
		Servers: servers(a.URL, named(t, "b").URL),
		HealthCheck: proxy.HealthCheck{Path: "/healthz?full=1", Host: "check.test", Interval: 10 * time.Millisecond, Timeout: 20 * time.Second,
			HealthyAfter: 2, UnhealthyAfter: 3},
	}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := shares(t, gw.URL, 10); got["a"] != 5 || got["b"] != 5 {
		t.Errorf("both well: %v", got)
	}
	sick.Store(true)
	eventually(t, "a is out", func() bool { return !u.Status()[0].Healthy })
	if s := u.Status()[0]; s.Why != "health check failed: status 500" || s.Since.IsZero() {
		t.Errorf("%+v", s)
	}
	if got := shares(t, gw.URL, 10); got["b"] != 10 {
		t.Errorf("a is sick: %v", got)
	}
	sick.Store(false)
	eventually(t, "a is back", func() bool { return u.Status()[0].Healthy })
	if got := shares(t, gw.URL, 10); got["a"] != 5 {
		t.Errorf("a is back: %v", got)
	}
	if got := host.Load(); got != "check.test?full=1" {
		t.Errorf("asked for %v", got)
	}
}

func TestHealthCheckVerdicts(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	status := func(code int) string {
		return origin(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }).URL
	}
	for _, tc := range []struct {
		name   string
		server string
		expect []int
		why    string // empty: healthy

		timeout time.Duration
	}{
		{name: "204", server: status(204)},
		{name: "a redirect", server: status(302)},
		{name: "404", server: status(404), why: "status 404"},
		{name: "expected 404", server: status(404), expect: []int{404}},
		{name: "not the expected", server: status(200), expect: []int{204, 404}, why: "status 200"},
		{name: "nobody there", server: deadServer(t), why: "connection refused"},
		{name: "silence", server: hanging(t, &hits), why: "no answer within 50ms", timeout: 50 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			logs := new(syncBuffer)
			u := newUpstream(t, proxy.Config{
				Servers: servers(tc.server),
				HealthCheck: proxy.HealthCheck{Path: "/", Interval: 5 * time.Millisecond, Timeout: cmp.Or(tc.timeout, 20*time.Second),
					UnhealthyAfter: 1, Expect: tc.expect},
			}, proxy.Options{Logger: logs.logger()})
			if tc.why == "" {
				time.Sleep(100 * time.Millisecond)
				if s := u.Status()[0]; !s.Healthy {
					t.Errorf("%+v", s)
				}
				return
			}
			eventually(t, "the server is out", func() bool { return !u.Status()[0].Healthy })
			if s := u.Status()[0]; !strings.Contains(s.Why, tc.why) {
				t.Errorf("why: %q", s.Why)
			}
			eventually(t, "it is logged", func() bool {
				log := logs.String()
				return strings.Contains(log, "server is out") && strings.Contains(log, "upstream=shop") && strings.Contains(log, tc.server)
			})
		})
	}
}

// Each address of a name is checked at the check's own port; what it answers decides about the server.
func TestHealthCheckAsksItsOwnPortWithItsOwnHostAndHeaders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, server, host string // the server's host, and the Host that the check has for it
	}{
		{"an address", "127.0.0.1", "127.0.0.1"},
		{"a name", "app.test", "app.test"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := named(t, "a")
			var sick atomic.Bool
			asked := make(chan *http.Request, 1000)
			check := origin(t, func(w http.ResponseWriter, r *http.Request) {
				if asked <- r; sick.Load() {
					w.WriteHeader(http.StatusInternalServerError)
				}
			})
			portOf := func(s string) string { return s[strings.LastIndexByte(s, ':')+1:] }
			port, err := strconv.Atoi(portOf(check.URL))
			if err != nil {
				t.Fatal(err)
			}
			u := newUpstream(t, proxy.Config{Servers: servers("http://" + tc.server + ":" + portOf(a.URL)), HealthCheck: proxy.HealthCheck{
				Path: "/up", Port: port, Headers: map[string]string{"authorization": "Bearer x", "User-Agent": "probe"}, Interval: 10 * time.Millisecond,
				Timeout: 20 * time.Second, UnhealthyAfter: 1, HealthyAfter: 1,
			}}, proxy.Options{DNS: fixedDNS{}})
			r := <-asked
			if r.URL.Path != "/up" || r.Host != tc.host+":"+portOf(check.URL) || r.Header.Get("Authorization") != "Bearer x" || r.Header.Get("User-Agent") != "probe" {
				t.Errorf("asked for %s %s with %v", r.Host, r.URL, r.Header)
			}
			sick.Store(true)
			eventually(t, "the server is out", func() bool { return !u.Status()[0].Healthy })
			if got := get(t, front(t, u.Handler(proxy.RouteOptions{})).URL); got.body != "a" { // a failing server is better than none
				t.Errorf("%+v", got)
			}
			sick.Store(false)
			eventually(t, "the server is back", func() bool { return u.Status()[0].Healthy })
		})
	}
}

// fixedDNS has the loopback address for every name.
type fixedDNS struct{}

func (fixedDNS) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	if network == "ip6" {
		return nil, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func TestHealthCheckMistakes(t *testing.T) {
	t.Parallel()
	for want, h := range map[string]proxy.HealthCheck{
		"Host is not among the headers":      {Headers: map[string]string{"host": "x"}},
		"Connection is the connection's":     {Headers: map[string]string{"connection": "close"}},
		"Content-Length is the connection's": {Headers: map[string]string{"Content-Length": "1"}},
		`"a b" is not the name of a header`:  {Headers: map[string]string{"a b": "1"}},
		"the value of X-A can't stand":       {Headers: map[string]string{"X-A": "a\nb"}},
		`"http://x" is not a host`:           {Host: "http://x"},
		"65536 is out of bounds":             {Port: 65536},
	} {
		h.Path = "/"
		err := proxy.Config{Servers: servers("http://127.0.0.1:9"), HealthCheck: h}.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestWrongHealthChecksAreNoOutage(t *testing.T) {
	t.Parallel()
	app := func(name string) string {
		return origin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				w.WriteHeader(http.StatusNotFound) // a deploy has renamed it
			}
			_, _ = io.WriteString(w, name)
		}).URL
	}
	u := newUpstream(t, proxy.Config{
		Servers:     servers(app("a"), app("b")),
		HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 5 * time.Millisecond, UnhealthyAfter: 1},
	}, proxy.Options{})
	eventually(t, "both are out", func() bool { return !u.Status()[0].Healthy && !u.Status()[1].Healthy })
	if got := shares(t, front(t, u.Handler(proxy.RouteOptions{})).URL, 10); got["a"] != 5 || got["b"] != 5 {
		t.Errorf("got %v", got)
	}
}

// fickle is a server that answers with a status, or resets for 0.
func fickle(t testing.TB, name string, status *atomic.Int64) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		if status.Load() == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, name)
	}).URL
}

func TestFailingServerIsEjectedTriedAndTakenBack(t *testing.T) {
	t.Parallel()
	var clock clock
	var status atomic.Int64
	u := newUpstream(t, proxy.Config{
		Servers: servers(fickle(t, "a", &status), named(t, "b").URL), Retries: 1,
		Ejection: proxy.Ejection{Failures: 3, For: 3 * time.Minute},
	}, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))

	if got := shares(t, gw.URL, 20); got["b"] != 20 {
		t.Errorf("clients saw errors although every request could be retried: %v", got)
	}
	s := u.Status()[0]
	if s.Healthy || s.Requests != 3 || s.Failures != 3 || s.Ejections != 1 || !s.EjectedUntil.Equal(clock.now().Add(3*time.Minute)) {
		t.Fatalf("after three failures: %+v", s)
	}
	if !strings.HasPrefix(s.Why, "ejected for 3m0s: ") {
		t.Errorf("why: %q", s.Why)
	}

	clock.advance(3*time.Minute + time.Second) // on trial: one request, which is retried
	if got := shares(t, gw.URL, 20); got["b"] != 20 {
		t.Errorf("the trial was at a client's expense: %v", got)
	}
	if s = u.Status()[0]; s.Requests != 4 || s.Ejections != 2 || !s.EjectedUntil.Equal(clock.now().Add(proxy.MaxEjection)) {
		t.Fatalf("after the trial that failed: %+v", s)
	}

	status.Store(200)
	clock.advance(proxy.MaxEjection + time.Second)
	if got := shares(t, gw.URL, 20); got["a"] != 10 || got["b"] != 10 {
		t.Errorf("after the trial that succeeded: %v", got)
	}
	if s = u.Status()[0]; !s.Healthy || s.Why != "trial request succeeded" {
		t.Errorf("%+v", s)
	}

	status.Store(0)
	shares(t, gw.URL, 20)
	if s = u.Status()[0]; !s.EjectedUntil.Equal(clock.now().Add(proxy.MaxEjection)) {
		t.Errorf("a relapse is not a first offence: %+v", s)
	}
	status.Store(200)
	clock.advance(proxy.MaxEjection + time.Second)
	shares(t, gw.URL, 20)
	clock.advance(2 * proxy.MaxEjection) // well for longer than the longest ejection: forgiven
	shares(t, gw.URL, 20)
	status.Store(0)
	shares(t, gw.URL, 20)
	if s = u.Status()[0]; !s.EjectedUntil.Equal(clock.now().Add(3 * time.Minute)) {
		t.Errorf("after a long time: %+v", s)
	}
}

func TestWhatOpensTheBreaker(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		status    int64 // 0: reset
		ejection  proxy.Ejection
		requests  int
		ejections int64
	}{
		{name: "resets", requests: 10, ejections: 1},
		{name: "too few", requests: 8, ejections: 0},
		{name: "503", status: 503, requests: 10, ejections: 1},
		{name: "not 500: a client may have found a way to provoke it", status: 500, requests: 40, ejections: 0},
		{name: "off", ejection: proxy.Ejection{Off: true}, requests: 40, ejections: 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var clock clock
			var status atomic.Int64
			status.Store(tc.status)
			u := newUpstream(t, proxy.Config{Servers: servers(fickle(t, "a", &status), named(t, "b").URL), Ejection: tc.ejection},
				proxy.Options{Now: clock.now})
			shares(t, front(t, u.Handler(proxy.RouteOptions{})).URL, tc.requests)
			if s := u.Status()[0]; s.Ejections != tc.ejections {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Failures in a row alone eject a server, as the policy says: no rule about their share stands behind them.
func TestServerThatNeverFailsTwiceInARowIsNotEjected(t *testing.T) {
	t.Parallel()
	var clock clock
	var n atomic.Int64
	a := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 { // never two failures in a row
			panic(http.ErrAbortHandler)
		}
	})
	u := newUpstream(t, proxy.Config{Servers: servers(a.URL, named(t, "b").URL)}, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	for range 60 {
		req, _ := http.NewRequest("POST", gw.URL, nil) // a GET would be repeated on a fresh connection
		do(t, req)
	}
	if s := u.Status()[0]; s.Ejections != 0 || s.Requests != 30 || s.Failures != 15 {
		t.Errorf("%+v", s)
	}
}

func TestTheLastServerIsNeverEjected(t *testing.T) {
	t.Parallel()
	var clock clock
	var status atomic.Int64
	u := newUpstream(t, proxy.Config{Servers: servers(fickle(t, "a", &status), fickle(t, "b", &status), fickle(t, "c", &status))},
		proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 60)
	out := 0
	for _, s := range u.Status() {
		if !s.Healthy {
			out++
		}
	}
	if out != 2 {
		t.Errorf("%d are out", out)
	}
	status.Store(200)
	if got := shares(t, gw.URL, 5); got[""] != 0 {
		t.Errorf("got %v", got)
	}
}

// An upstream that only ever gets requests that can't be retried must take
// its servers back as well.
func TestServerIsTriedEvenIfNoRequestCanBeRetried(t *testing.T) {
	t.Parallel()
	var clock clock
	var status atomic.Int64
	u := newUpstream(t, proxy.Config{Servers: servers(fickle(t, "a", &status), named(t, "b").URL),
		Ejection: proxy.Ejection{For: 10 * time.Second}}, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 10)
	status.Store(200)
	clock.advance(15 * time.Second)
	if got := shares(t, gw.URL, 4); got["a"] != 0 {
		t.Errorf("no hurry: %v", got)
	}
	clock.advance(10 * time.Second)
	if got := shares(t, gw.URL, 10); got["a"] == 0 {
		t.Errorf("got %v", got)
	}
}

// A stream that serves as the trial must not keep the server waiting until it
// ends.
func TestTrialEndsWithTheResponsesHeader(t *testing.T) {
	t.Parallel()
	var clock clock
	var well atomic.Bool
	release := make(chan struct{})
	a := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			panic(http.ErrAbortHandler)
		}
		w.(http.Flusher).Flush()
		<-release
	})
	u := newUpstream(t, proxy.Config{Servers: servers(a.URL, named(t, "b").URL), Retries: 1}, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 12)
	if u.Status()[0].Healthy {
		t.Fatal("not ejected")
	}
	well.Store(true)
	clock.advance(11 * time.Second)
	done := make(chan answer)
	for range 2 {
		go func() { done <- get(t, gw.URL) }()
	}
	eventually(t, "the server is back while its trial streams", func() bool { return u.Status()[0].Healthy && u.Status()[0].Active == 1 })
	close(release)
	<-done
	<-done
}

func TestSlowStartRampsUp(t *testing.T) {
	t.Parallel()
	var clock clock
	var status atomic.Int64
	u := newUpstream(t, proxy.Config{Servers: servers(fickle(t, "a", &status), named(t, "b").URL), Retries: 1,
		SlowStart: 100 * time.Second, Ejection: proxy.Ejection{For: time.Second}}, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 10)
	status.Store(200)
	clock.advance(2 * time.Second)
	shares(t, gw.URL, 10) // the trial
	if !u.Status()[0].Healthy {
		t.Fatalf("%+v", u.Status()[0])
	}
	for _, step := range []struct {
		after    time.Duration
		min, max int // of 100, in the middle of 1:10, 0.55:1, 1:1
	}{{0, 7, 11}, {50 * time.Second, 33, 38}, {50 * time.Second, 49, 51}} {
		clock.advance(step.after)
		if got := shares(t, gw.URL, 100); got["a"] < step.min || got["a"] > step.max {
			t.Errorf("%s on: %v", step.after, got)
		}
	}
}

// counted is a server that counts the connections it accepts.
func counted(t testing.TB, name string, accepted *atomic.Int64) string {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, name)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestUpdateKeepsWhatStays(t *testing.T) {
	t.Parallel()
	var clock clock
	var accepted [3]atomic.Int64
	var status atomic.Int64
	a, b, c := counted(t, "a", &accepted[0]), counted(t, "b", &accepted[1]), counted(t, "c", &accepted[2])
	bad := fickle(t, "bad", &status)
	cfg := proxy.Config{Servers: servers(a, b, bad), Retries: 1}
	u := newUpstream(t, cfg, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 30)
	before := u.Status()
	if before[2].Healthy || accepted[0].Load() != 1 {
		t.Fatalf("%+v, %d", before, accepted[0].Load())
	}

	for i, change := range []func(*proxy.Config){
		func(c *proxy.Config) {},
		func(cfg *proxy.Config) { cfg.Servers = servers(a, b, bad, c) },
		func(c *proxy.Config) { c.Servers[0].Weight = 2 },
		func(c *proxy.Config) { c.Timeout = time.Second; c.Balance = proxy.LeastConn; c.Retries = 2 },
		func(c *proxy.Config) { c.HealthCheck = proxy.HealthCheck{Path: "/", Interval: time.Hour} },
		func(c *proxy.Config) { c.HealthCheck = proxy.HealthCheck{} },
	} {
		change(&cfg)
		if err := u.Update(cfg); err != nil {
			t.Fatal(err)
		}
		if got := shares(t, gw.URL, 20); got[""] != 0 || got["bad"] != 0 {
			t.Errorf("change %d: %v", i, got)
		}
		s := u.Status()
		if s[2].Ejections != 1 || s[2].Healthy || s[0].Requests < before[0].Requests+4 {
			t.Errorf("change %d forgot what was known: %+v", i, s)
		}
		if n := accepted[0].Load(); n > 2 { // a health check may have taken a second
			t.Errorf("change %d: connections to a: %d", i, n)
		}
		before = s
	}
	if n := accepted[2].Load(); n > 2 || n == 0 {
		t.Errorf("connections to c: %d", n)
	}

	cfg.Servers = servers(b)
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if got := shares(t, gw.URL, 5); got["b"] != 5 {
		t.Errorf("got %v", got)
	}
	if err := u.Update(proxy.Config{}); err == nil {
		t.Error("a bad configuration was taken")
	}
	if got := shares(t, gw.URL, 5); got["b"] != 5 {
		t.Errorf("a bad configuration had an effect: %v", got)
	}
}

func TestRequestsInFlightSurviveAnUpdate(t *testing.T) {
	t.Parallel()
	inside, release := make(chan struct{}), make(chan struct{})
	slow := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		close(inside)
		<-release
		_, _ = io.WriteString(w, "slow")
	})
	u := newUpstream(t, proxy.Config{Servers: servers(slow.URL)}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	done := make(chan answer)
	go func() { done <- get(t, gw.URL) }()
	<-inside
	if err := u.Update(proxy.Config{Servers: servers(named(t, "b").URL), IdleTimeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, gw.URL); got.body != "b" {
		t.Errorf("%+v", got)
	}
	close(release)
	if got := <-done; got.body != "slow" || got.err != nil {
		t.Errorf("%+v", got)
	}
}

func TestUpdatesUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a").URL, named(t, "b").URL
	u := newUpstream(t, proxy.Config{Servers: servers(a)}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				res, err := client.Get(gw.URL)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("got %d", res.StatusCode)
				}
			}
		})
	}
	for i := range 60 {
		cfg := proxy.Config{Servers: servers(a, b)[i%2:], HealthCheck: proxy.HealthCheck{Path: "/", Interval: time.Millisecond}, ConnectTimeout: time.Duration(i+1) * time.Second}
		if err := u.Update(cfg); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	wg.Wait()
}

func TestANegativeIdleTimeoutKeepsNoConnection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		timeout time.Duration
		want    int64
	}{{0, 1}, {-1, 3}} {
		var opened atomic.Int64
		app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
		app.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				opened.Add(1)
			}
		}
		app.Start()
		t.Cleanup(app.Close)
		gw := gateway(t, proxy.Config{Servers: servers(app.URL), IdleTimeout: cmp.Or(tc.timeout, time.Hour)}, proxy.RouteOptions{})
		for range 3 {
			if got := get(t, gw.URL); got.status != 200 {
				t.Fatalf("%+v", got)
			}
		}
		if n := opened.Load(); n != tc.want {
			t.Errorf("%v: %d connections, want %d", tc.timeout, n, tc.want)
		}
	}
}

func TestRetriesMayBeSwitchedOff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		cfg  proxy.Config
		want int
	}{
		{"by default there is one", proxy.Config{}, 200},
		{"none", proxy.Config{Retries: -1}, 502},
		{"no budget", proxy.Config{RetryBudget: -1}, 502},
	} {
		tc.cfg.Servers = servers(deadServer(t), named(t, "b").URL)
		u, err := proxy.New(proxy.Options{Config: tc.cfg, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.Close)
		if got := get(t, front(t, u.Handler(proxy.RouteOptions{})).URL); got.status != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got.status, tc.want)
		}
	}
}

func TestConfigEqual(t *testing.T) {
	t.Parallel()
	base := func() proxy.Config {
		return proxy.Config{Servers: servers("http://a", "http://b"), HealthCheck: proxy.HealthCheck{Path: "/"}}
	}
	same := base()
	same.Timeout, same.Balance, same.Servers[0].Weight, same.HealthCheck.Interval = proxy.DefaultTimeout, proxy.RoundRobin, 1, proxy.DefaultHealthInterval
	if !base().Equal(same) {
		t.Error("defaults that are spelled out make a difference")
	}
	for i, change := range []func(*proxy.Config){
		func(c *proxy.Config) { c.Servers = c.Servers[:1] },
		func(c *proxy.Config) { c.Servers[1].Weight = 3 },
		func(c *proxy.Config) { c.Timeout = time.Second },
		func(c *proxy.Config) { c.HealthCheck.Path = "/x" },
		func(c *proxy.Config) { c.Ejection.Failures = 7 },
		func(c *proxy.Config) { c.TLS.ServerName = "x" },
	} {
		changed := base()
		change(&changed)
		if base().Equal(changed) {
			t.Errorf("change %d makes no difference", i)
		}
	}
}

func TestObserverAndRecordTellWhatHappened(t *testing.T) {
	t.Parallel()
	dead, good := deadServer(t), named(t, "b").URL
	var mu sync.Mutex
	var seen []string
	u := newUpstream(t, proxy.Config{Servers: servers(dead, good), Retries: 1}, proxy.Options{Observer: func(a proxy.Attempt) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %s %q %d %t %t", a.Upstream, a.Server, a.Kind, a.Status, a.Retry, a.Header > 0))
	}})
	var rec proxy.Record
	h := u.Handler(proxy.RouteOptions{})
	gw := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(proxy.NewContext(r.Context(), &rec)))
	}))
	get(t, gw.URL)
	gw.Close()
	want := []string{
		fmt.Sprintf(`shop %s "connect" 0 false true`, dead),
		fmt.Sprintf(`shop %s "" 200 true true`, good),
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("observed %q, want %q", seen, want)
	}
	if rec.Server != good || rec.Attempts != 2 || rec.Header <= 0 {
		t.Errorf("recorded %+v", rec)
	}
}

// restartable is an app server that can refuse connections for a while, at the same address.
type restartable struct {
	addr string
	app  http.Handler
	mu   sync.Mutex
	up   *http.Server
}

func newRestartable(t testing.TB, h http.HandlerFunc) *restartable {
	t.Helper()
	r := &restartable{addr: strings.TrimPrefix(deadServer(t), "http://"), app: h}
	t.Cleanup(r.stop)
	return r
}

func (r *restartable) start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: r.app}
	r.mu.Lock()
	r.up = s
	r.mu.Unlock()
	go func() { _ = s.Serve(l) }()
}

func (r *restartable) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up != nil {
		r.up.Close()
		r.up = nil
	}
}

// TestPassingHealthCheckEndsAnEjectionForFailedConnections: the clock stands still, so no ejection ends by itself.
func TestPassingHealthCheckEndsAnEjectionForFailedConnections(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int64 // of the server's answers; 0: it breaks the connection
		ends   bool
	}{
		{name: "connections that break", ends: true},
		{name: "statuses", status: 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var clock clock
			var status, checks atomic.Int64
			status.Store(tc.status)
			app := origin(t, func(w http.ResponseWriter, r *http.Request) {
				switch status := status.Load(); {
				case r.URL.Path == "/healthz":
					checks.Add(1)
				case status == 0:
					panic(http.ErrAbortHandler)
				default:
					w.WriteHeader(int(status))
				}
			})
			u := newUpstream(t, proxy.Config{
				Servers: servers(app.URL, named(t, "b").URL), Retries: 1, Ejection: proxy.Ejection{Failures: 2, For: time.Hour},
				HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 5 * time.Millisecond, Timeout: 20 * time.Second},
			}, proxy.Options{Now: clock.now})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			shares(t, gw.URL, 4)
			if s := u.Status()[0]; s.Ejections != 1 {
				t.Fatalf("%+v", s)
			}
			n := checks.Load()
			eventually(t, "it is checked again and again", func() bool { return checks.Load() >= n+5 })
			if !tc.ends {
				if s := u.Status()[0]; s.Healthy || s.EjectedUntil.IsZero() {
					t.Errorf("%+v", s)
				}
				return
			}
			eventually(t, "it is back", func() bool { return u.Status()[0].Healthy })
			if s := u.Status()[0]; s.Why != "health check passed" || !s.EjectedUntil.IsZero() {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestRestartedServerIsBackWithItsHealthCheck: it refuses connections in between.
func TestRestartedServerIsBackWithItsHealthCheck(t *testing.T) {
	t.Parallel()
	var clock clock
	app := newRestartable(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a") })
	app.start(t)
	u := newUpstream(t, proxy.Config{
		Servers: servers("http://"+app.addr, named(t, "b").URL), Retries: 1, Ejection: proxy.Ejection{Failures: 1, For: time.Hour},
		HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 50 * time.Millisecond, Timeout: 20 * time.Second, UnhealthyAfter: 100},
	}, proxy.Options{Now: clock.now})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := shares(t, gw.URL, 4); got["a"] != 2 {
		t.Fatalf("%v", got)
	}
	app.stop()
	if got := shares(t, gw.URL, 4); got["b"] != 4 || u.Status()[0].Ejections != 1 {
		t.Fatalf("%v, %+v", got, u.Status()[0])
	}
	app.start(t)
	eventually(t, "it is back", func() bool { return u.Status()[0].Healthy })
	if got := shares(t, gw.URL, 4); got["a"] != 2 {
		t.Errorf("%v", got)
	}
}

// TestHealthCheckThatBeganBeforeTheEjectionDoesNotEndIt: its answer says nothing about what came after.
func TestHealthCheckThatBeganBeforeTheEjectionDoesNotEndIt(t *testing.T) {
	t.Parallel()
	checked, answer := make(chan struct{}), make(chan struct{})
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			panic(http.ErrAbortHandler)
		}
		select {
		case checked <- struct{}{}:
		case <-r.Context().Done():
		}
		<-answer
	})
	t.Cleanup(func() { close(answer) })
	u := newUpstream(t, proxy.Config{
		Servers: servers(app.URL, named(t, "b").URL), Retries: 1, Ejection: proxy.Ejection{Failures: 1, For: time.Hour},
		HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 5 * time.Millisecond, Timeout: time.Minute, HealthyAfter: 1},
	}, proxy.Options{})
	<-checked
	shares(t, front(t, u.Handler(proxy.RouteOptions{})).URL, 2)
	if s := u.Status()[0]; s.Ejections != 1 {
		t.Fatalf("%+v", s)
	}
	answer <- struct{}{}
	<-checked // the next one has begun, so the first has been judged
	if u.Status()[0].Healthy {
		t.Error("the ejection has ended")
	}
	answer <- struct{}{}
	eventually(t, "the second check ends it", func() bool { return u.Status()[0].Healthy })
}

// TestServerThatFailsAndCannotBeEjectedIsShown: a lone one, the last one that is left, and any where nothing is ejected.
func TestServerThatFailsAndCannotBeEjectedIsShown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		others   []string
		ejection proxy.Ejection
		failures int
		why      string
	}{
		{name: "alone", failures: 5, why: "no other server is left"},
		{name: "alone, by its own number", ejection: proxy.Ejection{Failures: 2}, failures: 2, why: "no other server is left"},
		{name: "all", others: []string{deadServer(t), deadServer(t)}, failures: 15, why: "no other server is left"},
		{name: "ejection off", others: []string{named(t, "b").URL}, ejection: proxy.Ejection{Off: true}, failures: 10, why: "ejection is off"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var clock clock
			logs := new(syncBuffer)
			app := newRestartable(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a") })
			u := newUpstream(t, proxy.Config{Servers: servers(append(tc.others, "http://"+app.addr)...), Ejection: tc.ejection},
				proxy.Options{Now: clock.now, Logger: logs.logger()})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			last := len(tc.others)
			shares(t, gw.URL, tc.failures-len(tc.others)-1)
			if s := u.Status()[last]; !s.Healthy {
				t.Errorf("too soon: %+v", s)
			}
			shares(t, gw.URL, len(tc.others)+1)
			s := u.Status()[last]
			if s.Healthy || s.Ejections != 0 || !strings.Contains(s.Why, tc.why) || !strings.Contains(s.Why, "connection refused") {
				t.Fatalf("%+v", s)
			}
			if n := strings.Count(logs.String(), "server fails and still gets requests"); n != 1 {
				t.Errorf("%d lines:\n%s", n, logs)
			}
			app.start(t)
			if got := shares(t, gw.URL, 2+len(tc.others)); got["a"] == 0 {
				t.Errorf("requests do not try it: %v", got)
			}
			if s := u.Status()[last]; !s.Healthy || s.Why != "a request succeeded" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestLoneServerThatAnswersStreamsIsHealthy: from the response's header on.
func TestLoneServerThatAnswersStreamsIsHealthy(t *testing.T) {
	t.Parallel()
	streaming := make(chan struct{})
	app := newRestartable(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-streaming
	})
	u := newUpstream(t, proxy.Config{Servers: servers("http://" + app.addr), Ejection: proxy.Ejection{Failures: 1}}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 1)
	if u.Status()[0].Healthy {
		t.Fatal("it is dead")
	}
	app.start(t)
	done := make(chan answer)
	go func() { done <- get(t, gw.URL) }()
	eventually(t, "it is healthy", func() bool { return u.Status()[0].Healthy })
	close(streaming)
	<-done
}

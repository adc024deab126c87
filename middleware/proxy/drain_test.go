package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// drain drains a server, which must succeed.
func drain(t *testing.T, u *proxy.Upstream, url string) proxy.ServerStatus {
	t.Helper()
	all, err := u.Drain(url, false, "the test")
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestDrainedServerGetsNoNewRequestsUntilItIsRestored(t *testing.T) {
	t.Parallel()
	for _, balance := range proxy.Balance("").Values() {
		t.Run(balance, func(t *testing.T) {
			t.Parallel()
			logs := new(syncBuffer)
			arrived, letGo := make(chan struct{}), make(chan struct{})
			a := origin(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/held" {
					arrived <- struct{}{}
					<-letGo
				}
				_, _ = io.WriteString(w, "a")
			})
			cfg := signed(proxy.Config{Servers: servers(a.URL, named(t, "b").URL), Balance: proxy.Balance(balance)})
			u := newUpstream(t, cfg, proxy.Options{Logger: logs.logger()})
			h := u.Handler(proxy.RouteOptions{})
			ask := func(client int, path string) string {
				w := httptest.NewRecorder()
				r := httptest.NewRequest("GET", "http://shop"+path, nil)
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", client)
				h.ServeHTTP(w, r)
				return w.Body.String()
			}
			served := make(chan string)
			held := func() (client int) { // by the server a
				for ; ; client++ {
					go func() { served <- ask(client, "/held") }()
					select {
					case <-served:
					case <-arrived:
						return client
					}
				}
			}
			client := held()
			if s := drain(t, u, strings.ToUpper(a.URL[:4])+a.URL[4:]+"/"); s.State != proxy.StateDraining || !s.Healthy || s.Active != 1 || s.Weight != 1 {
				t.Errorf("%+v", s)
			}
			before := u.Status()[0].Requests
			for range 2 {
				for range 20 {
					if got := ask(client, "/"); got != "b" {
						t.Errorf("drained: %q", got)
					}
				}
				cfg.Timeout += time.Second // a reload
				if err := u.Update(cfg); err != nil {
					t.Fatal(err)
				}
			}
			letGo <- struct{}{}
			if got := <-served; got != "a" {
				t.Errorf("the request in flight: %q", got)
			}
			if s := u.Status(); s[0].Requests != before || s[0].State != proxy.StateDraining || s[1].State != proxy.StateHealthy {
				t.Errorf("%+v", s)
			}
			if all, err := u.Restore(a.URL, "the test"); err != nil || all[0].State != proxy.StateHealthy {
				t.Fatalf("%+v, %v", all, err)
			}
			if again := held(); balance == "ip_hash" && again != client {
				t.Errorf("client %d has not come back", client)
			}
			letGo <- struct{}{}
			<-served
			for _, line := range []string{`msg="server is drained" upstream=shop server=` + a.URL + ` by="the test"`, `msg="server is restored" upstream=shop server=` + a.URL + ` by="the test"`} {
				if strings.Count(logs.String(), line) != 1 {
					t.Errorf("%s is not logged once:\n%s", line, logs)
				}
			}
		})
	}
}

func TestServerThatLeavesThePolicyIsDrainedNoMore(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a").URL, named(t, "b").URL
	cfg := proxy.Config{Servers: servers(a, b)}
	u := newUpstream(t, cfg, proxy.Options{})
	drain(t, u, a)
	for _, list := range [][]proxy.Server{servers(b), servers(a, b)} {
		cfg.Servers = list
		if err := u.Update(cfg); err != nil {
			t.Fatal(err)
		}
	}
	if s := u.Status()[0]; s.State != proxy.StateHealthy {
		t.Errorf("%+v", s)
	}
}

// TestWeightZeroAndDrainAreOneState: shown as one; only the way back differs.
func TestWeightZeroAndDrainAreOneState(t *testing.T) {
	t.Parallel()
	a, b, c := named(t, "a").URL, named(t, "b").URL, named(t, "c").URL
	cfg := proxy.Config{Servers: []proxy.Server{{URL: a, Weight: -1}, {URL: b}, {URL: c}}}
	u := newUpstream(t, cfg, proxy.Options{})
	drain(t, u, b)
	if s := u.Status(); s[0].State != proxy.StateDraining || s[1].State != proxy.StateDraining || s[0].Weight != 0 || s[1].Weight != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := u.Restore(a, "the test"); !errors.Is(err, proxy.ErrDrainedByWeight) {
		t.Errorf("got %v", err)
	}
	drain(t, u, a) // an operator's word holds once the policy gives it a weight
	cfg.Servers = servers(a, b, c)
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if s := u.Status()[0]; s.State != proxy.StateDraining {
		t.Errorf("%+v", s)
	}
}

func TestLastServerIsDrainedByForceAlone(t *testing.T) {
	t.Parallel()
	a, b, sick := named(t, "a").URL, named(t, "b").URL, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}).URL
	u := newUpstream(t, proxy.Config{Servers: servers(a, b)}, proxy.Options{})
	drain(t, u, a)
	drain(t, u, a) // it has no effect
	if _, err := u.Drain(b, false, "the test"); !errors.Is(err, proxy.ErrLastServer) || !strings.Contains(err.Error(), "gets requests") {
		t.Errorf("got %v", err)
	}
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := shares(t, gw.URL, 5); got["b"] != 5 {
		t.Errorf("%v", got)
	}
	if _, err := u.Drain(b, true, "the test"); err != nil {
		t.Error(err)
	}
	if got := get(t, gw.URL); got.status != 503 {
		t.Errorf("got %d", got.status)
	}

	checked := newUpstream(t, proxy.Config{Servers: servers(named(t, "well").URL, sick),
		HealthCheck: proxy.HealthCheck{Path: "/", Interval: 5 * time.Millisecond, Timeout: 20 * time.Second}}, proxy.Options{})
	eventually(t, "the sick one is out", func() bool { return checked.Status()[1].State == proxy.StateUnhealthy })
	if _, err := checked.Drain(checked.Status()[0].URL, false, "the test"); !errors.Is(err, proxy.ErrLastServer) || !strings.Contains(err.Error(), "healthy") {
		t.Errorf("got %v", err)
	}
	drain(t, checked, sick)
}

func TestUnknownServerIsNotDrained(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a").URL, named(t, "b").URL
	u := newUpstream(t, proxy.Config{Servers: servers(a, b)}, proxy.Options{})
	for _, url := range []string{"http://other.test", "other", "", a + "/path"} {
		for _, do := range []func() error{
			func() error { _, err := u.Drain(url, true, "the test"); return err },
			func() error { _, err := u.Restore(url, "the test"); return err },
		} {
			if err := do(); !errors.Is(err, proxy.ErrNoSuchServer) || !strings.Contains(err.Error(), a+", "+b) {
				t.Errorf("%q: %v", url, err)
			}
		}
	}
}

// TestDrainGoesOnWithHealthChecks: so that the server is known to be well before it is restored.
func TestDrainGoesOnWithHealthChecks(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	a := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	u := newUpstream(t, proxy.Config{Servers: servers(a.URL, named(t, "b").URL),
		HealthCheck: proxy.HealthCheck{Path: "/", Interval: 5 * time.Millisecond, Timeout: 20 * time.Second}}, proxy.Options{})
	drain(t, u, a.URL)
	eventually(t, "it is sick", func() bool { s := u.Status()[0]; return !s.Healthy && s.State == proxy.StateDraining })
	well.Store(true)
	eventually(t, "it is well", func() bool { return u.Status()[0].Healthy })
}

// TestDrainAndTheLine: requests wait for the servers that are left, are refused once none is, and are served by one that is restored.
func TestDrainAndTheLine(t *testing.T) {
	t.Parallel()
	a, b := newGated(t), newGated(t)
	gw, u, line := waitingGateway(t, proxy.Config{Servers: servers(a.URL, b.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Timeout: time.Hour}}, proxy.RouteOptions{})
	var clients background
	drain(t, u, a.URL)
	clients.get(t, gw.URL)
	<-b.arrived
	clients.get(t, gw.URL+"/1")
	eventually(t, "one waits", func() bool { return line.waiting.Load() == 1 })
	if s := u.Status(); s[0].Waiting != 1 || s[1].Waiting != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := u.Restore(a.URL, "the test"); err != nil {
		t.Fatal(err)
	}
	if path := <-a.arrived; path != "/1" {
		t.Errorf("%s came", path)
	}
	refused := make(chan answer)
	go func() { refused <- get(t, gw.URL) }()
	eventually(t, "another waits", func() bool { return line.waiting.Load() == 1 })
	drain(t, u, a.URL)
	if _, err := u.Drain(b.URL, true, "the test"); err != nil {
		t.Fatal(err)
	}
	if got := <-refused; got.status != 503 {
		t.Errorf("got %d", got.status)
	}
	a.letGo <- struct{}{}
	b.letGo <- struct{}{}
	clients.wg.Wait()
}

// TestNoRequestBeginsOnceDrainHasReturned: so that an operator who sees nothing in flight may stop the server.
func TestNoRequestBeginsOnceDrainHasReturned(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	u := newUpstream(t, proxy.Config{Servers: servers(a.URL, b.URL), MaxConnections: 3}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if got := get(t, gw.URL); got.status != 200 {
						t.Errorf("got %d, %v", got.status, got.err)
					}
				}
			}
		})
	}
	for range 30 {
		drain(t, u, a.URL)
		eventually(t, "nothing is in flight", func() bool { return u.Status()[0].Active == 0 })
		before := u.Status()[0].Requests
		served := u.Status()[1].Requests
		eventually(t, "the other serves", func() bool { return u.Status()[1].Requests > served+3 })
		if n := u.Status()[0].Requests; n != before {
			t.Errorf("%d requests since", n-before)
		}
		if _, err := u.Restore(a.URL, "the test"); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	clients.Wait()
}

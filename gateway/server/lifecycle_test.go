package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/policies"
	"go.uber.org/goleak"
)

// Not parallel: other tests' goroutines would be taken for this one's.
func TestNothingIsLeftRunningAfterAShutdown(t *testing.T) {
	redis := redistest.Start(t)
	shop := app(t, "a")
	policy := `
redis: {url: "%s"}
upstreams: {shop: {servers: [` + shop.URL + `], health_check: {path: /, interval: 100ms, timeout: 50ms}}}
limits: {per-ip: {requests: 1000, window: 1h}}
caches: {pages: {ttl: 1m}}
session: {cookie: {secure: false}}
defaults: {limits: per-ip, upstream: shop}
routes: [{path: /cached, cache: pages}, {path: /*, session: optional}]
`
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	plain.CloseIdleConnections()
	shop.Client().CloseIdleConnections()
	before := goleak.IgnoreCurrent()
	for _, url := range []string{"", redis.URL} {
		for name, use := range map[string]func(*testing.T, *server.Server){
			"never started": func(*testing.T, *server.Server) {},
			"used and reloaded": func(t *testing.T, s *server.Server) {
				if err := s.Start(); err != nil {
					t.Fatal(err)
				}
				for _, target := range []string{"/x", "/cached", "/cached"} {
					res, err := client.Get("http://" + s.Addr() + target)
					if err != nil {
						t.Fatal(err)
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				// Another upstream, and back: the first is retired meanwhile.
				other := strings.ReplaceAll(fmt.Sprintf(policy, url), "shop", "other")
				for _, p := range []string{other, fmt.Sprintf(policy, url)} {
					if err := s.Run(parse(t, p), "test"); err != nil {
						t.Fatal(err)
					}
				}
			},
		} {
			t.Run(fmt.Sprintf("%s, Redis %t", name, url != ""), func(t *testing.T) {
				s, err := server.New(server.Options{Policy: parse(t, fmt.Sprintf(policy, url)), Logger: slog.New(slog.DiscardHandler), AccessLog: io.Discard})
				if err != nil {
					t.Fatal(err)
				}
				use(t, s)
				for range 2 {
					if err := s.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if err := s.Start(); err == nil {
					t.Error("started again after the end")
				}
				if err := s.Run(parse(t, fmt.Sprintf(policy, url)), "test"); err == nil {
					t.Error("a reload after the end")
				}
				shop.CloseClientConnections()
				goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http/httptest.(*Server).Start"))
			})
		}
	}
}

func TestAFailedStartCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := parse(t, `
server: {listen: ["127.0.0.1:0", "`+taken.Addr().String()+`"], admin: {listen: "127.0.0.1:0"}}
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}}
routes: [{path: /*, upstream: shop}]
`)
	s, err := server.New(server.Options{Policy: p, Logger: slog.New(slog.DiscardHandler), AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	if err := s.Start(); err == nil || s.Addr() != "" || s.AdminAddr() != "" {
		t.Fatalf("%v, listening on %q and %q", err, s.Addr(), s.AdminAddr())
	}
	taken.Close()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if res, err := plain.Get("http://" + s.Addr()); err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
	} else {
		res.Body.Close()
	}
}

func TestAReloadThatReadTheFileFirstDoesNotWin(t *testing.T) {
	t.Parallel()
	respond := func(text string) *policies.Policy {
		return parse(t, `routes: [{path: /*, respond: {body: "`+text+`"}}]`+"\n")
	}
	var calls atomic.Int64
	first := make(chan bool)
	proceed := make(chan bool)
	g := start(t, `routes: [{path: /*, respond: {body: "old"}}]`+"\n", func(o *server.Options) {
		o.Load = func() (*policies.Policy, error) {
			if calls.Add(1) == 1 {
				close(first)
				<-proceed
				return respond("first"), nil
			}
			return respond("second"), nil
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { g.Reload("test") })
	<-first
	wg.Go(func() { g.Reload("test") })
	time.Sleep(20 * time.Millisecond) // for the second to overtake, if it can
	close(proceed)
	wg.Wait()
	if a := g.do("GET", "/"); a.text != "second" {
		t.Errorf("what runs is the %s", a.text)
	}
}

func TestAddressesMayBeAskedForWhileTheGatewayEnds(t *testing.T) {
	t.Parallel()
	g := start(t, `routes: [{path: /*, respond: {}}]`+"\n")
	var wg sync.WaitGroup
	wg.Go(func() { g.Shutdown(t.Context()) })
	for range 100 {
		_, _ = g.Addr(), g.AdminAddr()
	}
	wg.Wait()
}

package proxy_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/proxy/internal/dnstest"
)

// site is an app server at an address of its own, whose port all sites share.
type site struct {
	*httptest.Server
	address string
	open    atomic.Int64 // connections
}

// sites starts app servers at 127.0.0.1, 127.0.0.2 and so on, and returns their port. serve is told whose request it is.
func sites(t *testing.T, n int, serve func(address string, w http.ResponseWriter, r *http.Request)) (all []*site, port string) {
	t.Helper()
	for _, l := range listenTogether(t, n) {
		s := &site{}
		s.address, port, _ = net.SplitHostPort(l.Addr().String())
		s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(s.address, w, r) }))
		s.Listener.Close()
		s.Listener = l
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.open.Add(-1)
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		all = append(all, s)
	}
	return all, port
}

// listenTogether listens on one port at n loopback addresses.
func listenTogether(t *testing.T, n int) []net.Listener {
	t.Helper()
	for range 100 {
		var all []net.Listener
		port := "0"
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%s", i+1, port))
			if err != nil {
				break // another program has the port at that address
			}
			_, port, _ = net.SplitHostPort(l.Addr().String())
			all = append(all, l)
		}
		if len(all) == n {
			return all
		}
		for _, l := range all {
			l.Close()
		}
	}
	t.Fatal("no port is free at all addresses")
	return nil
}

// tellAddress answers with the server's address.
func tellAddress(address string, w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, address)
}

// ipv4 sets the name's addresses; it has none of IPv6.
func ipv4(d *dnstest.Server, addresses ...string) { d.Set(dnstest.Addrs(addresses...), dnstest.Empty) }

// byName configures a server by its name, which is asked for very often.
func byName(port string) []proxy.Server {
	return []proxy.Server{{URL: "http://app.test:" + port, Resolve: 100 * time.Millisecond}}
}

// hasAddresses reports whether an upstream's servers are at these addresses.
func hasAddresses(u *proxy.Upstream, port string, addresses ...string) bool {
	st := u.Status()
	if len(st) != len(addresses) {
		return false
	}
	for i, s := range st {
		if s.Address != addresses[i]+":"+port {
			return false
		}
	}
	return true
}

func TestRequestsFollowANameThatMoves(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}), make(chan struct{})
	all, port := sites(t, 2, func(address string, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(held)
			<-release
		}
		tellAddress(address, w, r)
	})
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1")
	u := newUpstream(t, proxy.Config{Servers: byName(port), IdleTimeout: time.Hour}, proxy.Options{DNS: d.Resolver()})
	gw := front(t, u.Handler(proxy.RouteOptions{}))

	slow := make(chan answer)
	go func() { slow <- get(t, gw.URL+"/slow") }()
	<-held
	stop := make(chan struct{})
	var failed, atNew atomic.Int64
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch a := get(t, gw.URL); {
				case a.status != http.StatusOK:
					failed.Add(1)
				case a.body == "127.0.0.2":
					atNew.Add(1)
				}
			}
		})
	}
	ipv4(d, "127.0.0.2")
	eventually(t, "the old address is gone", func() bool { return hasAddresses(u, port, "127.0.0.2") })
	after := shares(t, gw.URL, 20)
	eventually(t, "the old server's idle connections are closed", func() bool { return all[0].open.Load() == 1 })
	close(stop)
	clients.Wait()
	if failed.Load() > 0 || atNew.Load() == 0 || after["127.0.0.2"] != 20 {
		t.Errorf("%d requests failed, %d reached the new server; after the move: %v", failed.Load(), atNew.Load(), after)
	}
	close(release)
	if a := <-slow; a.status != http.StatusOK || a.body != "127.0.0.1" {
		t.Errorf("the request in flight at the old server: %+v", a)
	}
	eventually(t, "its connection is closed too", func() bool { return all[0].open.Load() == 0 })
}

func TestEachAddressGetsItsShare(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 3, tellAddress)
	d := dnstest.New(t)
	ipv4(d, "127.0.0.3", "127.0.0.1", "127.0.0.2")
	u := newUpstream(t, proxy.Config{Servers: byName(port)}, proxy.Options{DNS: d.Resolver()})
	eventually(t, "the addresses are known", func() bool { return hasAddresses(u, port, "127.0.0.1", "127.0.0.2", "127.0.0.3") })
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	got := shares(t, gw.URL, 300)
	for i := range 3 {
		if got[fmt.Sprintf("127.0.0.%d", i+1)] != 100 {
			t.Fatalf("of 300 requests: %v", got)
		}
	}
	if st := u.Status()[1]; st.URL != "http://app.test:"+port || st.Requests != 100 {
		t.Errorf("%+v", st)
	}
}

func TestEachAddressHasItsOwnHealth(t *testing.T) {
	t.Parallel()
	var host atomic.Value
	_, port := sites(t, 2, func(address string, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			host.Store(r.Host)
		}
		if address == "127.0.0.2" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		tellAddress(address, w, r)
	})
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1", "127.0.0.2")
	logs := new(syncBuffer)
	u := newUpstream(t, proxy.Config{
		Servers: byName(port), HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 10 * time.Millisecond, Timeout: 10 * time.Second},
	}, proxy.Options{DNS: d.Resolver(), Logger: logs.logger()})
	eventually(t, "the sick one is out", func() bool {
		return hasAddresses(u, port, "127.0.0.1", "127.0.0.2") && !u.Status()[1].Healthy
	})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := shares(t, gw.URL, 20); got["127.0.0.1"] != 20 {
		t.Errorf("with one of two sick: %v", got)
	}
	if !u.Status()[0].Healthy || host.Load() != "app.test:"+port {
		t.Errorf("checked at host %v: %+v", host.Load(), u.Status()[0])
	}
}

// A check that began anew with each change of the addresses would never come to a verdict on a server whose name's other addresses change all
// the time.
func TestHealthChecksGoOnAsAddressesChange(t *testing.T) {
	t.Parallel()
	var checks [2]atomic.Int64
	_, port := sites(t, 2, func(address string, w http.ResponseWriter, r *http.Request) {
		checks[address[len(address)-1]-'1'].Add(1)
	})
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1")
	u := newUpstream(t, proxy.Config{
		Servers: byName(port), HealthCheck: proxy.HealthCheck{Path: "/", Interval: time.Hour, Timeout: time.Minute},
	}, proxy.Options{DNS: d.Resolver()})
	eventually(t, "the first is checked", func() bool { return hasAddresses(u, port, "127.0.0.1") && checks[0].Load() > 0 })
	before := checks[0].Load() // two where the name itself was checked before it was resolved
	ipv4(d, "127.0.0.1", "127.0.0.2")
	eventually(t, "the second is checked", func() bool { return checks[1].Load() > 0 })
	ipv4(d, "127.0.0.1")
	eventually(t, "the second is gone", func() bool { return hasAddresses(u, port, "127.0.0.1") })
	if after := checks[0].Load(); after != before {
		t.Errorf("the first was checked %d more times", after-before)
	}
}

func TestDNSFailuresStopNoRequest(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 1, func(address string, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // each request needs a connection
		tellAddress(address, w, r)
	})
	for name, bad := range map[string]dnstest.Reply{"SERVFAIL": dnstest.ServFail, "NXDOMAIN": dnstest.NXDomain, "no address": dnstest.Empty} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dnstest.New(t)
			ipv4(d, "127.0.0.1")
			u := newUpstream(t, proxy.Config{Servers: byName(port)}, proxy.Options{DNS: d.Resolver()})
			eventually(t, "the address is known", func() bool { return hasAddresses(u, port, "127.0.0.1") })
			d.Set(bad, bad)
			asked := d.Questions("app.test", "A")
			eventually(t, "DNS has failed several times", func() bool { return d.Questions("app.test", "A") > asked+5 })
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			if got := shares(t, gw.URL, 10); got["127.0.0.1"] != 10 {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestRequestsCauseNoQueries(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 1, func(address string, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		tellAddress(address, w, r)
	})
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1")
	u := newUpstream(t, proxy.Config{Servers: []proxy.Server{{URL: "http://app.test:" + port, Resolve: time.Hour}}}, proxy.Options{DNS: d.Resolver()})
	eventually(t, "the address is known", func() bool { return hasAddresses(u, port, "127.0.0.1") })
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := shares(t, gw.URL, 50); got["127.0.0.1"] != 50 {
		t.Errorf("%v", got)
	}
	if a, aaaa := d.Questions("app.test", "A"), d.Questions("app.test", "AAAA"); a != 1 || aaaa != 1 {
		t.Errorf("50 requests: asked for A %d times and for AAAA %d times, want once each", a, aaaa)
	}
}

// lookup is a resolver of one function.
type lookup func(ctx context.Context) ([]netip.Addr, error)

func (f lookup) LookupNetIP(ctx context.Context, network, _ string) ([]netip.Addr, error) {
	if network != "ip4" {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return f(ctx)
}

func TestTheNameIsDialedUntilItIsResolved(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 1, tellAddress)
	known := make(chan struct{})
	u := newUpstream(t, proxy.Config{Servers: servers("http://localhost:" + port)}, proxy.Options{DNS: lookup(func(ctx context.Context) ([]netip.Addr, error) {
		select {
		case <-known:
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if a := get(t, gw.URL); a.body != "127.0.0.1" {
		t.Errorf("%+v", a)
	}
	if st := u.Status(); len(st) != 1 || st[0].Address != "" || st[0].URL != "http://localhost:"+port {
		t.Errorf("%+v", st)
	}
	close(known)
	eventually(t, "the address is known", func() bool { return hasAddresses(u, port, "127.0.0.1") })
}

func TestUpdateKeepsAndEndsResolving(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 2, tellAddress)
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1", "127.0.0.2")
	cfg := proxy.Config{Servers: byName(port)}
	u := newUpstream(t, cfg, proxy.Options{DNS: d.Resolver()})
	both := func() bool { return hasAddresses(u, port, "127.0.0.1", "127.0.0.2") }
	eventually(t, "the addresses are known", both)
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	shares(t, gw.URL, 10)
	update := func() {
		t.Helper()
		if err := u.Update(cfg); err != nil {
			t.Fatal(err)
		}
	}

	cfg.Retries = 2
	update()
	if !both() || u.Status()[0].Requests != 5 {
		t.Errorf("another setting has changed: %+v", u.Status())
	}
	d.Set(dnstest.ServFail, dnstest.ServFail)
	cfg.Servers = []proxy.Server{{URL: cfg.Servers[0].URL, Resolve: 120 * time.Millisecond}}
	update()
	if !both() || u.Status()[0].Requests != 5 {
		t.Errorf("another interval, and DNS fails: %+v", u.Status())
	}
	cfg.Servers = []proxy.Server{{URL: cfg.Servers[0].URL, Resolve: -1}}
	update()
	if st := u.Status(); len(st) != 1 || st[0].Address != "" {
		t.Errorf("resolve is off: %+v", st)
	}
	d.Settle(t)
	asked := d.Questions("app.test", "A")
	shares(t, gw.URL, 3)
	d.Settle(t)
	if n := d.Questions("app.test", "A") - asked; n != 0 {
		t.Errorf("resolve is off, and the name was asked for %d more times", n)
	}
}

func TestTheURLsNameStaysInTLS(t *testing.T) {
	t.Parallel()
	var name atomic.Value
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { name.Store(r.TLS.ServerName) }))
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1")
	u := newUpstream(t, proxy.Config{
		Servers: []proxy.Server{{URL: "https://example.com:" + port, Resolve: 100 * time.Millisecond}}, TLS: proxy.TLS{CAFile: ca},
	}, proxy.Options{DNS: d.Resolver()})
	eventually(t, "the address is known", func() bool { return hasAddresses(u, port, "127.0.0.1") })
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if a := get(t, gw.URL); a.status != http.StatusOK || name.Load() != "example.com" {
		t.Errorf("%+v, server name %v", a, name.Load())
	}
}

func TestADrainedServerGetsNoRequests(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}), make(chan struct{})
	a := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(held)
			<-release
		}
		_, _ = io.WriteString(w, "a")
	})
	b := named(t, "b")
	cfg := proxy.Config{Servers: servers(a.URL, b.URL)}
	u := newUpstream(t, cfg, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	slow := make(chan answer)
	go func() { slow <- get(t, gw.URL+"/slow") }()
	<-held
	cfg.Servers = []proxy.Server{{URL: a.URL, Weight: -1}, {URL: b.URL}}
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if got := shares(t, gw.URL, 10); got["b"] != 10 {
		t.Errorf("a is drained: %v", got)
	}
	if st := u.Status()[0]; st.Weight != 0 || st.Active != 1 {
		t.Errorf("%+v", st)
	}
	close(release)
	if got := <-slow; got.body != "a" {
		t.Errorf("the request in flight: %+v", got)
	}
	cfg.Servers = []proxy.Server{{URL: a.URL, Weight: -1}, {URL: b.URL, Weight: -1}}
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if got := get(t, gw.URL); got.status != http.StatusServiceUnavailable {
		t.Errorf("all are drained: %+v", got)
	}
	cfg.Servers = servers(a.URL, b.URL)
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if got := shares(t, gw.URL, 10); got["a"] != 5 {
		t.Errorf("a is back: %v", got)
	}
}

func TestANewAddressStartsSlowly(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 2, tellAddress)
	d := dnstest.New(t)
	ipv4(d, "127.0.0.1")
	c := new(clock)
	u := newUpstream(t, proxy.Config{Servers: byName(port), SlowStart: time.Hour}, proxy.Options{DNS: d.Resolver(), Now: c.now})
	eventually(t, "the first address is known", func() bool { return hasAddresses(u, port, "127.0.0.1") })
	ipv4(d, "127.0.0.1", "127.0.0.2")
	eventually(t, "the second is known", func() bool { return hasAddresses(u, port, "127.0.0.1", "127.0.0.2") })
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := shares(t, gw.URL, 110); got["127.0.0.2"] != 10 { // a tenth of the other's
		t.Errorf("the new address is cold: %v", got)
	}
	c.advance(2 * time.Hour)
	if got := shares(t, gw.URL, 100); got["127.0.0.2"] < 45 {
		t.Errorf("the new address is warm: %v", got)
	}
}

func TestIPHashIsTheSameWhateverTheOrderOfAddresses(t *testing.T) {
	t.Parallel()
	_, port := sites(t, 3, tellAddress)
	chosen := func(addresses ...string) (all []string) {
		d := dnstest.New(t)
		ipv4(d, addresses...)
		u := newUpstream(t, proxy.Config{Servers: byName(port), Balance: proxy.IPHash}, proxy.Options{DNS: d.Resolver()})
		eventually(t, "the addresses are known", func() bool { return hasAddresses(u, port, "127.0.0.1", "127.0.0.2", "127.0.0.3") })
		different := map[string]bool{}
		for i := range 40 {
			a := get(t, front(t, from(fmt.Sprintf("192.0.2.%d", i), u.Handler(proxy.RouteOptions{}))).URL)
			all = append(all, a.body)
			different[a.body] = true
		}
		if len(different) < 2 {
			t.Errorf("all clients are on one address: %v", all)
		}
		return all
	}
	one, other := chosen("127.0.0.1", "127.0.0.2", "127.0.0.3"), chosen("127.0.0.3", "127.0.0.1", "127.0.0.2")
	if !slices.Equal(one, other) {
		t.Errorf("one instance sends the clients to %v, another to %v", one, other)
	}
}

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
)

const denying = `
server:
  listen: "127.0.0.1:0"
  admin: {listen: "127.0.0.1:0"}
  trusted_proxies: [127.0.0.0/8]
  deny: [192.0.2.0/24, 198.51.100.7, "2001:db8:bad::/48"]
upstreams: {shop: {servers: [%s]}}
limits: {per-ip: {requests: 1, window: 1h}}
defaults: {limits: per-ip}
routes: [{name: known, path: /known, methods: [GET], upstream: shop}]
`

func TestADeniedNetworkIsRefusedOnEveryPath(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(denying, app(t, "shop").URL))
	for _, request := range []string{
		"GET /known", "HEAD /known", "POST /known", "GET /unknown", "GET /.well-known/acme-challenge/x", "GET /a%2Fb", "GET /%2e%2e/%00", "GET /x/..;/y",
		"OPTIONS *", "CONNECT shop.example:443", "PURGE /known", "GET http://shop.example/known",
	} {
		a := g.raw(request + " HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.9\r\nConnection: close\r\n\r\n")
		if a.StatusCode != 403 {
			t.Errorf("%s: %d %s", request, a.StatusCode, a.text)
			continue
		}
		if request != "HEAD /known" {
			if p := a.problem(t); p.Status != 403 || p.Detail == "" {
				t.Errorf("%s: %+v", request, p)
			}
		}
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Request-Id") == "" || a.Header.Get("RateLimit") != "" {
			t.Errorf("%s: %v", request, a.Header)
		}
	}
	if n := g.metric("headgate_denied_network_requests_total"); n != 12 {
		t.Errorf("%g requests are counted as denied", n)
	}
	eventually(t, "the access log names the network", func() bool {
		log := g.log.String()
		return strings.Count(log, `"denied_network":"192.0.2.0/24"`) == 12 && strings.Count(log, `"error":"denied network"`) == 12
	})
	if n := g.metric("headgate_limit_decisions_total"); n != 0 {
		t.Errorf("limits have been asked %g times", n)
	}
}

func TestWhomADeniedNetworkHolds(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(denying, app(t, "shop").URL))
	for client, denied := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "192.0.3.0": false, "198.51.100.7": true, "198.51.100.8": false,
		"::ffff:192.0.2.1": true, "[::ffff:192.0.2.1]:4711": true, "192.0.2.1:80": true, "64:ff9b::192.0.2.1": true, "64:ff9b::192.0.3.1": false,
		"2001:db8:bad::": true, "2001:db8:bad:ffff::1%eth0": true, "2001:db8:bae::": false, "::192.0.2.1": false,
		// Who a trusted proxy names is the client, not who is named to its left.
		"192.0.2.1, 203.0.113.5": false, "203.0.113.5, 192.0.2.1": true,
	} {
		a := g.do("GET", "/known", "X-Forwarded-For", client)
		if (a.StatusCode == 403) != denied {
			t.Errorf("%s: %d", client, a.StatusCode)
		}
	}
}

// TestTheAdminListenerKnowsNoDeniedNetworks: operators come from loopback there.
func TestTheAdminListenerKnowsNoDeniedNetworks(t *testing.T) {
	t.Parallel()
	g := start(t, strings.Replace(fmt.Sprintf(denying, app(t, "shop").URL), "deny: [", "deny: [0.0.0.0/0, ", 1))
	if a := g.do("GET", "/known"); a.StatusCode != 403 {
		t.Errorf("%d", a.StatusCode)
	}
	if a := g.admin("GET", "/readyz"); a.StatusCode != 200 {
		t.Errorf("%d", a.StatusCode)
	}
}

func TestExplainNamesTheDeniedNetwork(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(denying, app(t, "shop").URL))
	e, err := g.Explain(context.Background(), pipeline.Question{URL: "http://shop.example/a/../known", IP: "192.0.2.9"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Status != 403 || e.Stage != "denied network" || !strings.HasPrefix(e.Denied, "192.0.2.0/24") || e.Route != "" || e.Path != "/a/../known" {
		t.Errorf("%+v", e)
	}
}

// allocations returns how many a refusal costs, at least: those of the whole process are counted, and what runs in the
// background, or the race detector makes of pools, only adds to them.
func (g *gateway) allocations(from string, want int) float64 {
	r := httptest.NewRequest("GET", "http://shop.example/unknown", nil)
	r.RemoteAddr = from
	w := &discarding{header: http.Header{}}
	least := math.Inf(1)
	for range 10 {
		least = min(least, testing.AllocsPerRun(50, func() {
			clear(w.header)
			r.Header = http.Header{"User-Agent": {"x"}}
			g.ServeHTTP(w, r)
		}))
	}
	if w.status != want {
		g.t.Errorf("%s: %d", from, w.status)
	}
	return least
}

// TestADeniedNetworkCostsWhatADenialCosts: in allocations, which is how a flood is felt first. It counts those of the
// whole process, so that it runs by itself.
func TestADeniedNetworkCostsWhatADenialCosts(t *testing.T) {
	g := start(t, fmt.Sprintf(denying, app(t, "shop").URL))
	denial, network := g.allocations("203.0.113.9:1234", 429), g.allocations("192.0.2.9:1234", 403)
	if network > denial {
		t.Errorf("%g allocations for a denied network, %g for a denial", network, denial)
	}
}

func TestGRPCClientsOfADeniedNetworkGetAStatus(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(denying, app(t, "shop").URL))
	r := httptest.NewRequest("POST", "http://shop.example/any.Service/Call", bytes.NewReader(nil))
	r.RemoteAddr = "192.0.2.9:1234"
	r.ProtoMajor, r.ProtoMinor = 2, 0
	r.Header.Set("Content-Type", "application/grpc")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if w.Code != 200 || w.Header().Get("Grpc-Status") != "7" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

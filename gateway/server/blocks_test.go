package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

const blocking = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.0/8, 10.0.0.0/8], deny: [203.0.113.0/24]}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s]}}
routes: [{path: /*, upstream: shop}]
`

// block asks for a block, and returns the status and what came of it.
func (g *gateway) block(body string) (int, admin.BlockChange, string) {
	g.t.Helper()
	return g.change(g.adminSend("POST", "/blocks", strings.NewReader(body), "Headgate-Author", "olga"))
}

func (g *gateway) unblock(network string) (int, admin.BlockChange, string) {
	g.t.Helper()
	return g.change(g.admin("DELETE", "/blocks/"+network))
}

func (g *gateway) change(a *answer) (status int, c admin.BlockChange, text string) {
	g.t.Helper()
	if a.StatusCode == 200 {
		if err := json.Unmarshal([]byte(a.text), &c); err != nil {
			g.t.Fatal(err, a.text)
		}
	}
	return a.StatusCode, c, a.text
}

// from is the status that a client at an address gets.
func (g *gateway) from(addr string) int {
	g.t.Helper()
	return g.do("GET", "/", "X-Forwarded-For", addr).StatusCode
}

func TestABlockHoldsOnEveryGatewayUntilItIsUnblocked(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policy := fmt.Sprintf(blocking, redis.URL, app(t, "shop").URL)
	a, b := start(t, policy), start(t, policy)
	if a.from("192.0.2.7") != 200 {
		t.Fatal("not blocked, and refused")
	}
	status, c, text := a.block(`{"network": "192.0.2.0/24", "for": "1h", "reason": "guesses"}`)
	if status != 200 || c.Network != netip.MustParsePrefix("192.0.2.0/24") || c.Reason != "guesses" || c.Until.Sub(c.Since) != time.Hour || !strings.HasPrefix(c.By, "olga at 127.0.0.1") {
		t.Fatalf("%d %s", status, text)
	}
	for i, g := range []*gateway{a, b} {
		if len(c.Unconfirmed) == 0 && g.from("192.0.2.7") != 403 {
			t.Errorf("gateway %d has confirmed a block that does not hold there", i)
		}
		eventually(t, "the block holds", func() bool { return g.from("192.0.2.7") == 403 })
		if got := g.from("192.0.3.7"); got != 200 {
			t.Errorf("a neighbour: %d", got)
		}
		eventually(t, "the log says so", func() bool {
			return strings.Contains(g.log.String(), `"denied_network":"192.0.2.0/24"`) && strings.Contains(g.log.String(), `"error":"blocked network"`)
		})
		if n := g.metric("headgate_blocks"); n != 1 {
			t.Errorf("headgate_blocks is %g", n)
		}
		if m := g.admin("GET", "/metrics").text; !strings.Contains(m, `headgate_denied_network_requests_total{by="deny"} 0`) || strings.Contains(m, `headgate_denied_network_requests_total{by="block"} 0`) {
			t.Error("blocked requests are not counted as such")
		}
	}
	e, err := b.Explain(context.Background(), pipeline.Question{URL: "http://x/", IP: "192.0.2.7"})
	if err != nil || e.Status != 403 || !strings.Contains(e.Denied, "192.0.2.0/24, which an operator has blocked") {
		t.Errorf("%v %+v", err, e)
	}
	// One that starts later has it before its first request.
	late := start(t, policy)
	if got := late.from("192.0.2.7"); got != 403 {
		t.Errorf("a gateway that started later: %d", got)
	}
	var list admin.BlockList
	if err := json.Unmarshal([]byte(late.admin("GET", "/blocks").text), &list); err != nil || len(list.Blocks) != 1 || list.Blocks[0] != c.Block || list.Note != "" {
		t.Errorf("%v %+v, want %+v", err, list, c.Block)
	}
	if status, _, text := late.unblock("192.0.2.0/24"); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	for _, g := range []*gateway{a, b, late} {
		eventually(t, "the block has ended", func() bool { return g.from("192.0.2.7") == 200 })
	}
}

// TestAnOfflineExplanationReadsTheBlocks: of the policy's Redis, and is no instance that a block waits for.
func TestAnOfflineExplanationReadsTheBlocks(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policy := fmt.Sprintf(blocking, redis.URL, app(t, "shop").URL)
	start(t, policy).block(`{"network": "192.0.2.7"}`)
	s, err := server.New(server.Options{Policy: parse(t, policy), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	e, err := s.Explain(context.Background(), pipeline.Question{URL: "http://x/", IP: "192.0.2.7"})
	if err != nil || e.Status != 403 {
		t.Errorf("%v %+v", err, e)
	}
	if n := redis.Client.HLen(context.Background(), "headgate:{blocks}:instances").Val(); n != 1 {
		t.Errorf("%d instances", n)
	}
}

func TestWhatIsProbablyAMistakeIsBlockedByForceAlone(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(blocking, "", app(t, "shop").URL))
	for network, why := range map[string]string{
		"0.0.0.0/0": "wider than a /8", "128.0.0.0/7": "wider than a /8", "2000::/3": "wider than a /32", "2001:db8::/31": "wider than a /32", "::/0": "wider than a /32",
		"10.1.2.3": "trusted_proxies", "10.0.0.0/8": "trusted_proxies", "127.0.0.1": "trusted_proxies", "::ffff:10.0.0.0/104": "trusted_proxies",
	} {
		status, _, text := g.block(fmt.Sprintf(`{"network": %q}`, network))
		if status != 409 || !strings.Contains(text, why) || !strings.Contains(text, "--force") {
			t.Errorf("%s: %d %s", network, status, text)
		}
	}
	own := start(t, strings.Replace(fmt.Sprintf(blocking, "", app(t, "shop").URL), "127.0.0.0/8, ", "", 1))
	if status, _, text := own.block(`{"network": "127.0.0.0/24"}`); status != 409 || !strings.Contains(text, "your own address, 127.0.0.1") {
		t.Errorf("%d %s", status, text)
	}
	if status, c, text := own.block(`{"network": "127.0.0.0/24", "force": true}`); status != 200 || !strings.Contains(c.Note, "no Redis") {
		t.Errorf("%d %s", status, text)
	}
	if a := own.do("GET", "/"); a.StatusCode != 403 {
		t.Errorf("%d", a.StatusCode)
	}
	if status, _, text := own.unblock("127.0.0.0/24"); status != 200 {
		t.Errorf("the admin listener is closed to the operator: %d %s", status, text)
	}
	for body, want := range map[string]int{
		`{"network": "128.0.0.0/8"}`: 200, `{"network": "2001:db8::/32"}`: 200, `{"network": "nowhere"}`: 400, `{"network": "192.0.2.0/33"}`: 400, `{}`: 400, `{"net": "x"}`: 400, `{`: 400,
		`{"network": "192.0.2.1", "for": "0s"}`: 400, `{"network": "192.0.2.1", "for": "-1h"}`: 400, `{"network": "192.0.2.1", "for": "soon"}`: 400, `{"network": "192.0.2.1", "for": "7d"}`: 200,
		`{"network": "192.0.2.1", "reason": "a\nb"}`: 400, `{"network": "::ffff:0:0/95"}`: 400,
	} {
		if status, _, text := g.block(body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

func TestWhatIsBlockedAndWhatStillHoldsIt(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(blocking, "", app(t, "shop").URL))
	for network, want := range map[string]string{
		"192.0.2.1/24": "192.0.2.0/24", "192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.8": "192.0.2.8/32", "::ffff:192.0.2.0/120": "192.0.2.0/24", "64:ff9b::192.0.2.9": "192.0.2.9/32",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64", "2001:db8:1:2:3::4%eth0": "2001:db8:1:2::/64", "2001:db8:1:2:3::5/128": "2001:db8:1:2:3::5/128",
		"203.0.113.9": "203.0.113.9/32",
	} {
		status, c, text := g.block(fmt.Sprintf(`{"network": %q}`, network))
		if status != 200 || c.Network.String() != want {
			t.Errorf("%s: %d %s", network, status, text)
		}
		if told := strings.Contains(c.Note, "/64"); told != strings.HasSuffix(want, "/64") {
			t.Errorf("%s: %q", network, c.Note)
		}
	}
	still := func(network, want string) {
		t.Helper()
		status, c, text := g.unblock(network)
		if got := fmt.Sprint(c.StillBlockedBy); status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s\n%s", network, status, got, want, text)
		}
	}
	still("192.0.2.7", "[192.0.2.0/24]")
	still("203.0.113.9", "[203.0.113.0/24]")
	still("2001:db8:1:2:3::5", "[2001:db8:1:2::/64]") // the one address, which had a block of its own
	still("2001:db8:1:2:3::5", "[]")                  // its network
	still("192.0.2.0%2F24", "[]")
	for network, want := range map[string]string{"192.0.2.7": "192.0.2.7/32 is not blocked", "203.0.113.1": "it is in 203.0.113.0/24", "nowhere": "is not an address"} {
		if status, _, text := g.unblock(network); status != 404 && network != "nowhere" || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", network, status, text)
		}
	}
	// Of whom a block within a wider one was removed is refused on.
	if got := g.from("203.0.113.9"); got != 403 {
		t.Errorf("%d", got)
	}
}

func TestABlockCostsNoMoreThanADeniedNetwork(t *testing.T) {
	g := start(t, fmt.Sprintf(blocking, "", app(t, "shop").URL))
	g.block(`{"network": "192.0.2.0/24"}`)
	if block, deny := g.allocations("192.0.2.1:1", 403), g.allocations("203.0.113.1:1", 403); block > deny {
		t.Errorf("%g allocations for a block, %g for a denied network", block, deny)
	}
}

func TestWithoutRedisABlockFailsAndTheOthersStay(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, strings.Replace(fmt.Sprintf(blocking, redis.URL, app(t, "shop").URL), "50s", "1s", 1))
	g.block(`{"network": "192.0.2.1"}`)
	redis.Stop()
	if status, _, text := g.block(`{"network": "192.0.2.2"}`); status != 503 {
		t.Errorf("%d %s", status, text)
	}
	if a, b := g.from("192.0.2.1"), g.from("192.0.2.2"); a != 403 || b != 200 {
		t.Errorf("%d %d", a, b)
	}
	eventually(t, "the list says that Redis is away", func() bool { return strings.Contains(g.admin("GET", "/blocks").text, "Redis is away") })
}

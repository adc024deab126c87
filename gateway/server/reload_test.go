package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// reloadable starts a gateway whose policy is what *policy holds.
func reloadable(t *testing.T, policy *atomic.Value, change ...func(*server.Options)) *gateway {
	return start(t, policy.Load().(string), append(change, func(o *server.Options) {
		o.Load = func() (*policies.Policy, error) {
			text := policy.Load().(string)
			if text == "broken" {
				return nil, errors.New("headgate.yaml:1:1: it is broken; mend it")
			}
			return parse(t, text), nil
		}
	})...)
}

func TestTwoHundredReloadsUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	shop := app(t, "a").URL
	policy := func(n int) string {
		return fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
limits: {all: {algorithm: fixed_window, requests: 1000000, window: 1h}}
defaults: {upstream: shop, limits: all}
routes: [{path: /*}, {name: r%d, path: /r%d}]
`, shop, n, n)
	}
	var text atomic.Value
	text.Store(policy(0))
	g := reloadable(t, &text)

	var stop atomic.Bool
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				if a := g.do("GET", "/"); a.StatusCode != 200 {
					t.Errorf("%d %s", a.StatusCode, a.text)
					return
				}
				sent.Add(1)
			}
		})
	}
	for i := range 200 {
		text.Store(policy(i + 1))
		if err := g.Reload("test"); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	if a := g.do("GET", "/r200"); a.StatusCode != 200 || !strings.Contains(a.Header.Get("RateLimit"), fmt.Sprintf("r=%d;", 1000000-sent.Load()-1)) {
		t.Errorf("after %d requests and 200 reloads: %q", sent.Load(), a.Header.Get("RateLimit"))
	}
	var history []struct{ Number int }
	if err := json.Unmarshal([]byte(g.admin("GET", "/policy/history").text), &history); err != nil || len(history) != 20 || history[0].Number != 201 {
		t.Errorf("history: %v %v", err, history)
	}
}

func TestABrokenPolicyLeavesTheLastGoodOneRunning(t *testing.T) {
	t.Parallel()
	good := fmt.Sprintf(anyRoute, app(t, "a").URL)
	var text atomic.Value
	text.Store(good)
	g := reloadable(t, &text)

	for name, tc := range map[string]struct{ policy, want string }{
		"does not load":   {"broken", "it is broken; mend it"},
		"needs a restart": {strings.Replace(good, "upstreams:", "redis: {url: \"redis://127.0.0.1:1\"}\nupstreams:", 1), "redis cannot change"},
		"cannot compile":  {strings.Replace(strings.Replace(good, "http://", "https://", 1), "]}}", "], tls: {ca_file: /nowhere.pem}}}", 1), "/nowhere.pem"},
	} {
		text.Store(tc.policy)
		a := g.admin("POST", "/policy/reload")
		if a.StatusCode != 422 || !strings.Contains(a.text, tc.want) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
		if a := g.do("GET", "/"); a.StatusCode != 200 {
			t.Errorf("%s: the gateway answers %d", name, a.StatusCode)
		}
		if a := g.admin("GET", "/policy"); !strings.Contains(a.text, tc.want) || g.metric("headgate_policy_last_reload_failed") != 1 {
			t.Errorf("%s: /policy does not tell: %s", name, a.text)
		}
	}
	text.Store(good)
	if a := g.admin("POST", "/policy/reload"); a.StatusCode != 200 || strings.Contains(a.text, "last_reload_error") || g.metric("headgate_policy_last_reload_failed") != 0 {
		t.Errorf("a good one again: %d %s", a.StatusCode, a.text)
	}
}

func TestAnEarlierPolicyCanRunAgain(t *testing.T) {
	t.Parallel()
	var text atomic.Value
	first := fmt.Sprintf(anyRoute, app(t, "a").URL)
	text.Store(first)
	g := reloadable(t, &text)
	text.Store(strings.Replace(first, "path: /*", "path: /new", 1))
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if a := g.do("GET", "/"); a.StatusCode != 404 {
		t.Fatalf("%d", a.StatusCode)
	}
	if a := g.admin("POST", "/policy/rollback?to=1"); a.StatusCode != 200 || !strings.Contains(a.text, "rolled back to 1") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := g.do("GET", "/"); a.StatusCode != 200 {
		t.Errorf("after the rollback: %d", a.StatusCode)
	}
	for target, want := range map[string]int{"/policy/rollback?to=99": 404, "/policy/rollback": 400} {
		if a := g.admin("POST", target); a.StatusCode != want {
			t.Errorf("%s: %d", target, a.StatusCode)
		}
	}
}

func TestAnUpstreamThatAPolicyDropsFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan bool), make(chan bool)
	slow := appFunc(t, slowAnswer(begun, finish))
	var text atomic.Value
	text.Store(fmt.Sprintf(anyRoute, slow.URL))
	g := reloadable(t, &text)
	got := make(chan *answer)
	go func() { got <- g.do("GET", "/") }()
	<-begun
	text.Store(strings.ReplaceAll(fmt.Sprintf(anyRoute, app(t, "other").URL), "shop", "other"))
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if a := g.do("GET", "/"); a.Header.Get("App") != "other" {
		t.Errorf("the new policy: %v", a.Header)
	}
	close(finish)
	if a := <-got; a.text != "slow" {
		t.Errorf("the request under the old policy: %d %q", a.StatusCode, a.text)
	}
}

func TestExplainSaysWhatWouldHappenAndConsumesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}}
clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, plan: gold}}
limits: {per-ip: {algorithm: fixed_window, requests: 2, window: 1h, key: [ip, route], plans: {gold: 50}}}
caches: {pages: {ttl: 1m, ignore_query: ["utm_*"], key_headers: [X-Tenant]}}
defaults: {upstream: shop, limits: per-ip}
routes:
  - {name: one, path: /shop/:id, methods: [GET], cache: pages, strip_prefix: /shop}
  - {name: beta, path: /shop/:id, methods: [GET], match: {headers: {X-Beta: "1"}}, limits: off}
  - {name: home, path: /, session: required}
`)
	ask := func(query string) (e pipeline.Explanation) {
		t.Helper()
		a := g.admin("GET", "/explain?"+query)
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.text)
		}
		if err := json.Unmarshal([]byte(a.text), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	q := "ip=127.0.0.1&url=" + url.QueryEscape("http://Shop.Example/x/../shop//7?utm_a=1&b=2") + "&header=X-Tenant:+t"
	for range 5 {
		e := ask(q)
		if e.Route != "one" || e.Host != "shop.example" || e.Path != "/shop/7" || e.Forward != "/7" || e.Answer != "upstream shop" || len(e.Others) != 2 {
			t.Fatalf("%+v", e)
		}
		if l := e.Limits[0]; !l.Admits || l.Remaining != 2 || fmt.Sprint(l.Key) != "[127.0.0.1 one]" {
			t.Fatalf("%+v", l)
		}
		// The route's strip_prefix is part of the key: routes that rewrite differently share nothing.
		if got := fmt.Sprint(e.CacheKey); !regexp.MustCompile(`^\[pages shop as [0-9a-f]{16} http://shop.example/shop/7\?b=2 X-Tenant: t\]$`).MatchString(got) {
			t.Fatalf("%s", got)
		}
	}
	g.do("GET", "/shop/7")
	g.do("GET", "/shop/7")
	if e := ask(q); e.Status != 429 || e.Limits[0].RetryAfter == 0 {
		t.Errorf("when the limit is spent: %+v", e)
	}
	if e := ask(q + "&header=X-Api-Key:+password"); e.APIKey != "acme" || e.Limits[0].Requests != 50 {
		t.Errorf("with an API key: %+v", e)
	}
	if e := ask("url=/&ip=2001:db8::1"); e.Route != "home" || !strings.HasPrefix(e.Session, "required") || e.Limits[0].Key[0] != "2001:db8::" {
		t.Errorf("%+v", e)
	}
	if e := ask("url=/nothing"); e.Status != 404 || len(e.Others) != 3 {
		t.Errorf("%+v", e)
	}
	if e := ask("method=POST&url=/shop/7"); e.Status != 405 {
		t.Errorf("%+v", e)
	}
	if e := ask("url=/a/..%252f"); e.Status != 400 {
		t.Errorf("%+v", e)
	}
	if a := g.admin("GET", "/explain?url=/&ip=garbage"); a.StatusCode != 400 {
		t.Errorf("%d", a.StatusCode)
	}
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan bool), make(chan bool)
	g := start(t, fmt.Sprintf(anyRoute, appFunc(t, slowAnswer(begun, finish)).URL))
	got := make(chan *answer)
	go func() { got <- g.do("GET", "/") }()
	<-begun
	done := make(chan error)
	go func() { done <- g.Shutdown(t.Context()) }()
	eventually(t, "readyz says draining", func() bool {
		a := g.admin("GET", "/readyz")
		return a.StatusCode == 503 && a.text == "draining\n"
	})
	select {
	case err := <-done:
		t.Fatalf("shut down (%v) with a request in flight", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if a := <-got; a.text != "slow" {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Issue 15, number 15: a mount that hangs under the policy's files must keep no gateway from ending.
func TestShutdownDoesNotWaitForAReload(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan bool), make(chan bool)
	policy := parse(t, fmt.Sprintf(anyRoute, app(t, "a").URL))
	g := start(t, fmt.Sprintf(anyRoute, app(t, "a").URL), func(o *server.Options) {
		o.Load = func() (*policies.Policy, error) {
			begun <- true
			<-finish
			return policy, nil
		}
	})
	reloaded := make(chan error)
	go func() { reloaded <- g.Reload("test") }()
	<-begun
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	close(finish)
	if err := <-reloaded; err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("a reload that ends behind a shutdown: %v", err)
	}
}

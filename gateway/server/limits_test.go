package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

const perIP = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s]}}
limits: {per-ip: {algorithm: %s, requests: 100, window: 1h}}
defaults: {limits: per-ip}
routes: [{path: /*, upstream: shop}]
`

func TestTwoGatewaysAdmitExactlyTheLimit(t *testing.T) {
	for _, algorithm := range []string{"fixed_window", "sliding_window"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			policy := fmt.Sprintf(perIP, redis.URL, app(t, "a").URL, algorithm)
			gateways := []*gateway{start(t, policy), start(t, policy)}
			var admitted, denied atomic.Int32
			var wg sync.WaitGroup
			for i := range 600 {
				wg.Go(func() {
					switch a := gateways[i%2].do("GET", "/"); a.StatusCode {
					case 200:
						admitted.Add(1)
					case 429:
						denied.Add(1)
					default:
						t.Errorf("%d: %s", a.StatusCode, a.text)
					}
				})
			}
			wg.Wait()
			if admitted.Load() != 100 || denied.Load() != 500 {
				t.Errorf("%d admitted and %d denied, of 600 under a limit of 100", admitted.Load(), denied.Load())
			}
			if n := redis.AssertEveryKeyExpires(t); n == 0 {
				t.Error("nothing is kept in Redis")
			}
		})
	}
}

func TestThe101stRequestOfOneAddressIsDeniedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(perIP, "", app(t, "a").URL, "sliding_window"))
	for i := range 100 {
		a := g.do("GET", "/", "X-Forwarded-For", "192.0.2.1")
		if a.StatusCode != 200 {
			t.Fatalf("request %d: %d %s", i+1, a.StatusCode, a.text)
		}
		if want := fmt.Sprintf(`"per-ip";r=%d;`, 99-i); !strings.HasPrefix(a.Header.Get("RateLimit"), want) {
			t.Fatalf("request %d: RateLimit is %q, want %q", i+1, a.Header.Get("RateLimit"), want)
		}
	}
	a := g.do("GET", "/", "X-Forwarded-For", "192.0.2.1")
	if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	p := a.problem(t)
	if p.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" || fmt.Sprint(p.Violated) != "[per-ip]" {
		t.Errorf("%+v", p)
	}
	if a := g.do("GET", "/", "X-Forwarded-For", "192.0.2.2"); a.StatusCode != 200 {
		t.Errorf("another address: %d", a.StatusCode)
	}
	// HEAD has no body, and counts as GET.
	if a := g.do("HEAD", "/", "X-Forwarded-For", "192.0.2.1"); a.StatusCode != 429 || a.text != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.text)
	}
}

func TestAnAbuserCostsRedisNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, fmt.Sprintf(perIP, redis.URL, app(t, "a").URL, "fixed_window"))
	for range 101 {
		g.do("GET", "/")
	}
	before := redis.CommandCount(t, "evalsha", "eval")
	for range 200 {
		if a := g.do("GET", "/"); a.StatusCode != 429 {
			t.Fatalf("%d", a.StatusCode)
		}
	}
	if n := redis.CommandCount(t, "evalsha", "eval") - before; n >= 5 {
		t.Errorf("200 denied requests ran %d scripts", n)
	}
}

func TestLimitsSurviveRedisGoingAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, fmt.Sprintf(perIP, redis.URL, app(t, "a").URL, "fixed_window"))
	if a := g.do("GET", "/"); a.StatusCode != 200 {
		t.Fatalf("%d", a.StatusCode)
	}
	redis.Kill()
	for i := range 99 { // what Redis has admitted counts on
		if a := g.do("GET", "/"); a.StatusCode != 200 {
			t.Fatalf("request %d without Redis: %d %s", i+1, a.StatusCode, a.text)
		}
	}
	if a := g.do("GET", "/"); a.StatusCode != 429 {
		t.Errorf("locally counted: %d", a.StatusCode)
	}
	eventually(t, "readyz says that Redis is away, and is 200", func() bool {
		a := g.admin("GET", "/readyz")
		return a.StatusCode == 200 && strings.Contains(a.text, "degraded: redis")
	})
	redis.Restart()
	eventually(t, "limits are counted in Redis again", func() bool { return g.do("GET", "/").StatusCode == 200 })
}

func TestOneLimitsDenialConsumesNothingFromTheOthers(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}}
limits:
  wide: {requests: 10, window: 1h, algorithm: fixed_window}
  login: {requests: 2, window: 1h, algorithm: fixed_window, key: [ip, route]}
defaults: {limits: wide}
routes:
  - {name: login, path: /login, upstream: shop, limits: login}
  - {path: /*, upstream: shop}
`)
	for i, want := range []int{200, 200, 429, 429, 429} {
		if a := g.do("GET", "/login"); a.StatusCode != want {
			t.Fatalf("login %d: %d", i+1, a.StatusCode)
		}
	}
	if a := g.do("GET", "/"); !strings.Contains(a.Header.Get("RateLimit"), `"wide";r=7`) {
		t.Errorf("after two admitted logins and this: %q", a.Header.Get("RateLimit"))
	}
}

func TestFailedLoginsAloneCount(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") == "right" {
			w.Header().Set("Headgate-Login", "42")
		}
		fmt.Fprint(w, "the same page either way")
	})
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}}
limits: {login-attempts: {requests: 3, window: 1h, algorithm: fixed_window, key: [ip, route], count: failed}}
session: {cookie: {secure: false}}
routes: [{name: login, path: /login, methods: [POST], upstream: shop, session: login, limits: login-attempts}]
`)
	try := func(password string) int { return g.do("POST", "/login?password="+password).StatusCode }
	for range 10 {
		if s := try("right"); s != 200 {
			t.Fatalf("a right password: %d", s)
		}
	}
	for i, want := range []int{200, 200, 200, 429} {
		if s := try("wrong"); s != want {
			t.Errorf("wrong password %d: %d, want %d", i+1, s, want)
		}
	}
	if s := try("right"); s != 429 {
		t.Errorf("the right password after too many wrong ones: %d", s)
	}
}

func TestOperatorsSeeAndResetLimits(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(perIP, "", app(t, "a").URL, "fixed_window"))
	for range 101 {
		g.do("GET", "/", "X-Forwarded-For", "2001:db8::1")
	}
	if a := g.admin("GET", "/limits/per-ip?key=2001:db8::2"); a.StatusCode != 200 || !strings.Contains(a.text, `"remaining": 0`) {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	for target, want := range map[string]int{
		"/limits/nobody?key=192.0.2.1":     404,
		"/limits/per-ip":                   400,
		"/limits/per-ip?key=garbage":       400,
		"/limits/per-ip?key=1.2.3.4&key=x": 400,
	} {
		if a := g.admin("GET", target); a.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", target, a.StatusCode, want, a.text)
		}
	}
	if a := g.admin("DELETE", "/limits/per-ip?key=2001:db8::1"); a.StatusCode != 204 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := g.do("GET", "/", "X-Forwarded-For", "2001:db8::1"); a.StatusCode != 200 {
		t.Errorf("after the reset: %d", a.StatusCode)
	}
	metrics := g.admin("GET", "/metrics").text
	for _, want := range []string{
		`headgate_limit_decisions_total{limit="per-ip",outcome="admitted",source="memory"} 101`,
		`headgate_requests_total{method="GET",route="/*",status="429"} 1`,
		`headgate_limit_top_denied_keys{addr="2001:db8::",`,
		`headgate_upstream_attempts_total{result="ok",server="http://127.0.0.1:`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

func TestGatewaysInOneProcessMayShareTheirCounters(t *testing.T) {
	t.Parallel()
	shared, err := server.NewShared()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shared.Close)
	share := func(o *server.Options) { o.Shared = shared }
	policy := fmt.Sprintf(perIP, "", app(t, "a").URL, "fixed_window")
	a, b := start(t, policy, share), start(t, policy, share)
	for range 50 {
		a.do("GET", "/")
		b.do("GET", "/")
	}
	if got := b.do("GET", "/").StatusCode; got != 429 {
		t.Errorf("the 101st request over both: %d", got)
	}
}

// A script cannot read a 429 without CORS headers: to it, the network is broken.
func TestPagesCanReadTheDenialsOfAnAppThatLetsThemReadItsAnswers(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin == "https://friend.example" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
	})
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}}
limits: {two: {requests: 2, window: 1h, algorithm: fixed_window}}
routes: [{name: limited, path: /*, upstream: shop, limits: two}]
`)
	for _, origin := range []string{"https://friend.example", "https://stranger.example"} {
		if a := g.do("GET", "/", "Origin", origin); a.StatusCode != 200 {
			t.Fatalf("%d", a.StatusCode)
		}
	}
	a := g.do("GET", "/", "Origin", "https://friend.example")
	if a.StatusCode != 429 || a.Header.Get("Access-Control-Allow-Origin") != "https://friend.example" ||
		a.Header.Get("Access-Control-Allow-Credentials") != "true" || a.Header.Get("Vary") != "Origin" {
		t.Errorf("whom the app lets read: %d %v", a.StatusCode, a.Header)
	}
	for _, origin := range []string{"https://stranger.example", ""} {
		if a := g.do("GET", "/", "Origin", origin); a.StatusCode != 429 || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("origin %q: %d %v", origin, a.StatusCode, a.Header)
		}
	}
}

// TestAnonymousSessionsCountByTheirAddress: a client can get as many of them as it likes.
func TestAnonymousSessionsCountByTheirAddress(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cart":
			w.Header().Set("Headgate-Session-Merge", `{"cart":1}`)
		case "/login":
			w.Header().Set("Headgate-Login", "42")
		}
	})
	for _, redis := range []string{"", redistest.Start(t).URL} {
		g := start(t, `
redis: {url: "`+redis+`"}
upstreams: {shop: {servers: [`+shop.URL+`]}}
limits: {each: {requests: 2, window: 1h, key: [session, route]}}
session: {cookie: {secure: false}}
defaults: {upstream: shop}
routes:
  - {path: /cart, session: optional}
  - {path: /login, session: login, methods: [POST]}
  - {path: /*, session: optional, limits: each}
`)
		cookie := func(a *answer) string {
			value, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
			if value == "" {
				t.Fatalf("no session: %d %v", a.StatusCode, a.Header)
			}
			return value
		}
		passed := 0
		for range 10 {
			anonymous := cookie(g.do("GET", "/cart"))
			for range 2 {
				if g.do("GET", "/", "Cookie", anonymous).StatusCode == 200 {
					passed++
				}
			}
		}
		if passed != 2 {
			t.Errorf("Redis %q: ten anonymous sessions of one address got %d requests through a limit of 2", redis, passed)
		}
		for range 2 { // sessions with a user have counters of their own
			known := cookie(g.do("POST", "/login"))
			for i, want := range []int{200, 200, 429} {
				if a := g.do("GET", "/", "Cookie", known); a.StatusCode != want {
					t.Errorf("Redis %q: request %d of a user's session: %d, want %d", redis, i+1, a.StatusCode, want)
				}
			}
		}
	}
}

// TestLimitsOfDefaultsHoldWhereNoRouteFits: they are the front door's. A client that
// searches for paths is denied, and banned, like any other.
func TestLimitsOfDefaultsHoldWhereNoRouteFits(t *testing.T) {
	t.Parallel()
	const policy = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]}
redis: {url: "%s", key_prefix: "case%d:", timeout: 50s}
upstreams: {shop: {servers: [%s]}}
limits:
  front: {requests: 5, window: 1h, %s}
defaults: {limits: front}
routes: [{name: all, path: /known, methods: [POST], upstream: shop}]
`
	for _, redis := range []string{"", redistest.Start(t).URL} {
		for i, tc := range []struct {
			name, limit, method, target string
			status                      int
			banned                      bool
		}{
			{"404", "key: ip", "GET", "/nowhere", 404, false},
			{"405", "key: ip", "GET", "/known", 405, false},
			{"failed ones", "count: failed", "GET", "/nowhere", 404, false},
			{"by what no route has", "key: [session, route]", "GET", "/nowhere", 404, false},
			{"by route alone", "key: route", "GET", "/nowhere", 404, false},
			{"a ban", "ban: {after: 3, for: 2h}", "GET", "/nowhere", 404, true},
		} {
			g := start(t, fmt.Sprintf(policy, redis, i, app(t, "a").URL, tc.limit))
			for n := range 12 {
				want := tc.status
				if n >= 5 {
					want = 429
				}
				a := g.do(tc.method, tc.target, "X-Forwarded-For", "192.0.2.1")
				if a.StatusCode != want || n < 5 && !strings.HasPrefix(a.Header.Get("RateLimit"), fmt.Sprintf(`"front";r=%d;`, 4-n)) {
					t.Errorf("%s, Redis %q: request %d: %d, want %d; %v", tc.name, redis, n+1, a.StatusCode, want, a.Header)
				}
			}
			if a := g.do(tc.method, tc.target, "X-Forwarded-For", "192.0.2.2"); a.StatusCode != tc.status {
				t.Errorf("%s, Redis %q: another address: %d", tc.name, redis, a.StatusCode)
			}
			if a := g.do("POST", "/known", "X-Forwarded-For", "192.0.2.1"); tc.banned && (a.StatusCode != 429 || a.Header.Get("Retry-After") < "7100") {
				t.Errorf("%s, Redis %q: a route after the ban: %d %v", tc.name, redis, a.StatusCode, a.Header)
			}
			if a := g.admin("GET", "/explain?method=GET&ip=192.0.2.9&url=http%3A%2F%2Fa%2Fnowhere"); !strings.Contains(a.text, `"front"`) || !strings.Contains(a.text, `"status": 404`) {
				t.Errorf("%s: explain: %d %s", tc.name, a.StatusCode, a.text)
			}
		}
	}
}

// TestAPlanOfZeroIsRefusedWithTheReason, by the client's key or by the session's plan, which the app may change
// through another instance.
func TestAPlanOfZeroIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/login":
			w.Header().Set("Headgate-Login", "42")
			w.Header().Set("Headgate-Plan", "free")
		case "/upgrade":
			w.Header().Set("Headgate-Plan", "gold")
		}
	})
	policy := `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
redis: {url: "` + redistest.Start(t).URL + `", timeout: 10s}
upstreams: {shop: {servers: [` + shop.URL + `]}}
limits: {api: {requests: 5, window: 1h, plans: {free: 0, gold: 50}}}
session: {cookie: {secure: false}}
defaults: {upstream: shop}
routes:
  - {path: /login, session: login, methods: [POST]}
  - {path: /upgrade, session: required, methods: [POST]}
  - {path: /*, session: optional, limits: api}
`
	g, other := start(t, policy), start(t, policy)
	cookie, _, _ := strings.Cut(g.do("POST", "/login").Header.Get("Set-Cookie"), ";")
	for range 3 {
		a := g.do("GET", "/", "Cookie", cookie)
		p := a.problem(t)
		if a.StatusCode != 403 || p.Detail != `The limit "api" admits no requests on the plan "free".` || a.Header.Get("Retry-After") != "" || a.Header.Get("RateLimit") != `"api";r=0` {
			t.Errorf("%d %+v %v", a.StatusCode, p, a.Header)
		}
	}
	eventually(t, "the log says so", func() bool {
		return strings.Contains(g.log.String(), `"status":403`) && strings.Contains(g.log.String(), `"limit":"api"`)
	})
	if a := g.do("GET", "/"); a.StatusCode != 200 {
		t.Errorf("without a plan: %d", a.StatusCode)
	}
	if a := other.do("POST", "/upgrade", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	if a := g.do("GET", "/", "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("on another plan: %d %s", a.StatusCode, a.text)
	}
}

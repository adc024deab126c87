package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

// accountsApp says whose account was tried, as the query has it. The password is right. It logs
// in with a session of its own besides, and changes the gateway's.
func accountsApp(t testing.TB) *httptest.Server {
	return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if account := r.URL.Query()["account"]; len(account) > 0 {
			w.Header()["Headgate-Login-Attempt"] = account
		}
		w.Header().Set("App-Saw", r.Header.Get("Cookie")+r.Header.Get("Headgate-Login-Attempt"))
		if r.URL.Query().Get("password") != "right" {
			http.Error(w, "wrong", http.StatusUnauthorized)
			return
		}
		w.Header().Add("Set-Cookie", "app=its-own-session")
		w.Header().Add("Set-Cookie", "headgate-devices=set-by-the-app")
		if r.URL.Path != "/own" {
			w.Header().Set("Headgate-Login", "42")
			w.Header().Set("Headgate-Session-Merge", `{"welcome":true}`)
		}
		w.Header().Set("Location", "/account")
		w.WriteHeader(http.StatusSeeOther)
	})
}

// byAccount has a limit of three failed guesses at an account.
const byAccount = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s]}, blog: {servers: [%[2]s]}}
session: {cookie: {secure: false}, secrets: ["0123456789abcdef0123456789abcdef"]}
limits:
  guesses: {algorithm: fixed_window, key: account, requests: 3, window: 1h, count: failed %s}
  per-ip: {algorithm: fixed_window, key: [ip, route], requests: 20, window: 1h, count: failed}
caches: {pages: {ttl: 1m, errors: {401: 1m}}}
defaults: {upstream: shop, session: optional}
routes:
  - {path: /login, session: login, limits: [guesses, per-ip]}
  - {path: /blog/login, session: login, upstream: blog, limits: [guesses]}
  - {path: /logout, methods: [POST], session: logout}
  - {path: /own, session: off, limits: guesses}
  - {path: /elsewhere, limits: guesses}
  - {path: /cached, session: off, cache: pages}
  - {path: /*}
`

// guess tries a password for alice from an address.
func (g *gateway) guess(i int, query string, headers ...string) *answer {
	g.t.Helper()
	return g.do("POST", "/login?"+query, append(headers, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))...)
}

func (a *answer) cookie(name string) string {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

func TestGuessesAtOneAccountFromManyAddressesMeetALimit(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""))
	for i := range 3 {
		if a := g.guess(i, "account=alice&password=right"); a.StatusCode != 303 || a.cookie("session") == "" {
			t.Fatalf("a right password: %d %v", a.StatusCode, a.Header)
		}
		a := g.guess(i, "account=alice&password=wrong")
		if a.StatusCode != 401 || a.Header.Get("Cache-Control") != "private, no-store" || strings.Contains(a.Header.Get("RateLimit"), "guesses") {
			t.Fatalf("wrong password %d: %d %v", i+1, a.StatusCode, a.Header)
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "Headgate-") {
				t.Errorf("the client sees %s", name)
			}
		}
	}
	had := g.admin("GET", "/sessions?user=42").text
	right, wrong := g.guess(50, "account=alice&password=right"), g.guess(51, "account=alice&password=wrong")
	for _, a := range []*answer{right, wrong} {
		if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" || fmt.Sprint(a.problem(t).Violated) != "[guesses]" {
			t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.text)
		}
		for _, differs := range []string{"X-Request-Id", "Date"} {
			a.Header.Del(differs)
		}
	}
	if fmt.Sprint(right.Header) != fmt.Sprint(wrong.Header) || right.text != wrong.text {
		t.Errorf("the 429 tells a right password from a wrong one:\n%v\n%v", right.Header, wrong.Header)
	}
	if now := g.admin("GET", "/sessions?user=42").text; now != had {
		t.Errorf("a login took effect:\n%s\nbefore:\n%s", now, had)
	}
	if a := g.guess(52, "account=bob&password=wrong"); a.StatusCode != 401 {
		t.Errorf("another account: %d", a.StatusCode)
	}
	eventually(t, "the access log names the limit", func() bool { return strings.Count(g.log.String(), `"limit":"guesses"`) == 2 })
	if a := g.admin("DELETE", "/limits/guesses?key=alice"); a.StatusCode != 204 {
		t.Fatalf("reset: %d %s", a.StatusCode, a.text)
	}
	if a := g.guess(53, "account=alice&password=right"); a.StatusCode != 303 {
		t.Errorf("after a reset: %d", a.StatusCode)
	}
}

// A login that is denied leaves the session that the browser has as it is.
func TestADeniedLoginChangesNoSession(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""))
	session := g.guess(1, "password=right").cookie("session")
	for range 3 {
		g.guess(2, "account=alice&password=wrong")
	}
	had := g.admin("GET", "/sessions?user=42").text
	a := g.guess(3, "account=alice&password=right", "Cookie", session)
	if a.StatusCode != 429 || len(a.Header["Set-Cookie"]) != 0 || g.admin("GET", "/sessions?user=42").text != had {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

func TestGuessesCannotLockOutABrowserThatTheAccountKnows(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policy := fmt.Sprintf(byAccount, redis.URL, accountsApp(t).URL, "")
	g, other := start(t, policy), start(t, policy)

	first := g.guess(1, "account=alice&password=right")
	device, session := first.cookie("headgate-devices"), first.cookie("session")
	if device == "" || strings.Contains(device, "alice") || strings.Contains(device, "app") {
		t.Fatalf("Set-Cookie: %q", first.Header["Set-Cookie"])
	}
	for i := range 9 {
		g.guess(10+i, "account=alice&password=wrong")
	}
	if a := g.guess(2, "account=alice&password=right"); a.StatusCode != 429 || a.cookie("headgate-devices") != "" {
		t.Errorf("an unknown browser: %d %q", a.StatusCode, a.Header["Set-Cookie"])
	}
	if a := g.do("POST", "/logout", "Cookie", session+"; "+device); strings.Contains(strings.Join(a.Header["Set-Cookie"], ""), "devices") {
		t.Errorf("the logout forgets the device: %q", a.Header["Set-Cookie"])
	}
	a := other.guess(3, "account=alice&password=right", "Cookie", "x=1; "+device)
	if a.StatusCode != 303 || a.Header.Get("App-Saw") != "x=1" {
		t.Fatalf("the known browser, at another instance: %d %v", a.StatusCode, a.Header)
	}
	again := a.cookie("headgate-devices")

	// A thief of it has one counter more, whatever logins it was renewed by, and for this account alone.
	for i, want := range []int{401, 401, 401, 429, 429} {
		cookie := device
		if i%2 == 1 {
			cookie = again
		}
		if a := g.guess(100+i, "account=alice&password=wrong", "Cookie", cookie); a.StatusCode != want {
			t.Errorf("guess %d with the device's cookie: %d, want %d", i+1, a.StatusCode, want)
		}
	}
	for i := range 4 {
		g.guess(120+i, "account=bob&password=wrong")
	}
	if a := g.guess(130, "account=bob&password=right", "Cookie", device); a.StatusCode != 429 {
		t.Errorf("another account: %d", a.StatusCode)
	}
	redis.AssertEveryKeyExpires(t)
}

// Who may call himself alice at one app, or at one host, is not known as alice at another.
func TestADeviceIsKnownWhereItHasLoggedIn(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""))
	device := g.guess(1, "account=alice&password=right", "Host", "shop.test").cookie("headgate-devices")
	for range 3 {
		g.guess(2, "account=alice&password=wrong")
	}
	for target, want := range map[string]int{"shop.test /login": 303, "shop.test:81 /login": 303, "admin.test /login": 429, "shop.test /blog/login": 429} {
		host, path, _ := strings.Cut(target, " ")
		if a := g.do("POST", path+"?account=alice&password=right", "Host", host, "Cookie", device); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, a.StatusCode, want)
		}
	}
}

// However many instances are asked at once, no more answers about an account than its limit tell
// whether the password was right.
func TestParallelGuessesAtTwoGatewaysTellNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	policy := fmt.Sprintf(byAccount, redistest.Start(t).URL, accountsApp(t).URL, "")
	gateways := []*gateway{start(t, policy), start(t, policy)}
	var told atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			switch a := gateways[i%2].guess(i, "account=alice&password=wrong"); a.StatusCode {
			case 401:
				told.Add(1)
			case 429:
			default:
				t.Errorf("%d %s", a.StatusCode, a.text)
			}
		})
	}
	wg.Wait()
	if told.Load() != 3 {
		t.Errorf("%d answers tell that a password is wrong, under a limit of 3", told.Load())
	}
	for i, g := range gateways {
		if a := g.guess(99, "account=alice&password=right"); a.StatusCode != 429 {
			t.Errorf("gateway %d tells of the right password: %d", i, a.StatusCode)
		}
	}
}

// The limits that admitted the request settle a denied attempt as a failure, whatever the password
// was. Given back for right ones alone, they would tell them by what remains.
func TestADeniedAttemptIsAFailureToTheOtherLimits(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"right", "wrong"} {
		g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""))
		for range 3 {
			g.guess(1, "account=alice&password=wrong")
		}
		got := map[int]int{}
		for range 30 {
			got[g.guess(2, "account=alice&password="+password).StatusCode]++
		}
		a := g.guess(2, "account=alice&password="+password)
		if got[429] != 30 || fmt.Sprint(a.problem(t).Violated) != "[per-ip]" {
			t.Errorf("%s: %v, then %s", password, got, a.text)
		}
	}
}

func TestWhichAnswersTellOfAnAttempt(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""))
	for _, tt := range []struct {
		target string
		want   []int
	}{
		{"/own?account=own&password=wrong", []int{401, 401, 401, 429}},             // any route of the limit
		{"/own?account=own&password=right", []int{429}},                            // an app with sessions of its own
		{"/elsewhere?account=else&password=right", []int{502, 502, 502, 429, 429}}, // a login where there is none is a failure
		{"/login?account=&password=right", []int{502, 502}},
		{"/login?account=" + strings.Repeat("a", 257) + "&password=right", []int{502}},
		{"/login?account=a&account=a&password=right", []int{502}},
		{"/login?account=%E4&password=wrong", []int{401, 401, 401, 429}}, // bytes as they are
		{"/login?account=%C3%A4&password=wrong", []int{401}},
		{"/login?password=wrong", []int{401, 401, 401, 401}}, // no account, no limit
		{"/any?account=own&password=wrong", []int{401}},      // a route without the limit
		{"/any?account=&password=wrong", []int{502}},
	} {
		for i, want := range tt.want {
			a := g.do("POST", tt.target, "Headgate-Login-Attempt", "sent-by-the-client")
			if a.StatusCode != want || a.Header.Get("App-Saw") != "" || a.Header.Get("Headgate-Login-Attempt") != "" || want != 303 && a.cookie("session") != "" {
				t.Errorf("%s, request %d: %d, want %d; %v", tt.target, i+1, a.StatusCode, want, a.Header)
			}
		}
	}
	// An answer about an attempt is stored nowhere.
	for range 2 {
		if a := g.do("GET", "/cached?account=x&password=wrong"); a.StatusCode != 401 || strings.Contains(a.Header.Get("Cache-Status"), "hit") || a.Header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("%d %v", a.StatusCode, a.Header)
		}
	}
}

func TestALimitByAccountInADryRun(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ", dry_run: true"))
	for i := range 5 {
		if a := g.guess(i, "account=alice&password=wrong"); a.StatusCode != 401 {
			t.Errorf("guess %d: %d", i+1, a.StatusCode)
		}
	}
	eventually(t, "the access log says what would have been denied", func() bool { return strings.Count(g.log.String(), `"dry_run":"guesses"`) == 2 })
}

func TestALimitByAccountWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for how, want := range map[string][]int{"local": {401, 401, 401, 429}, "open": {401, 401, 401, 401}, "closed": {503, 503}} {
		redis := redistest.Start(t)
		policy := fmt.Sprintf(byAccount, redis.URL, accountsApp(t).URL, ", on_redis_error: "+how)
		g := start(t, strings.Replace(policy, "timeout: 50s", "timeout: 1s", 1))
		redis.Stop()
		for i, status := range want {
			if a := g.do("POST", "/own?account=alice&password=wrong"); a.StatusCode != status || status == 503 && a.Header.Get("Retry-After") == "" {
				t.Errorf("%s, guess %d: %d, want %d", how, i+1, a.StatusCode, status)
			}
		}
	}
}

func TestExplainSaysWhatRemainsOfAnAccountsLimit(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""))
	device := g.guess(1, "account=alice&password=right", "Host", "shop.test").cookie("headgate-devices")
	for range 3 {
		g.guess(2, "account=alice&password=wrong")
	}
	for _, tt := range []struct {
		account, cookie string
		key             string
		remaining       int64
		admits, known   bool
	}{
		{"", device, "[]", 0, false, false},
		{"alice", "", "[alice]", 0, false, true},
		{"alice", device, "[device:", 3, true, true},
		{"bob", device, "[bob]", 3, true, true},
	} {
		e, err := g.Explain(t.Context(), pipeline.Question{Method: "POST", URL: "http://shop.test/login", Account: tt.account, Header: http.Header{"Cookie": {tt.cookie}}})
		if err != nil || e.Refused != "" || len(e.Limits) != 2 {
			t.Fatalf("%+v, %v", e, err)
		}
		l := e.Limits[0]
		if l.Name != "guesses" || !strings.HasPrefix(fmt.Sprint(l.Key), tt.key) || l.Remaining != tt.remaining || l.Admits != tt.admits || (l.Unknown == "") != tt.known {
			t.Errorf("account %q: %+v", tt.account, l)
		}
		if tt.known && !tt.admits && l.RetryAfter == 0 {
			t.Errorf("%+v", l)
		}
	}
}

// A stored page must not stand in for an answer that is denied, nor the 429 for what others ask.
func TestTheCacheAnswersNoDeniedAttempt(t *testing.T) {
	t.Parallel()
	var attempts atomic.Bool
	shop := appFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		if attempts.Load() {
			w.Header().Set("Headgate-Login-Attempt", "alice")
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	var late atomic.Int64
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}}
session: {secrets: ["0123456789abcdef0123456789abcdef"]}
limits: {guesses: {algorithm: fixed_window, key: account, requests: 1, window: 1h, count: failed}}
caches: {pages: {ttl: 1m, stale_if_error: 1h, errors: {401: 1m}}}
routes: [{path: /*, upstream: shop, limits: guesses, cache: pages}]
`, func(o *server.Options) {
		o.Now = func() time.Time { return time.Unix(1_800_000_000+late.Load(), 0) }
	})
	if a := g.do("GET", "/page"); a.StatusCode != 200 {
		t.Fatalf("%d", a.StatusCode)
	}
	late.Store(120)
	attempts.Store(true)
	for i, want := range []int{401, 429, 429} {
		if a := g.do("GET", "/page"); a.StatusCode != want {
			t.Errorf("guess %d: %d, want %d: %v", i+1, a.StatusCode, want, a.Header)
		}
	}
	attempts.Store(false)
	if a := g.do("GET", "/page"); a.StatusCode != 200 {
		t.Errorf("the page: %d", a.StatusCode)
	}
}

// Over HTTP/2, and to gRPC clients, an answer is denied as over HTTP/1.1.
func TestADeniedAttemptOverHTTP2(t *testing.T) {
	t.Parallel()
	policy := strings.Replace(fmt.Sprintf(byAccount, "", accountsApp(t).URL, ""), `server: {`, `server: {protocols: [http1, http2, h2c], `, 1)
	g := start(t, policy)
	client := clientOf(t, "h2c")
	post := func(password, contentType string) *http.Response {
		r, err := http.NewRequest("POST", "http://"+g.Addr()+"/login?account=alice&password="+password, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res
	}
	for range 3 {
		if res := post("wrong", "text/plain"); res.StatusCode != 401 {
			t.Fatalf("%d", res.StatusCode)
		}
	}
	if res := post("right", "text/plain"); res.StatusCode != 429 || len(res.Header["Set-Cookie"]) != 0 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	res := post("right", "application/grpc")
	if status := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status"); res.StatusCode != 200 || status != "14" && status != "8" || len(res.Header["Set-Cookie"]) != 0 {
		t.Errorf("gRPC: %d, status %s, %v", res.StatusCode, status, res.Header)
	}
}

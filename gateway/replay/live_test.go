package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// gateway runs the real gateway, and returns its URL and a way to end it that
// returns its access log.
func gateway(t *testing.T, p *policies.Policy) (url string, end func() []byte) {
	t.Helper()
	var log bytes.Buffer
	s, err := server.New(server.Options{Policy: p, Logger: slog.New(slog.DiscardHandler), AccessLog: &log})
	if err != nil {
		t.Fatal(err)
	}
	shutdown := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(shutdown)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return "http://" + s.Addr(), func() []byte {
		shutdown()
		return log.Bytes()
	}
}

// logged is what a test needs of a line of our access log.
type logged struct {
	IP     string `json:"client_ip"`
	Client string `json:"client"`
	Route  string `json:"route"`
	Limit  string `json:"limit"`
	DryRun string `json:"dry_run"`
	Status int    `json:"status"`
}

// denials counts, by client and limit, what the log says was denied.
func denials(t *testing.T, log []byte) (byClient map[string]map[string]int64, all, dryRun int64) {
	t.Helper()
	byClient = map[string]map[string]int64{}
	for line := range bytes.Lines(log) {
		var l logged
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if l.DryRun != "" {
			dryRun++
		}
		if (l.Limit != "") != (l.Status == 429) {
			t.Fatalf("status and limit do not agree: %s", line)
		}
		if l.Limit == "" {
			continue
		}
		all++
		who := l.IP
		if a := netip.MustParseAddr(l.IP); a.Is6() {
			who = netip.PrefixFrom(a, 64).Masked().String()
		}
		if l.Client != "" {
			who = "client " + l.Client
		}
		if byClient[who] == nil {
			byClient[who] = map[string]int64{}
		}
		byClient[who][l.Limit]++
	}
	return byClient, all, dryRun
}

// replayed counts the same from a report.
func replayed(r *replay.Report) map[string]map[string]int64 {
	byClient := map[string]map[string]int64{}
	for _, c := range r.Policy.CutOff.Top {
		byClient[c.Client] = map[string]int64{}
		for _, l := range c.Limits {
			byClient[c.Client][l.Limit] = l.Denied
		}
	}
	return byClient
}

const livePolicy = shop0 + `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]}
clients: {acme: {key_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", plan: gold}}
limits:
  per-ip: {requests: 60, window: 1h, plans: {gold: 100}, key: client}
  bursts: {algorithm: token_bucket, requests: 1, window: 1h, burst: 40, key: [ip, route]}
  exact: {algorithm: sliding_log, requests: 25, window: 1h, key: [ip, method]}
  logins: {algorithm: fixed_window, requests: 5, window: 24h, key: [ip, route], count: failed}
  not-found: {algorithm: fixed_window, requests: 4, window: 24h, count: [404], ban: {after: 3, for: 1h}}
  users: {algorithm: fixed_window, requests: 7, window: 24h, key: user}
  tried: {algorithm: fixed_window, requests: 10, window: 24h, dry_run: true}
defaults: {limits: per-ip}
routes:
  - {name: login, path: /login, methods: [POST], upstream: shop, limits: logins, session: login}
  - {name: me, path: /me, upstream: shop, limits: users, session: optional}
  - {name: burst, path: /burst, upstream: shop, limits: [bursts, tried]}
  - {name: exact, path: /exact, upstream: shop, limits: exact}
  - {name: beta, path: /files/*, match: {headers: {X-Beta: "1"}}, upstream: shop, limits: bursts}
  - {name: files, path: /files/*, upstream: shop, limits: not-found}
  - {name: free, path: /free, upstream: shop, limits: off}
`

const shop0 = "upstreams: {shop: {servers: [%s]}}\n"

func TestReplayingOurOwnLogGivesTheDenialsThatHappenedLive(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/login" && r.URL.Query().Get("password") == "right":
			w.Header().Set("Headgate-Login", r.URL.Query().Get("user"))
		case r.URL.Path == "/files/gone":
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, "hello") // a failed login is 200, too: only the header tells
	}))
	defer app.Close()

	p := parse(t, fmt.Sprintf(livePolicy, app.URL))
	url, end := gateway(t, p)
	drive(t, url)
	log := end()

	want, all, dryRun := denials(t, log)
	if len(want) < 8 || all < 400 || dryRun < 50 {
		t.Fatalf("the live run is no test: %d clients, %d denials, %d of dry runs", len(want), all, dryRun)
	}
	r := run(t, replay.Options{Policy: p, Logs: []logs.Log{text("live", string(log))}, Top: 1000, Scheme: "http"})
	if diff := cmp.Diff(want, replayed(r)); diff != "" {
		t.Errorf("by client and limit, live - and replayed +:\n%s", diff)
	}
	if r.Policy.Denied != all || r.Policy.DryRunDenied != dryRun {
		t.Errorf("denied: %d live, %d replayed; of dry runs: %d live, %d replayed", all, r.Policy.Denied, dryRun, r.Policy.DryRunDenied)
	}
	if r.Live != (replay.Live{Denied: all, Both: all}) {
		t.Errorf("not the same requests: %+v", r.Live)
	}
}

// drive sends what touches every limit: each client's requests one after the
// other, the clients at the same time.
func drive(t *testing.T, url string) {
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			c := &caller{t: t, url: url, ip: fmt.Sprintf("192.0.2.%d", n+1), http: &http.Client{Transport: &http.Transport{}}}
			defer c.http.CloseIdleConnections()
			if n%4 == 1 {
				c.ip = fmt.Sprintf("2001:db8:0:%d::%d", n, rnd.IntN(1000))
			}
			if n == 3 {
				c.key = "test"
			}
			// Each has a user of its own: of requests that share a counter and come in the same
			// millisecond nobody can tell from the log which was first.
			right := fmt.Sprintf("/login?password=right&user=u%d", n)
			if n%3 == 0 {
				c.do("POST", right)
			}
			targets := []string{"/login?password=wrong", right, "/me", "/burst", "/exact", "/files/x", "/files/gone", "/free", "/nowhere"}
			mine := targets[n%5 : n%5+4] // so that not all run into the one limit first
			for range 150 {
				target := mine[rnd.IntN(len(mine))]
				method := "GET"
				if target[:3] == "/lo" {
					method = "POST"
				}
				c.do(method, target, "X-Beta", fmt.Sprint(rnd.IntN(2)))
			}
		})
	}
	wg.Wait()
}

// caller is one client of the gateway, with a cookie jar for one cookie.
type caller struct {
	t            *testing.T
	http         *http.Client
	url, ip, key string
	session      *http.Cookie
}

func (c *caller) do(method, target string, headers ...string) {
	r, err := http.NewRequest(method, c.url+target, nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	r.Header.Set("X-Forwarded-For", c.ip)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if c.key != "" {
		r.Header.Set("X-API-Key", c.key)
	}
	if c.session != nil {
		r.AddCookie(c.session)
	}
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	for _, cookie := range res.Cookies() {
		c.session = cookie
	}
}

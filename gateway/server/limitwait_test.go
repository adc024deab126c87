package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// login of README, and an app whose passwords take a moment.
const honestLogins = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
redis: {url: "%s", timeout: 10s}
upstreams: {shop: {servers: [%s]}}
limits: {login-attempts: {algorithm: %s, key: [ip, route], requests: 5, window: 1m, count: failed}}
session: {cookie: {secure: false}}
routes: [{name: login, path: /login, methods: [POST], upstream: shop, limits: login-attempts, session: login}]
`

// passwords is an app's login. reached counts what came through to it.
func passwords(t *testing.T) (shop *httptest.Server, reached *atomic.Int64) {
	reached = new(atomic.Int64)
	return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		time.Sleep(20 * time.Millisecond) // for a hash of the password
		if r.FormValue("password") != "right" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Headgate-Login", "42")
	}), reached
}

// TestHonestLoginsAtOnceAllGetIn: thirty right passwords from one address under a limit of
// five failures, in memory and over two instances. Of sixty guesses five reach the app.
func TestHonestLoginsAtOnceAllGetIn(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"fixed_window", "sliding_window", "token_bucket"} {
		for _, instances := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%d", algorithm, instances), func(t *testing.T) {
				t.Parallel()
				shop, reached := passwords(t)
				url := ""
				if instances > 1 {
					url = redistest.Start(t).URL
				}
				var gateways []*gateway
				for range instances {
					gateways = append(gateways, start(t, fmt.Sprintf(honestLogins, url, shop.URL, algorithm)))
				}
				try := func(n int, password string) (statuses map[int]int) {
					statuses = map[int]int{}
					var mu sync.Mutex
					var all sync.WaitGroup
					for i := range n {
						all.Go(func() {
							a := gateways[i%instances].send("POST", "/login", strings.NewReader("password="+password), "Content-Type", "application/x-www-form-urlencoded")
							mu.Lock()
							defer mu.Unlock()
							statuses[a.StatusCode]++
						})
					}
					all.Wait()
					return statuses
				}
				if got := try(30, "right"); got[200] != 30 {
					t.Errorf("thirty right passwords: %v", got)
				}
				reached.Store(0)
				if got := try(60, "guess"); got[401] != 5 || got[429] != 55 || reached.Load() != 5 {
					t.Errorf("sixty guesses: %v, %d reached the app", got, reached.Load())
				}
			})
		}
	}
}

// TestOperatorsSeeWhoWaitsForOtherAnswers, in the metrics, in explain and in the access log; and a wait ends when
// its client disconnects, whose password is in the connection's buffer yet, or the instance shuts down.
func TestOperatorsSeeWhoWaitsForOtherAnswers(t *testing.T) {
	t.Parallel()
	arrived, letGo := make(chan bool, 10), make(chan struct{})
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- true
		<-letGo
		w.Header().Set("Headgate-Login", "42")
	})
	g := start(t, strings.Replace(fmt.Sprintf(honestLogins, "", shop.URL, "sliding_window"), "requests: 5", "requests: 1", 1))
	waiting := func(n int) {
		t.Helper()
		eventually(t, "so many wait", func() bool { return g.metric("headgate_limit_waiting_requests") == float64(n) })
	}
	ended := func(how string) bool {
		return strings.Contains(g.admin("GET", "/metrics").text, `headgate_limit_waits_total{limit="login-attempts",outcome="`+how+`"} 1`+"\n")
	}
	post := func() chan *answer {
		answered := make(chan *answer, 1)
		go func() { answered <- g.send("POST", "/login", strings.NewReader("password=right")) }()
		return answered
	}
	first := post()
	<-arrived
	if a := g.admin("GET", "/explain?method=POST&ip=127.0.0.1&url=http%3A%2F%2Fa%2Flogin"); !strings.Contains(a.text, `"waits": true`) ||
		!strings.Contains(a.text, `"refused": "limit login-attempts denies, unless the answers to others admit it within 5s"`) {
		t.Errorf("explain: %s", a.text)
	}

	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\npassword=right")
	waiting(1)
	c.Close()
	eventually(t, "it has left the line", func() bool { return ended("left") })
	waiting(0)
	eventually(t, "the access log says so", func() bool {
		return strings.Contains(g.log.String(), `"status":499`) && strings.Contains(g.log.String(), `"limit":"login-attempts","limit_wait_ms":`)
	})

	second := post()
	waiting(1)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done <- g.Shutdown(ctx)
	}()
	if a := <-second; a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("at the shutdown: %d, Retry-After %q", a.StatusCode, a.Header.Get("Retry-After"))
	}
	close(letGo)
	if a := <-first; a.StatusCode != 200 {
		t.Errorf("what was under way: %d", a.StatusCode)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

package server_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

// withLog has a gateway log into a buffer.
func withLog(log *lockedBuffer) func(*server.Options) {
	return func(o *server.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) }
}

// A Redis that takes this gateway's connections no longer says nothing about sessions: no user is logged out.
func TestARedisThatRefusesConnectionsLogsNobodyOut(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args   []string
		url    func(t *testing.T, s *redistest.Server) string
		breaks func(do func(args ...any))
		mends  func(do func(args ...any))
	}{
		"another password": {
			args: []string{"--requirepass", "old"},
			breaks: func(do func(args ...any)) {
				do("config", "set", "requirepass", "new")
				do("client", "kill", "type", "normal")
			},
			mends: func(do func(args ...any)) { do("config", "set", "requirepass", "old") },
		},
		"a user who is off": {
			url: func(t *testing.T, s *redistest.Server) string {
				redistest.OneConnection(t, s.Client)("acl", "setuser", "gate", "on", ">pw", "~*", "&*", "+@all")
				return redistest.AsUser(t, s.URL, "gate", "pw")
			},
			breaks: func(do func(args ...any)) {
				do("acl", "setuser", "gate", "off")
				do("client", "kill", "user", "gate")
			},
			mends: func(do func(args ...any)) { do("acl", "setuser", "gate", "on") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t, tc.args...)
			do := redistest.OneConnection(t, redis.Client)
			url := redis.URL
			if tc.url != nil {
				url = tc.url(t, redis)
			}
			shop, _ := chaosApp(t)
			log := new(lockedBuffer)
			g := start(t, strings.Replace(fmt.Sprintf(chaotic, url, shop), "timeout: 50s", "timeout: 10s", 1), withLog(log))
			g.well()
			cookie := g.login("42")
			tc.breaks(do)
			for range 30 {
				g.loggedOutNobody(cookie)
			}
			eventually(t, "it is known", func() bool { return g.metric("headgate_redis_available") == 0 })
			if text := g.admin("GET", "/readyz").text; !strings.Contains(text, "degraded: redis") {
				t.Errorf("/readyz: %q", text)
			}
			for range 30 {
				g.loggedOutNobody(cookie)
			}
			for _, line := range []string{`msg="redis is unavailable" for="limits, sessions"`, `msg="redis is unavailable" for=cache`, `msg="rate limits cannot be checked in Redis"`, `msg="cache: the purge log cannot be followed`} {
				if n := strings.Count(log.String(), line); n > 1 {
					t.Errorf("%d times %s in\n%s", n, line, log)
				}
			}
			eventually(t, "the log says what is wrong", func() bool { return strings.Contains(log.String(), "WRONGPASS") })
			tc.mends(do)
			g.well()
			if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 200 {
				t.Errorf("afterwards: %d", a.StatusCode)
			}
		})
	}
}

// loggedOutNobody asks as someone who is logged in, while Redis does not say so.
func (g *gateway) loggedOutNobody(cookie string) {
	g.t.Helper()
	for _, accept := range []string{"text/html", "application/json"} {
		a := g.do("GET", "/private/x", "Cookie", cookie, "Accept", accept)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || a.Header.Get("Set-Cookie") != "" {
			g.t.Fatalf("a required route: %d %v", a.StatusCode, a.Header)
		}
	}
	if a := g.do("GET", "/x", "Cookie", cookie); a.StatusCode != 200 || a.Header.Get("Set-Cookie") != "" {
		g.t.Fatalf("an optional route: %d %v", a.StatusCode, a.Header)
	}
	if a := g.do("POST", "/login?user=1"); a.StatusCode != 503 || a.Header.Get("Set-Cookie") != "" {
		g.t.Fatalf("a login: %d %v", a.StatusCode, a.Header)
	}
}

// What is wrong from the start is an outage as well.
func TestARedisThatNeverTookAConnectionIsAnOutage(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--requirepass", "right")
	for name, url := range map[string]string{
		"a wrong password":             redistest.AsUser(t, redis.URL, "", "wrong"),
		"no password":                  "redis://" + redis.Addr,
		"a database that is not there": redis.URL + "/99",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop, _ := chaosApp(t)
			g := start(t, strings.Replace(fmt.Sprintf(chaotic, url, shop), "timeout: 50s", "timeout: 10s", 1))
			cookie := "session=" + strings.Repeat("A", 67)
			for range 10 {
				if a := g.do("POST", "/login?user=1"); a.StatusCode != 503 {
					t.Fatalf("a login: %d %v", a.StatusCode, a.Header)
				}
				if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 503 {
					t.Fatalf("a required route: %d %v", a.StatusCode, a.Header)
				}
			}
			if g.metric("headgate_redis_available") != 0 || !strings.Contains(g.admin("GET", "/readyz").text, "degraded: redis") {
				t.Error("no word on it")
			}
		})
	}
}

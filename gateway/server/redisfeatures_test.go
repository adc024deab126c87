package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// features has limits, sessions and a cache, with what the block redis says besides the URL.
func features(t *testing.T, redis, more string) string {
	shop, _ := chaosApp(t)
	policy := strings.Replace(fmt.Sprintf(chaotic, redis, shop), "timeout: 50s", "timeout: 5s", 1)
	return strings.Replace(policy, "timeout: 5s}", "timeout: 5s, "+more+"}", 1)
}

// A Redis of its own for sessions holds them, and nothing else; so does one for the cache.
func TestEachFeatureCanHaveARedisOfItsOwn(t *testing.T) {
	t.Parallel()
	limits, sessions, cache := redistest.Start(t), redistest.Start(t), redistest.Start(t)
	g := start(t, features(t, limits.URL, fmt.Sprintf("sessions: {url: %q}, cache: {url: %q}", sessions.URL, cache.URL)))
	g.well()
	cookie := g.login("42")
	g.cached("/top/1")
	if a := g.do("GET", "/mine/x", "Cookie", cookie); a.StatusCode != 200 {
		t.Fatalf("a session and a limit by user: %d", a.StatusCode)
	}
	for name, tc := range map[string]struct {
		redis *redistest.Server
		has   string
	}{"limits": {limits, "headgate:limit:"}, "sessions": {sessions, "headgate:session"}, "cache": {cache, "headgate:cache:"}} {
		keys := tc.redis.Client.Keys(t.Context(), "headgate:*").Val()
		if len(keys) == 0 {
			t.Errorf("%s: no keys", name)
		}
		for _, k := range keys {
			if !strings.HasPrefix(k, tc.has) && k != "headgate:probe" && (name != "limits" || !strings.HasPrefix(k, "headgate:{blocks}:")) {
				t.Errorf("%s: %s", name, k)
			}
		}
	}

	limits.Kill()
	eventually(t, "it is known", func() bool { return g.metric("headgate_redis_available") == 0 })
	if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("sessions while the limits' Redis is away: %d", a.StatusCode)
	}
	if text := g.cached("/top/2"); text == "" {
		t.Error("nothing is cached while the limits' Redis is away")
	}
	limits.Restart()
	g.well()
	sessions.Kill()
	eventually(t, "it is known", func() bool {
		return g.do("GET", "/private/x", "Cookie", cookie).StatusCode == 503 && g.metric("headgate_redis_available") == 0
	})
	if a := g.do("GET", "/strict/x"); a.StatusCode != 200 {
		t.Errorf("a limit that is closed without Redis: %d", a.StatusCode)
	}
	if text := g.admin("GET", "/readyz").text; !strings.Contains(text, "degraded: redis") {
		t.Errorf("/readyz: %q", text)
	}
}

// With one URL for all, the cache has connections of its own: what it waits for delays no session.
func TestTheCacheHasConnectionsOfItsOwn(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	proxy := redistest.StartProxy(t, redis.Addr)
	g := start(t, features(t, redis.URL, fmt.Sprintf("cache: {url: %q}", proxy.URL)))
	g.well()
	cookie := g.login("42")
	g.cached("/top/1")
	proxy.Cut()
	for range 20 {
		if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 200 {
			t.Fatalf("a session: %d", a.StatusCode)
		}
		if a := g.do("GET", "/top/1"); a.StatusCode != 200 {
			t.Fatalf("a cached route: %d", a.StatusCode)
		}
	}
}

// Session and limits still share a round trip by default.
func TestSessionAndLimitsShareOneRoundTrip(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, features(t, redis.URL, "cache: {}"))
	g.well()
	cookie := g.login("42")
	g.do("GET", "/private/x", "Cookie", cookie) // touches the new session
	// The cache's heartbeats are counted as well: one quiet request of several is enough.
	eventually(t, "a request with a session and a limit costs one round trip", func() bool {
		before := g.metric("headgate_redis_pipelines_total")
		g.do("GET", "/private/x", "Cookie", cookie)
		return g.metric("headgate_redis_pipelines_total")-before == 1
	})
}

// Another password in url_file is taken up by the connections, and refuses no reload.
func TestAReloadWithAnotherURLInAFileIsNotRefused(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "url")
	put(t, file, redis.URL)
	shop, _ := chaosApp(t)
	text := func(requests int) string {
		policy := strings.Replace(fmt.Sprintf(chaotic, "x", shop), `url: "x"`, fmt.Sprintf("url_file: %q", file), 1)
		return strings.Replace(policy, "requests: 80", fmt.Sprint("requests: ", requests), 1)
	}
	var policy atomic.Value
	policy.Store(text(80))
	g := reloadable(t, &policy)
	g.well()
	put(t, file, redis.URL+"?client_name=gate")
	policy.Store(text(81))
	if err := g.Reload("test"); err != nil {
		t.Error(err)
	}
	policy.Store(strings.Replace(text(82), "url_file:", "sessions: {url: \"redis://127.0.0.1:1\"}, url_file:", 1))
	if err := g.Reload("test"); err == nil || !strings.Contains(err.Error(), "redis cannot change") {
		t.Errorf("sessions that move to another Redis: %v", err)
	}
}

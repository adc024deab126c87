package server_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// feature is the metric of one feature.
func (g *gateway) feature(name string) float64 {
	g.t.Helper()
	return g.metric(`headgate_redis_feature_available{feature="` + name + `"}`)
}

func TestAFullRedisIsSaidOfEachFeature(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
	do := redistest.OneConnection(t, redis.Client)
	log := new(lockedBuffer)
	g := start(t, features(t, redis.URL, "cache: {}"), withLog(log))
	g.well()
	cookie := g.login("42")
	g.cached("/top/1")
	eventually(t, "all is well", func() bool {
		return strings.Contains(g.admin("GET", "/readyz?verbose").text, "ok\nlimits: ok\nsessions: ok\ncache: ok\n")
	})

	do("config", "set", "maxmemory", "1")
	if a := g.do("POST", "/login?user=43"); a.StatusCode != 503 {
		t.Fatalf("a login: %d", a.StatusCode)
	}
	const when = ` since 2\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ: OOM `
	eventually(t, "it is said of each feature", func() bool {
		text := g.admin("GET", "/readyz?verbose").text
		for _, line := range []string{"degraded: redis", "limits: counted by this instance alone" + when, "sessions: no new logins" + when, "cache: nothing new is stored" + when} {
			if !regexp.MustCompile("(?m)^" + line).MatchString(text) {
				return false
			}
		}
		return true
	})
	if text := g.admin("GET", "/readyz").text; text != "ok\ndegraded: redis\n" {
		t.Errorf("/readyz: %q", text)
	}
	for _, name := range []string{"limits", "sessions", "cache"} {
		if g.feature(name) != 0 {
			t.Errorf("%s is available", name)
		}
	}
	if g.metric("headgate_redis_available") != 1 {
		t.Error("a full Redis answers")
	}
	if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("who is logged in: %d", a.StatusCode)
	}

	do("config", "set", "maxmemory", "64mb")
	eventually(t, "it is over", func() bool {
		return g.feature("limits")+g.feature("sessions")+g.feature("cache") == 3 && g.admin("GET", "/readyz").text == "ok\n"
	})
	g.login("43")
	for _, line := range []string{"redis refuses writes", "redis takes writes again"} {
		if n := strings.Count(log.String(), line); n != 2 { // one by each connection
			t.Errorf("%d times %q in\n%s", n, line, log)
		}
	}
}

// Without a request, too: Redis is asked.
func TestAFullRedisIsNoticedWithoutTraffic(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
	g := start(t, features(t, redis.URL, "cache: {}"))
	eventually(t, "it is said", func() bool { return g.feature("sessions") == 0 })
}

func TestARedisThatCouldEvictSessionsIsWarnedOf(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
	log := new(lockedBuffer)
	g := start(t, features(t, redis.URL, "cache: {}"), withLog(log))
	warned := func(policy string) bool {
		return strings.Contains(log.String(), "maxmemory-policy "+policy) &&
			strings.Contains(g.admin("GET", "/readyz?verbose").text, "warning: Redis has maxmemory-policy "+policy)
	}
	eventually(t, "it is warned of", func() bool { return warned("volatile-lru") })
	do := redistest.OneConnection(t, redis.Client)
	do("config", "set", "maxmemory-policy", "noeviction")
	eventually(t, "the warning has ended", func() bool { return !strings.Contains(g.admin("GET", "/readyz?verbose").text, "warning:") })
	do("config", "set", "maxmemory-policy", "allkeys-lru")
	eventually(t, "it is warned of again", func() bool { return warned("allkeys-lru") })
}

// A user who may not do what one feature needs is an outage of that feature, and logs no user out.
func TestAnACLThatIsTooNarrowIsSaidOfItsFeature(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	do := redistest.OneConnection(t, redis.Client)
	do("acl", "setuser", "gate", "on", ">pw", "~*", "&*", "+@all")
	log := new(lockedBuffer)
	g := start(t, features(t, redistest.AsUser(t, redis.URL, "gate", "pw"), "cache: {}"), withLog(log))
	g.well()
	cookie := g.login("42")
	do("acl", "setuser", "gate", "resetkeys", "~headgate:limit*", "~headgate:cache*", "~headgate:probe")
	for range 5 {
		if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
			t.Fatalf("a required route: %d %v", a.StatusCode, a.Header)
		}
	}
	if text := g.admin("GET", "/readyz?verbose").text; !strings.Contains(text, "degraded: redis\nlimits: ok\nsessions: none can be read or begun since ") || !strings.Contains(text, "NOPERM") {
		t.Errorf("/readyz: %s", text)
	}
	if g.feature("sessions") != 0 || g.feature("limits") != 1 {
		t.Error("the metric says something else")
	}
	if n := strings.Count(log.String(), "NOPERM"); n != 1 {
		t.Errorf("%d lines on it:\n%s", n, log)
	}
	do("acl", "setuser", "gate", "~*")
	if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

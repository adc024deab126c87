package server_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/internal/redistest"
)

const guessing = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.0/8]}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s]}}
limits:
  tokens: {key: "header:X-Token", requests: 1, window: 1h}
  logins: {key: [ip, route], requests: 2, window: 1h, ban: {after: 3, for: 1h}}
routes: [{name: login, path: /login, upstream: shop, limits: logins}, {name: api, path: /*, upstream: shop, limits: tokens}]
`

// denied is the list of who is denied.
func (g *gateway) denied() (list admin.DeniedLimits) {
	g.t.Helper()
	if a := g.admin("GET", "/limits"); a.StatusCode != 200 || json.Unmarshal([]byte(a.text), &list) != nil {
		g.t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	return list
}

func TestWhoIsDeniedIsListedOverAllGatewaysAndReset(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policy := fmt.Sprintf(guessing, redis.URL, app(t, "shop").URL)
	a, b := start(t, policy), start(t, policy)
	if list := b.denied(); len(list.Limits) != 0 || list.Note != "" {
		t.Errorf("%+v", list)
	}
	guess := func(g *gateway) int { return g.do("POST", "/login", "X-Forwarded-For", "192.0.2.7").StatusCode }
	call := func(g *gateway) int { return g.do("GET", "/", "X-Token", "sk-secret-value-of-a-token").StatusCode }
	for range 8 {
		guess(a)
	}
	for range 4 {
		call(a)
	}
	var list admin.DeniedLimits
	eventually(t, "the other gateway lists both", func() bool {
		list = b.denied()
		return len(list.Limits) == 2 && len(list.Limits[0].Keys) == 1 && list.Limits[0].Keys[0].Denials == 6 && list.Limits[0].Keys[0].Banned && list.Limits[1].Keys[0].Denials == 3
	})
	logins, tokens := list.Limits[0], list.Limits[1]
	if logins.Limit != "logins" || fmt.Sprint(logins.KeyedBy, logins.Keys[0].Key) != "[ip route] [192.0.2.7 login]" || logins.Keys[0].RetryAfter < 3000 || list.Bans != 1 {
		t.Errorf("%+v", logins)
	}
	key := tokens.Keys[0].Key[0]
	if tokens.Limit != "tokens" || !strings.HasPrefix(key, "sk-s~") || strings.Contains(key, "secret") || tokens.Keys[0].Banned {
		t.Errorf("%+v", tokens)
	}
	for _, path := range []string{"/limits/logins?key=192.0.2.7&key=login", "/limits/tokens?key=" + url.QueryEscape(key)} {
		if answer := b.admin("DELETE", path); answer.StatusCode != 204 {
			t.Errorf("%s: %d %s", path, answer.StatusCode, answer.text)
		}
	}
	// What the first gateway remembers of its denials goes as well.
	eventually(t, "the banned client is let in", func() bool { return guess(a) == 200 })
	eventually(t, "and the other one", func() bool { return call(a) == 200 })
	eventually(t, "nobody is listed any more", func() bool { return len(b.denied().Limits) == 0 })
}

func TestWithoutRedisTheListSaysSo(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(guessing, "", app(t, "shop").URL))
	for range 2 {
		g.do("GET", "/", "X-Token", "sk-secret-value-of-a-token")
	}
	if list := g.denied(); len(list.Limits) != 1 || !strings.Contains(list.Note, "no Redis") {
		t.Errorf("%+v", list)
	}
}

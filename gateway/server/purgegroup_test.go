package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// Cache-Groups belong to an origin (RFC 9875): scheme, host and port.
func TestACacheGroupIsPurgedByItsOrigin(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Groups", `"g1", "a, b"`) })
	redis := redistest.Start(t)
	policy := fmt.Sprintf(withCache, redis.URL, shop.URL)
	one, other := start(t, policy), start(t, policy)
	warm(one, other)
	hit := func(g *gateway, host string) bool {
		return strings.Contains(g.do("GET", "/top/x", "Host", host).Header.Get("Cache-Status"), "; hit")
	}
	purge := func(body map[string]any) int {
		text, _ := json.Marshal(body)
		a := one.adminSend("POST", "/purge", strings.NewReader(string(text)), "Authorization", "Bearer operator")
		return a.StatusCode
	}
	for _, tt := range []struct {
		host, group, origin string
		status              int
		gone                bool
	}{
		{"shop.example", "g1", "http://shop.example", 204, true},
		{"shop.example", "a, b", "http://shop.example", 204, true},
		{"shop.example", "g1", "HTTP://Shop.Example.:80/", 204, true},
		{"shop.example:8080", "g1", "http://shop.example:8080", 204, true},
		{"[2001:db8::1]", "g1", "http://[2001:DB8:0::1]", 204, true},
		{"shop.example", "g2", "http://shop.example", 204, false},
		{"shop.example", "g1", "https://shop.example", 204, false},
		{"shop.example", "g1", "http://shop.example:8080", 204, false},
		{"shop.example", "g1", "http://www.shop.example", 204, false},
		{"shop.example", "g1", "shop.example", 400, false},
		{"shop.example", "g1", "http://shop.example/path", 400, false},
		{"shop.example", "g1", "http://shop.example?q", 400, false},
		{"shop.example", "g1", "ftp://shop.example", 400, false},
		{"shop.example", "g1", "", 400, false},
		{"shop.example", "", "http://shop.example", 400, false},
		{"shop.example", "g\n", "http://shop.example", 400, false},
	} {
		for _, g := range []*gateway{one, other} {
			eventually(t, "it is cached", func() bool { return hit(g, tt.host) })
		}
		if status := purge(map[string]any{"group": tt.group, "origin": tt.origin}); status != tt.status {
			t.Errorf("%q of %q: %d", tt.group, tt.origin, status)
		}
		if gone := !hit(other, tt.host); gone != tt.gone {
			t.Errorf("%q of %q: of %s gone %t", tt.group, tt.origin, tt.host, gone)
		}
	}
	if status := purge(map[string]any{"group": "g1", "origin": "http://shop.example", "all": true}); status != 400 {
		t.Errorf("two purges at once: %d", status)
	}
	eventually(t, "it is cached", func() bool { return hit(one, "shop.example") })
	if purge(map[string]any{"tag": "g1"}); !hit(one, "shop.example") {
		t.Error("a tag has purged a group, which another origin may have named")
	}
	if purge(map[string]any{"group": "g1", "origin": "http://shop.example", "soft": true}); hit(one, "shop.example") {
		t.Error("a soft purge of a group leaves it fresh")
	}
}

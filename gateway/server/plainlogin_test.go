package server_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
)

// Number 17 of issue 14: a browser drops the Secure cookie of such a login, and shows the login form again.
func TestALoginThatDoesNotLastOverPlainHTTPIsLogged(t *testing.T) {
	t.Parallel()
	const cookie, believed = "session: {cookie: {secure: false}}\n", "trusted_proxies: [127.0.0.0/8]"
	for name, test := range map[string]struct {
		server, more, host string
		headers            []string
		logged             bool
	}{
		"a name":                       {"", "", "shop.example", nil, true},
		"an address":                   {"", "", "192.0.2.1:8080", nil, true},
		"localhost":                    {"", "", "localhost:8080", nil, false},
		"a name below localhost":       {"", "", "shop.localhost", nil, false},
		"a loopback address":           {"", "", "127.0.0.1:8080", nil, false},
		"an IPv6 loopback address":     {"", "", "[::1]:8080", nil, false},
		"TLS ended by a proxy":         {believed, "", "shop.example", []string{"X-Forwarded-Proto", "https"}, false},
		"a proxy without TLS":          {believed, "", "shop.example", nil, true},
		"TLS ended by what says so":    {"public_scheme: https", "", "shop.example", nil, false},
		"a cookie for plain HTTP, too": {"", cookie, "shop.example", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(lockedBuffer)
			settings := `{listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, ` + test.server + "}\n"
			policy := "server: " + settings + test.more + fmt.Sprintf("upstreams: {shop: {servers: [%s]}}\nroutes: [{path: /*, session: login, upstream: shop}]\n", shopApp(t).URL)
			g := start(t, policy, func(o *server.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
			const line = "a user has logged in over plain HTTP"
			for range 3 {
				if a := g.do("GET", "/x", "Host", test.host); a.StatusCode != 200 || strings.Contains(log.String(), line) {
					t.Fatalf("no login: %d\n%s", a.StatusCode, log)
				}
			}
			if a := g.do("POST", "/login?user=42", append(test.headers, "Host", test.host)...); a.StatusCode != 200 || len(a.Cookies()) != 1 {
				t.Fatalf("%d %v", a.StatusCode, a.Header)
			}
			if logged := strings.Contains(log.String(), line); logged != test.logged {
				t.Errorf("logged is %v:\n%s", logged, log)
			}
		})
	}
}

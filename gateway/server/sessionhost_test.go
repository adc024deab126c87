package server_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

const twoHosts = `
redis: {url: "%s", timeout: 50s}
upstreams: {blog: {servers: [%s]}, admin: {servers: [%s]}}
session: {cookie: {secure: false}}
routes:
  - {path: /login, methods: [POST], host: blog.test, upstream: blog, session: login}
  - {path: /login, methods: [POST], host: admin.test, upstream: admin, session: login}
  - {path: /private/*, host: blog.test, upstream: blog, session: required}
  - {path: /private/*, host: admin.test, upstream: admin, session: required}
  - {path: /*, host: blog.test, upstream: blog, session: optional}
  - {path: /*, host: admin.test, upstream: admin, session: optional}
`

// Number 11 of issue 14: who may register as 1 at blog.test is not user 1 at admin.test, whatever client
// carries the cookie there, by HTTP or for a WebSocket. explain says the same.
func TestASessionOfOneHostIsNoneAtAnother(t *testing.T) {
	t.Parallel()
	for _, redis := range []string{"", redistest.Start(t).URL} {
		shop := shopApp(t).URL
		g := start(t, fmt.Sprintf(twoHosts, redis, shop, shop))
		cookie := g.login("1", "Host", "blog.test")
		for _, c := range []struct {
			host    string
			status  int
			user    string
			headers []string
		}{
			{"blog.test", 200, "1", nil},
			{"blog.test:8080", 200, "1", nil},
			{"BLOG.test.", 200, "1", nil},
			{"admin.test", 401, "", nil},
			{"admin.test", 401, "", []string{"X-Forwarded-Host", "blog.test"}},
			{"admin.test", 401, "", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version", "13"}},
		} {
			headers := append([]string{"Host", c.host, "Cookie", cookie}, c.headers...)
			if a := g.do("GET", "/private/x", headers...); a.StatusCode != c.status {
				t.Errorf("%s %v: %d, want %d", c.host, c.headers, a.StatusCode, c.status)
			}
			if len(c.headers) == 0 || c.headers[0] != "Connection" {
				if a := g.do("GET", "/x", headers...); !strings.HasPrefix(a.text, "user="+c.user+" ") {
					t.Errorf("%s %v: the app sees %s, want user %q", c.host, c.headers, a.text, c.user)
				}
			}
			explained := g.admin("GET", "/explain?"+url.Values{
				"method": {"GET"}, "url": {"http://" + c.host + "/private/x"}, "header": {"Cookie: " + cookie},
			}.Encode()).text
			if refused := strings.Contains(explained, `"status": 401`) || strings.Contains(explained, `"status":401`); refused != (c.status == 401) {
				t.Errorf("explain at %s: %s", c.host, explained)
			}
		}
	}
}

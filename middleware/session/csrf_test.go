package session_test

import (
	"testing"

	"github.com/headgate/headgate/middleware/session"
)

func TestCrossOriginRequests(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{
		CSRF: session.CSRFOptions{TrustedOrigins: []string{"https://Partner.example", "https://partner.example:8443", "https://third.example:443"}},
	}})
	var user, nobody browser
	user.login(t, m, "42")

	const (
		pass   = 0
		refuse = 403
	)
	websocket := []string{"Connection", "Upgrade", "Upgrade", "websocket"}
	for _, c := range []struct {
		name    string
		by      *browser
		route   session.Route
		method  string
		headers []string
		want    int
	}{
		{"no browser", &user, optional, "POST", nil, pass},
		{"same origin", &user, optional, "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://shop.example"}, pass},
		{"typed in", &user, optional, "POST", []string{"Sec-Fetch-Site", "none"}, pass},
		{"cross site", &user, optional, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, refuse},
		{"a sibling host", &user, optional, "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.shop.example"}, refuse},
		{"cross site, PUT", &user, optional, "PUT", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"cross site, DELETE", &user, required, "DELETE", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"cross site, a method of its own", &user, optional, "PURGE", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"cross site, GET", &user, optional, "GET", []string{"Sec-Fetch-Site", "cross-site"}, pass},
		{"cross site, QUERY, which is safe", &user, optional, "QUERY", []string{"Sec-Fetch-Site", "cross-site"}, pass},
		{"logout, a cross-site QUERY", &user, logout, "QUERY", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"old browser, same origin", &user, optional, "POST", []string{"Origin", "https://shop.example"}, pass},
		{"old browser, other origin", &user, optional, "POST", []string{"Origin", "https://evil.example"}, refuse},
		{"old browser, other port", &user, optional, "POST", []string{"Origin", "https://shop.example:8443"}, refuse},
		{"a sandboxed frame", &user, optional, "POST", []string{"Origin", "null"}, refuse},
		{"trusted", &user, optional, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://partner.example"}, pass},
		{"trusted, other port", &user, optional, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://partner.example:8443"}, pass},
		{"trusted, default port", &user, optional, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://third.example"}, pass},
		{"trusted, other scheme", &user, optional, "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://partner.example"}, refuse},
		{"without a session nothing is at stake", &nobody, optional, "POST", []string{"Sec-Fetch-Site", "cross-site"}, pass},
		{"but a login is", &nobody, login, "POST", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"login, same origin", &nobody, login, "POST", []string{"Sec-Fetch-Site", "same-origin"}, pass},
		{"logout", &user, logout, "POST", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"logout, a link", &user, logout, "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, refuse},
		{"logout, a link, HEAD", &user, logout, "HEAD", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"logout, a link, no session", &nobody, logout, "GET", []string{"Sec-Fetch-Site", "cross-site"}, refuse},
		{"logout, a script's GET, old browser", &user, logout, "GET", []string{"Origin", "https://evil.example"}, refuse},
		{"logout, a trusted script's GET", &user, logout, "GET", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://partner.example"}, pass},
		{"logout, a sibling host's link", &user, logout, "GET", []string{"Sec-Fetch-Site", "same-site"}, pass},
		{"logout, a sibling host's form", &user, logout, "POST", []string{"Sec-Fetch-Site", "same-site"}, refuse},
		{"logout, a link of the site's own", &user, logout, "GET", []string{"Sec-Fetch-Site", "same-origin"}, pass},
		{"logout, typed in", &user, logout, "GET", []string{"Sec-Fetch-Site", "none"}, pass},
		{"logout, no browser", &user, logout, "GET", nil, pass},
		{"logout, the route takes links", &user, session.Route{Mode: session.Logout, NoCSRF: true}, "GET", []string{"Sec-Fetch-Site", "cross-site"}, pass},
		{"logout, a prefetch", &user, logout, "GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Purpose", "prefetch"}, refuse},
		{"logout, a prerendering", &user, logout, "GET", []string{"Sec-Purpose", "prefetch;prerender"}, refuse},
		{"logout, a prefetch, old browser", &user, logout, "GET", []string{"Purpose", "prefetch"}, refuse},
		{"logout, a prefetch, old Firefox", &user, logout, "GET", []string{"X-Moz", "prefetch"}, refuse},
		{"logout, a preview, Safari", &user, logout, "GET", []string{"X-Purpose", "preview"}, refuse},
		{"logout, a prefetch where links are taken", &user, session.Route{Mode: session.Logout, NoCSRF: true}, "GET", []string{"Sec-Purpose", "prefetch"}, refuse},
		{"logout, another purpose", &user, logout, "GET", []string{"Sec-Purpose", "navigation"}, pass},
		{"a prefetch elsewhere", &user, required, "GET", []string{"Sec-Purpose", "prefetch"}, pass},
		{"the route takes them", &user, session.Route{Mode: session.Optional, NoCSRF: true}, "POST", []string{"Sec-Fetch-Site", "cross-site"}, pass},
		{"sessions off", &user, session.Route{Mode: session.Off}, "POST", []string{"Sec-Fetch-Site", "cross-site"}, pass},
		{"WebSocket, same origin", &user, optional, "GET", append(websocket, "Origin", "https://shop.example"), pass},
		{"WebSocket, other origin", &user, optional, "GET", append(websocket, "Origin", "https://evil.example"), refuse},
		{"WebSocket, other origin, fetch metadata", &user, optional, "GET", append(websocket, "Sec-Fetch-Site", "cross-site"), refuse},
		{"WebSocket, trusted", &user, optional, "GET", append(websocket, "Origin", "https://partner.example"), pass},
		{"WebSocket, no browser", &user, optional, "GET", websocket, pass},
		{"WebSocket, no session", &nobody, optional, "GET", append(websocket, "Origin", "https://evil.example"), pass},
		{"WebSocket in capitals", &user, optional, "GET", []string{"Connection", "upgrade", "Upgrade", "h2c, WebSocket", "Origin", "https://evil.example"}, refuse},
	} {
		if d := decide(t, m, c.by, c.route, newRequest(c.method, "https://shop.example/", c.headers...)); d.Status != c.want {
			t.Errorf("%s: %d, want %d", c.name, d.Status, c.want)
		}
	}
}

func TestTheHostIsComparedAsBrowsersWriteIt(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	var user browser
	user.login(t, m, "42")
	for host, want := range map[string]int{"Shop.Example": 0, "shop.example:443": 0, "shop.example:8443": 403, "other.example": 403} {
		r := newRequest("POST", "/", "Origin", "https://shop.example")
		r.Host = host
		if d := decide(t, m, &user, login, r); d.Status != want { // at another host there is no session, but a login is at stake
			t.Errorf("%s: %d, want %d", host, d.Status, want)
		}
	}
}

func TestCSRFChecksCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{CSRF: session.CSRFOptions{Off: true}}})
	var user browser
	user.login(t, m, "42")
	if d := decide(t, m, &user, optional, newRequest("POST", "/", "Sec-Fetch-Site", "cross-site")); !d.Pass() {
		t.Errorf("refused: %d", d.Status)
	}
}

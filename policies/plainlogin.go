package policies

import (
	"slices"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
)

// plainLogin warns of logins over plain HTTP, which last for no browser: it drops the session's Secure cookie,
// unless it asked for localhost.
func (c *checker) plainLogin() {
	s := &c.p.Server
	if s.TLS != nil || len(s.TrustedProxies) > 0 || s.PublicScheme == SchemeHTTPS || c.p.Session.Cookie.Insecure {
		return
	}
	open := slices.IndexFunc(s.Listen, func(address string) bool { return isAddress(address) && !isLoopback(address) })
	login := slices.IndexFunc(c.p.Routes, func(r *Route) bool { return r.Session == session.Login })
	if open < 0 || login < 0 {
		return
	}
	c.Warnf(c.at.KeyAt(problem.Key(problem.Item("routes", login), "session")),
		"set server.tls; or, where a proxy in front ends TLS, name it in server.trusted_proxies or write server.public_scheme: https; or listen on 127.0.0.1 alone",
		"browsers drop the Secure session cookie over plain HTTP on any name but localhost: no login through %s lasts", quote(s.Listen[open]))
}

package policies

import (
	"strings"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
)

// logins warns of two upstreams that log users in under one cookie. A session is valid at the host it was made at, or
// below the cookie's domain, and there for every app: whom one app calls user 1 is user 1 to the other.
func (c *checker) logins() {
	warned := map[[2]string]bool{}
	for i, r := range c.p.Routes {
		if r.Session != session.Login || r.Upstream == "" {
			continue
		}
		for _, first := range c.p.Routes[:i] {
			pair := [2]string{first.Upstream, r.Upstream}
			if first.Session != session.Login || first.Upstream == "" || first.Upstream == r.Upstream || warned[pair] || !c.oneCookie(first, r) {
				continue
			}
			warned[pair], warned[[2]string{pair[1], pair[0]}] = true, true
			mend := "give each a host of its own, or let one of them log users in for both"
			if c.p.Session.Cookie.Domain != "" {
				mend = "give each a host of its own and remove session.cookie.domain, or let one of them log users in for both"
			}
			c.Warnf(c.at.KeyAt(problem.Item("routes", i)), mend,
				"the upstreams %s and %s log users in under one cookie: a user of one is the user of that name at the other", quote(first.Upstream), quote(r.Upstream))
			break
		}
	}
}

// oneCookie reports whether a browser sends the cookie that it got on one of the routes to the other as well.
func (c *checker) oneCookie(a, b *Route) bool {
	domain := strings.ToLower(strings.Trim(c.p.Session.Cookie.Domain, "."))
	inDomain := func(host string) bool { return domain != "" && overlap(host, domain, "*."+domain) }
	for _, x := range hostsOf(a) {
		for _, y := range hostsOf(b) {
			if overlap(x, y) || inDomain(x) && inDomain(y) {
				return true
			}
		}
	}
	return false
}

func hostsOf(r *Route) []string {
	if len(r.Host) == 0 {
		return []string{""}
	}
	return r.Host
}

// overlap reports whether some host fits a route's host and one of the others. "" is any host.
func overlap(host string, others ...string) bool {
	for _, other := range others {
		suffix, wild := strings.CutPrefix(host, "*")
		otherSuffix, otherWild := strings.CutPrefix(other, "*")
		switch {
		case host == "", other == "", host == other,
			wild && strings.HasSuffix(otherSuffix, suffix),
			otherWild && strings.HasSuffix(suffix, otherSuffix):
			return true
		}
	}
	return false
}

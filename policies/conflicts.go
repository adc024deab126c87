package policies

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// spot is a place in the matcher that routes compete for: one host, one shape of path without regard to case, one
// method ("" is any).
type spot struct{ host, shape, method string }

// claim is a route's claim to a spot.
type claim struct {
	spot
	route      int
	pattern    pattern
	ignoreCase bool
}

// conflicts finds routes that can never be reached. Where routes are equally specific the first in the file
// wins, so one is lost when in each of its spots an earlier one takes all that it would take.
func (c *checker) conflicts() {
	taken := map[spot][]claim{}
	for i, r := range c.p.Routes {
		claims := claimsOf(i, r)
		lost := 0
		var winner, example = -1, claim{}
		for _, own := range claims {
			for _, other := range taken[own.spot] {
				first := c.p.Routes[other.route]
				if other.route != i && other.covers(own) && first.Match.covers(&r.Match) && first.Match.count() >= r.Match.count() {
					lost++
					winner, example = other.route, own
					break
				}
			}
			taken[own.spot] = append(taken[own.spot], own)
			if own.method == "GET" && !slices.Contains(r.Methods, "HEAD") {
				own.method = "HEAD" // which GET includes
				taken[own.spot] = append(taken[own.spot], own)
			}
		}
		if winner < 0 {
			continue
		}
		path := problem.Item("routes", i)
		other := c.p.Routes[winner]
		where := c.at.At(problem.Item("routes", winner))
		if lost == len(claims) {
			c.Errorf(c.at.KeyAt(path), "remove it, or change its host, path, methods or match",
				"no request reaches this route, as the route %s at %s takes them all", quote(other.Name), where)
		} else {
			c.Warnf(c.at.KeyAt(path), "remove what both have from one of them",
				"requests for %s never reach this route, as the route %s at %s takes them", example, quote(other.Name), where)
		}
	}
}

func claimsOf(index int, r *Route) []claim {
	hosts, methods := r.Host, r.Methods
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(methods) == 0 {
		methods = []string{""}
	}
	var claims []claim
	for _, text := range r.Path {
		p, problem, _ := parsePattern(text, r.IgnoreCase)
		if problem != "" {
			continue
		}
		for _, host := range hosts {
			for _, method := range methods {
				own := claim{spot{host, httpx.FoldPath(p.shape()), method}, index, p, r.IgnoreCase}
				if !slices.ContainsFunc(claims, func(other claim) bool { return other.spot == own.spot && other.covers(own) }) {
					claims = append(claims, own)
				}
			}
		}
	}
	return claims
}

// covers reports whether the path of c matches all that the path of another claim to the same spot does.
func (c claim) covers(other claim) bool {
	return c.ignoreCase || !other.ignoreCase && c.pattern.shape() == other.pattern.shape()
}

// overlaps reports whether a request has a path that the paths of both claims to one spot match.
func (c claim) overlaps(other claim) bool {
	return c.ignoreCase || other.ignoreCase || c.pattern.shape() == other.pattern.shape()
}

func (c claim) String() string {
	shape := c.pattern.shape()
	if shape == "" {
		shape = "/"
	}
	return strings.TrimSpace(c.method + " " + c.host + shape)
}

// covers reports whether whatever meets other meets m as well.
func (m *Conditions) covers(other *Conditions) bool {
	if !maps.Equal(m.Headers, other.Headers) || !maps.Equal(m.Cookies, other.Cookies) || !maps.Equal(m.Query, other.Query) ||
		m.PathRegex != other.PathRegex || m.Scheme != other.Scheme {
		return false
	}
	if len(m.Plan) != 0 && (len(other.Plan) == 0 || slices.ContainsFunc(other.Plan, func(plan string) bool { return !slices.Contains(m.Plan, plan) })) {
		return false
	}
	return len(m.ClientIP) == 0 && len(other.ClientIP) == 0 ||
		len(other.ClientIP) > 0 && !slices.ContainsFunc(other.ClientIP, func(p netip.Prefix) bool { return !coveredBy(p, m.ClientIP) })
}

func coveredBy(p netip.Prefix, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

// count is how many things m asks for, as precedence counts them.
func (m *Conditions) count() int {
	return len(m.Headers) + len(m.Cookies) + len(m.Query) + min(len(m.ClientIP), 1) + min(len(m.Plan), 1) + min(len(m.PathRegex), 1) + min(len(m.Scheme), 1)
}

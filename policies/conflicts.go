package policies

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/headgate/headgate/middleware/problem"
)

// spot is a place in the matcher that routes compete for: one host, one shape of path, one method ("" is any).
type spot struct{ host, shape, method string }

// conflicts finds routes that can never be reached. Where routes are equally specific the first in the file
// wins, so one is lost when in each of its spots an earlier one takes all that it would take.
func (c *checker) conflicts() {
	taken := map[spot][]int{}
	for i, r := range c.p.Routes {
		spots := spotsOf(r)
		lost := 0
		var winner, example = -1, spot{}
		for _, s := range spots {
			for _, j := range taken[s] {
				if first := c.p.Routes[j]; j != i && first.Match.covers(&r.Match) && first.Match.count() >= r.Match.count() {
					lost++
					winner, example = j, s
					break
				}
			}
			taken[s] = append(taken[s], i)
			if s.method == "GET" && !slices.Contains(r.Methods, "HEAD") {
				s.method = "HEAD" // which GET includes
				taken[s] = append(taken[s], i)
			}
		}
		if winner < 0 {
			continue
		}
		path := problem.Item("routes", i)
		other := c.p.Routes[winner]
		where := c.at.At(problem.Item("routes", winner))
		if lost == len(spots) {
			c.Errorf(c.at.KeyAt(path), "remove it, or change its host, path, methods or match",
				"no request reaches this route, as the route %s at %s takes them all", quote(other.Name), where)
		} else {
			c.Warnf(c.at.KeyAt(path), "remove what both have from one of them",
				"requests for %s never reach this route, as the route %s at %s takes them", example, quote(other.Name), where)
		}
	}
}

func spotsOf(r *Route) []spot {
	hosts, methods := r.Host, r.Methods
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(methods) == 0 {
		methods = []string{""}
	}
	var spots []spot
	seen := map[spot]bool{}
	for _, text := range r.Path {
		p, problem, _ := parsePattern(text)
		if problem != "" {
			continue
		}
		for _, host := range hosts {
			for _, method := range methods {
				s := spot{host, p.shape(), method}
				if !seen[s] {
					seen[s] = true
					spots = append(spots, s)
				}
			}
		}
	}
	return spots
}

func (s spot) String() string {
	shape := s.shape
	if shape == "" {
		shape = "/"
	}
	return strings.TrimSpace(s.method + " " + s.host + shape)
}

// covers reports whether whatever meets other meets m as well.
func (m *Conditions) covers(other *Conditions) bool {
	if !maps.Equal(m.Headers, other.Headers) || !maps.Equal(m.Query, other.Query) {
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
	return len(m.Headers) + len(m.Query) + min(len(m.ClientIP), 1)
}

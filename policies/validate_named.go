package policies

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/problem"
)

// limits checks each limit by itself, and for plans that no client is on.
func (c *checker) limits() {
	for _, name := range names(c, "limits", c.p.Limits) {
		l, path := c.p.Limits[name], problem.Key("limits", name)
		c.problems(path, l.Validate())
		for _, plan := range sortedKeys(l.Plans) {
			if !slices.ContainsFunc(sortedKeys(c.p.Clients), func(name string) bool { return c.p.Clients[name].Plan == plan }) {
				c.Warnf(c.at.KeyAt(problem.Key(path, "plans", plan)), "give a client this plan, or remove it", "no client is on the plan %s", quote(plan))
			}
		}
	}
}

func (c *checker) caches() {
	for _, name := range names(c, "caches", c.p.Caches) {
		cache, path := c.p.Caches[name], problem.Key("caches", name)
		c.problems(path, cache.Validate())
		for i, header := range cache.KeyHeaders { // an app that sets no cookies of its own may do so, behind a gateway it is a mistake
			if strings.EqualFold(header, "Cookie") {
				c.bad(problem.Item(problem.Key(path, "key_headers"), i), "name the cookies that make no difference in ignore_cookies", "a cache keyed by Cookie would never hit")
			}
		}
	}
}

// tag reports what can't stand in a Cache-Tag or Surrogate-Key header.
func (c *checker) tag(path, tag string) {
	if wrong, ok := cache.ValidateTag(tag); !ok {
		c.problems(path, []problem.Problem{wrong})
	}
}

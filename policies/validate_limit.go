package policies

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
)

const maxWindow = time.Duration(366 * 24 * time.Hour)

func (c *checker) limits() {
	for _, name := range names(c, "limits", c.p.Limits) {
		l, path := c.p.Limits[name], problem.Key("limits", name)
		c.limitNumbers(l, path)
		c.limitKey(l, path)
		if l.Count.Statuses != nil && len(l.Count.Statuses) == 0 {
			c.bad(problem.Key(path, "count"), "list statuses like [401, 403], or write all", "no request counts")
		}
		for i, status := range l.Count.Statuses {
			c.between(problem.Item(problem.Key(path, "count"), i), status, 200, 599)
		}
		if l.Ban != nil {
			ban := problem.Key(path, "ban")
			if l.Ban.After == 0 && !c.at.Has(problem.Key(ban, "after")) {
				c.missing(ban, "after", "say how many denials begin the ban")
			} else {
				c.between(problem.Key(ban, "after"), l.Ban.After, 1, 1_000_000)
			}
			if l.Ban.For == 0 {
				c.missing(ban, "for", "say how long the ban lasts, like 10m")
				c.positive(problem.Key(ban, "for"), l.Ban.For)
			}
		}
		for i, network := range l.Allow {
			if network.IsValid() && network.Bits() == 0 {
				c.warn(problem.Item(problem.Key(path, "allow"), i), "name the networks that you trust alone", "the limit limits nobody")
			}
		}
	}
}

// limitNumbers finds limits that can never admit, or never deny.
func (c *checker) limitNumbers(l *Limit, path string) {
	const most = 1_000_000_000
	requests, window, burst, cost := problem.Key(path, "requests"), problem.Key(path, "window"), problem.Key(path, "burst"), problem.Key(path, "cost")
	if !c.at.Has(requests) {
		c.missing(path, "requests", "say how many requests a window admits")
	} else if l.Requests == 0 {
		c.bad(requests, "write 1 or more; to close a route, use respond or maintenance on it", "a limit of 0 requests can never admit")
	} else {
		c.between(requests, l.Requests, 1, most)
	}
	if !c.at.Has(window) {
		c.missing(path, "window", "say how long a window is, like 1m")
	} else if l.Window < seconds(1) || l.Window > maxWindow {
		c.bad(window, "choose one from 1s to 366d", "the window is out of bounds")
	}
	if c.at.Has(burst) {
		if l.Algorithm != TokenBucket {
			c.bad(burst, "remove it, or write algorithm: token_bucket", "burst means nothing to %s", l.Algorithm)
		} else {
			c.between(burst, l.Burst, 1, most)
		}
	}
	if !c.between(cost, l.Cost, 1, most) {
		return
	}
	size, of := l.Requests, "requests"
	if l.Algorithm == TokenBucket {
		size, of = l.Burst, "burst"
	}
	if size > 0 && l.Cost > size {
		c.bad(cost, "make cost at most "+of, "a limit with cost %d and %s %d can never admit", l.Cost, of, size)
	}
	for _, plan := range sortedKeys(l.Plans) {
		at := problem.Key(path, "plans", plan)
		if n := l.Plans[plan]; c.between(at, n, 1, most) && l.Algorithm != TokenBucket && l.Cost > n {
			c.bad(at, "make it at least cost", "with cost %d, %d requests can never admit", l.Cost, n)
		}
		if !slices.ContainsFunc(sortedKeys(c.p.Clients), func(name string) bool { return c.p.Clients[name].Plan == plan }) {
			c.Warnf(c.at.KeyAt(at), "give a client this plan, or remove it", "no client is on the plan %s", quote(plan))
		}
	}
	if l.Algorithm == SlidingLog && l.Requests > 100_000 {
		c.warn(requests, "use sliding_window, which keeps two numbers", "sliding_log remembers each of these requests for each key")
	}
}

// limitKey checks what a limit counts by.
func (c *checker) limitKey(l *Limit, path string) {
	path = problem.Key(path, "key")
	kinds := []string{"ip", "client", "user", "session", "route", "host", "method", "header:NAME", "cookie:NAME"}
	if len(l.Key) == 0 {
		c.bad(path, "write key: ip", "the limit counts by nothing")
	}
	chosen, known := false, false
	for i, key := range l.Key {
		at := problem.Item(path, i)
		if slices.Contains(l.Key[:i], key) {
			c.bad(at, "remove one", "%s stands twice", quote(key))
			continue
		}
		kind, name, hasName := strings.Cut(key, ":")
		switch {
		case hasName && (kind == "header" || kind == "cookie"):
			chosen = true
			if !httpx.IsToken(name) {
				c.bad(at, "write it like header:X-Tenant or cookie:tenant", "%s names no %s", quote(key), kind)
			}
		case hasName || !slices.Contains(kinds, key):
			c.bad(at, yamlnode.DidYouMean(key, "keys", kinds), "a limit can't count by %s", quote(key))
		default:
			known = known || key == "ip" || key == "client" || key == "user" || key == "session"
		}
	}
	if chosen && !known {
		c.warn(path, "add ip, client or user to it", "clients choose this key themselves, and can choose a new one for each request")
	}
}

func (c *checker) caches() {
	for _, name := range names(c, "caches", c.p.Caches) {
		cache, path := c.p.Caches[name], problem.Key("caches", name)
		if cache.TTL > 0 && cache.ForceTTL > 0 {
			c.warn(problem.Key(path, "ttl"), "remove one of them", "ttl is never used, as force_ttl wins")
		}
		if c.at.Has(problem.Key(path, "query")) && c.at.Has(problem.Key(path, "ignore_query")) {
			c.bad(problem.Key(path, "ignore_query"), "keep one: query lists what matters, ignore_query what doesn't", "both query and ignore_query are given")
		}
		for i, tag := range cache.Tags {
			c.tag(problem.Item(problem.Key(path, "tags"), i), tag)
		}
		for i, glob := range cache.IgnoreQuery {
			c.glob(problem.Item(problem.Key(path, "ignore_query"), i), glob)
		}
		for i, glob := range cache.IgnoreCookies {
			c.glob(problem.Item(problem.Key(path, "ignore_cookies"), i), glob)
		}
		for i, header := range cache.KeyHeaders {
			at := problem.Item(problem.Key(path, "key_headers"), i)
			if c.headerName(at, header) && strings.EqualFold(header, "Cookie") {
				c.bad(at, "name the cookies that make no difference in ignore_cookies", "a cache keyed by Cookie would never hit")
			}
		}
		c.positive(problem.Key(path, "max_body"), time.Duration(cache.MaxBody))
		for _, status := range sortedKeys(cache.Errors) {
			at := problem.Key(path, "errors", strconv.Itoa(status))
			if c.between(at, status, 400, 599) {
				c.positive(at, cache.Errors[status])
			}
		}
	}
}

// tag reports what can't stand in a Cache-Tag or Surrogate-Key header.
func (c *checker) tag(path, tag string) {
	if tag == "" || len(tag) > 256 || strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' }) {
		c.bad(path, "use up to 256 printable characters of ASCII, without space or comma", "%s is not a tag", quote(tag))
	}
}

// glob reports a pattern that is not a name, or a beginning with * after it.
func (c *checker) glob(path, glob string) {
	if glob == "" || strings.Contains(strings.TrimSuffix(glob, "*"), "*") {
		c.bad(path, "write a name, or the beginning of names like utm_*", "%s is not a pattern of names", quote(glob))
	}
}

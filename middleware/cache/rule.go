package cache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// Rule says what a route caches. The zero Rule, with a Name, caches what the
// origin says may be cached for as long as it says, and nothing else.
//
// Rules belong to a generation of the policy and may be replaced at any time;
// what a Cache stores under a Name stays usable by the next Rule of that name,
// unless its Tags, Query, IgnoreQuery or KeyHeaders are other ones.
type Rule struct {
	// Name is the first part of every key: two rules of one name, on the same
	// partition, share their entries, if their Tags, Query, IgnoreQuery and
	// KeyHeaders are the same. Required.
	Name string

	// TTL is the freshness of responses for which the origin gives none
	// (no s-maxage, max-age, Expires or no-cache), for statuses 200, 203, 204,
	// 300, 301 and 308. 0: they are stored only if they can be validated.
	TTL time.Duration
	// ForceTTL is their freshness whatever the origin says, short of no-store
	// and private. 0: the origin's word counts.
	ForceTTL time.Duration
	// StaleWhileRevalidate is for how long after its freshness a response is
	// still served while it is fetched again (RFC 5861 section 3), where the
	// response does not say. 0: not at all.
	StaleWhileRevalidate time.Duration
	// StaleIfError is for how long after its freshness a response may stand in
	// for a 500, 502, 503 or 504 (RFC 5861 section 4), where the response does
	// not say. 0: not at all.
	StaleIfError time.Duration
	// Heuristic gives responses with a Last-Modified and no freshness a tenth
	// of their age as freshness, at most a day (RFC 9111 section 4.2.2).
	Heuristic bool
	// Errors is the freshness of responses by status, where the origin gives
	// none: {404: 10 * time.Second} is negative caching.
	Errors map[int]time.Duration

	// Tags are put on every entry, besides those of the origin's Cache-Tag,
	// Surrogate-Key and Cache-Groups fields.
	Tags []string

	// IgnoreQuery are names of query parameters that are not part of the key;
	// * stands for anything. They are still forwarded.
	IgnoreQuery []string
	// Query, if not empty, are the only query parameters in the key. It
	// excludes IgnoreQuery.
	Query []string
	// IgnoreCookies are names of cookies that are removed from requests before
	// they are forwarded, so that they no longer stand in the way of TTL.
	IgnoreCookies []string
	// KeyHeaders are request fields whose values are part of the key.
	KeyHeaders []string

	// MaxBody is the largest body that is stored, in bytes; larger ones stream
	// through. 0: 1 MiB.
	MaxBody int64

	// ClientRevalidation obeys no-cache, max-age and min-fresh of requests. By
	// default they are ignored: they would let any client go around the cache.
	ClientRevalidation bool
}

// rule is a Rule that was checked, in the form that requests need.
type rule struct {
	Rule
	ignoreQuery, query, ignoreCookies globs
	keyHeaders                        []string
	tags                              []tag
	identity                          string // see identify
	freshness                         rfc9111.Policy
}

const defaultMaxBody = 1 << 20

// Check says what is wrong with the rule, if anything is.
func (r Rule) Check() error {
	_, err := r.compile()
	return err
}

func (r Rule) compile() (*rule, error) {
	c := &rule{Rule: r}
	if r.Name == "" {
		return nil, errors.New("cache: the rule has no Name; it separates the keys of one rule from those of another")
	}
	for what, d := range map[string]time.Duration{"TTL": r.TTL, "ForceTTL": r.ForceTTL,
		"StaleWhileRevalidate": r.StaleWhileRevalidate, "StaleIfError": r.StaleIfError} {
		if d < 0 {
			return nil, fmt.Errorf("cache: rule %s: %s is %v; it cannot be negative", r.Name, what, d)
		}
	}
	for status, ttl := range r.Errors {
		if status < 200 || status > 599 || status == 206 || status == 304 || ttl <= 0 {
			return nil, fmt.Errorf("cache: rule %s: Errors has %d: %v; it takes a final status other than 206 and 304, and a positive duration", r.Name, status, ttl)
		}
	}
	if r.MaxBody < 0 {
		return nil, fmt.Errorf("cache: rule %s: MaxBody is %d; use 0 for 1 MiB", r.Name, r.MaxBody)
	}
	if c.MaxBody == 0 {
		c.MaxBody = defaultMaxBody
	}
	if len(r.Query) > 0 && len(r.IgnoreQuery) > 0 {
		return nil, fmt.Errorf("cache: rule %s: give Query or IgnoreQuery, not both", r.Name)
	}
	var err1, err2, err3 error
	c.ignoreQuery, err1 = newGlobs("IgnoreQuery", r.IgnoreQuery)
	c.query, err2 = newGlobs("Query", r.Query)
	c.ignoreCookies, err3 = newGlobs("IgnoreCookies", r.IgnoreCookies)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("cache: rule %s: %w", r.Name, err)
	}
	for _, name := range r.KeyHeaders {
		if !httpx.IsToken(name) {
			return nil, fmt.Errorf("cache: rule %s: KeyHeaders: %q is not a field name", r.Name, name)
		}
		c.keyHeaders = append(c.keyHeaders, http.CanonicalHeaderKey(name))
	}
	slices.Sort(c.keyHeaders)
	for _, name := range r.Tags {
		if name = strings.TrimSpace(name); name == "" {
			return nil, fmt.Errorf("cache: rule %s: an empty tag", r.Name)
		}
		c.tags = append(c.tags, tagOf(tagName, name))
	}
	c.identity = c.identify()
	c.freshness = rfc9111.Policy{
		TTL: r.TTL, ForceTTL: r.ForceTTL, StaleWhileRevalidate: r.StaleWhileRevalidate, StaleIfError: r.StaleIfError,
		Heuristic: r.Heuristic, Errors: r.Errors,
	}
	return c, nil
}

// identify spells what decides which responses one key may stand for, and which
// purges reach them. It is part of the key, so that an edited rule starts clean:
// what was stored for every ?lang must not be served once lang is in the key.
func (c *rule) identify() string {
	if len(c.IgnoreQuery)+len(c.Query)+len(c.Tags) == 0 {
		return ""
	}
	var b []byte
	for _, list := range [][]string{c.IgnoreQuery, c.Query, c.Tags} {
		b = appendPart(b, strings.Join(list, "\x00"))
	}
	return string(b)
}

package cache

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
	"github.com/headgate/headgate/middleware/problem"
)

// Rule is a named rule for the response cache, an RFC 9111 shared cache. What the
// origin forbids (no-store, private) is never stored, whatever stands here.
type Rule struct {
	// Name is the first part of every key: two rules of one name, on the same
	// partition, share their entries, if their Tags, Query, IgnoreQuery and
	// KeyHeaders are the same. A rule may be replaced at any time; what is stored under
	// its Name stays usable by the next one, unless one of these differs. Required.
	Name string `yaml:"-"`
	// Freshness where the origin gives none. 0 leaves it to the origin alone. What goes on until one side ends it (text/event-stream,
	// multipart/x-mixed-replace) is never stored, nor shared among clients, and takes no ttl. Default 0s.
	TTL time.Duration `yaml:"ttl"`
	// Freshness whatever the origin says, but never over no-store or private. 0 is off. Default 0s.
	// Hazard: the origin can then shorten it only by a purge.
	ForceTTL time.Duration `yaml:"force_ttl"`
	// How long after its end an answer is still served while one request fetches a new one (RFC 5861). Default 0s.
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate"`
	// How long after its end an answer is still served when the origin answers 500, 502, 503 or 504 (RFC 5861), or breaks its
	// answer off within the first 64KiB: those are waited for, for a second at most, before the client is given any of it. So it is when
	// nothing of an answer has come for lock_timeout. Where
	// it cannot be reached at all, an answer stands in for ten minutes at least, unless it says must-revalidate or
	// the like (RFC 9111 section 4.2.4). Default 0s.
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// How long requests for the same wait for one of them to bring anything from the app server: the response's head, and after that
	// each piece of its body. When nothing has come for that long, on whichever instance, one of those that wait asks the app server, and
	// the others wait for it; a stale answer that stale_if_error covers is served instead. So while an app server hangs, it is asked at most
	// once more in each lock_timeout for the same. Default 5s. Hazard: an app that needs longer for its answers is asked more often.
	LockTimeout time.Duration `yaml:"lock_timeout"`
	// Tags for purging, besides the origin's Cache-Tag and Surrogate-Key. Its Cache-Groups (RFC 9875) are no tags: they belong to
	// their origin, and are purged by headgate purge --group G --origin https://host. Default: none.
	Tags []string `yaml:"tags"`
	// Query parameters that make no difference, as names or with a * at the end: utm_*. They are
	// forwarded all the same. Default: none.
	IgnoreQuery []string `yaml:"ignore_query"`
	// The only query parameters that make a difference; [] is none at all. Not together with ignore_query.
	// Default: all do, and one client may fill a 16th of the cache with them: beyond that its misses are answered and not stored,
	// unless another client asks for the same.
	Query []string `yaml:"query"`
	// Cookies that make no difference, as names or with a * at the end: _ga*. They are removed
	// before forwarding. With any other cookie on a request, ttl, force_ttl and heuristic do not apply. Default: none.
	IgnoreCookies []string `yaml:"ignore_cookies"`
	// Request headers that are part of the key. Default: none. Hazard: each value is an entry of its own.
	KeyHeaders []string `yaml:"key_headers"`
	// Guess freshness from Last-Modified where nothing is said (RFC 9111 section 4.2.2). Default false.
	Heuristic bool `yaml:"heuristic"`
	// The largest body that is stored; larger ones stream through, unstored. Default 1MiB.
	MaxBody int64 `yaml:"max_body" config:"size"`
	// The largest content of a QUERY (RFC 10008) that is looked up and stored by; a QUERY with more goes past the cache. The key
	// has the content's length and SHA-256, Content-Type and Content-Encoding. Default 64KiB.
	QueryMax int64 `yaml:"query_max" config:"size"`
	// Freshness by status for errors (400 and above) where the origin gives none: {404: 10s}. Default: none.
	Errors map[int]time.Duration `yaml:"errors"`

	// ClientRevalidation obeys no-cache, max-age and min-fresh of requests. By
	// default they are ignored: they would let any client go around the cache.
	ClientRevalidation bool `yaml:"-"`
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

// Check returns what is wrong with the rule as one error, or nil.
func (r Rule) Check() error {
	_, err := r.compile()
	return err
}

// compile checks a rule and brings it into the form that requests need.
func (r Rule) compile() (*rule, error) {
	if r.Name == "" {
		return nil, errors.New("cache: the rule has no Name; it separates the keys of one rule from those of another")
	}
	r.SetDefaults()
	if err := problem.Error("cache: rule "+r.Name, r.Validate()); err != nil {
		return nil, err
	}
	if r.Query != nil && len(r.Query) == 0 { // no parameter makes a difference
		r.IgnoreQuery = []string{"*"}
	}
	c := &rule{Rule: r, ignoreQuery: r.IgnoreQuery, query: r.Query, ignoreCookies: r.IgnoreCookies}
	for _, name := range r.KeyHeaders {
		c.keyHeaders = append(c.keyHeaders, http.CanonicalHeaderKey(name))
	}
	slices.Sort(c.keyHeaders)
	for _, name := range r.Tags {
		c.tags = append(c.tags, tagOf(tagName, name))
	}
	c.identity = c.identify()
	c.freshness = r.freshness()
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

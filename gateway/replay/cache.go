package replay

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/policies"
)

// cacheEstimator plays the response cache, as far as a log allows: it knows
// requests, statuses and sizes, but neither the origin's Cache-Control, Vary and
// Set-Cookie nor the client's cookies and Authorization. What it says is therefore an
// estimate, and mostly the best case.
type cacheEstimator struct {
	entries   *boundedmap.Map[cacheKey, cacheEntry]
	caches    map[string]*cache.Rule
	assumeTTL time.Duration
	purged    map[string]int64 // by tag: when it was last purged
}

type cacheKey [16]byte

// cacheEntry is a stored response: when it was stored, and until when it is fresh, and may be served stale while
// it is revalidated or while the origin fails. Times are in microseconds since 1970.
type cacheEntry struct {
	stored, fresh, revalidate, ifError int64
}

// cacheUse is how the cache takes part in a request.
type cacheUse uint8

const (
	notCached         cacheUse = iota // no cache on this route, or no GET or HEAD
	cacheMiss                         // the request goes to the origin
	cacheHit                          // the cache answers alone
	cacheStale                        // the cache answers with a stale response and revalidates it
	cacheStaleOnError                 // the cache answers with a stale response in place of an error
)

// cacheBytes bounds the entries: about a million.
const cacheBytes = 128 << 20

// newCacheEstimator returns nil where no route has a cache.
func newCacheEstimator(p *policies.Policy, assumeTTL time.Duration) *cacheEstimator {
	if !slices.ContainsFunc(p.Routes, func(r *policies.Route) bool { return r.Cache != "" }) {
		return nil
	}
	return &cacheEstimator{
		entries:   boundedmap.New[cacheKey, cacheEntry](boundedmap.Options{MaxBytes: cacheBytes}),
		caches:    p.Caches,
		assumeTTL: assumeTTL,
		purged:    make(map[string]int64),
	}
}

// estimate says what the cache would do with a request that the limits admit.
func (c *cacheEstimator) estimate(e *engine, req *pipeline.Request) cacheUse {
	rt, r := req.Route.Policy, e.record
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		c.unsafe(e, req)
		return notCached
	}
	rule := c.caches[string(rt.Cache)]
	if rule == nil {
		return notCached
	}
	if rt.Session != policies.SessionOff && r.Own != nil && (r.Own.User != "" || r.Own.Session != "") {
		return cacheMiss // a request with a live session bypasses the cache
	}
	key := c.key(rt, req)
	now := e.now
	entry, kept := c.entries.Get(key, time.UnixMicro(now))
	if kept && c.wasPurged(rule, entry.stored) {
		kept = false
	}
	switch {
	case kept && now < entry.fresh:
		return cacheHit
	case kept && now < entry.revalidate:
		c.keep(key, rule, r, now)
		return cacheStale
	case kept && now < entry.ifError && failing(r.Status):
		return cacheStaleOnError
	}
	c.keep(key, rule, r, now)
	return cacheMiss
}

func failing(status int) bool {
	return status == 500 || status >= 502 && status <= 504
}

// keep stores the response to a miss, if the rule allows that.
func (c *cacheEstimator) keep(key cacheKey, rule *cache.Rule, r *logs.Record, now int64) {
	ttl := c.lifetime(rule, r.Status)
	if ttl <= 0 || r.Method != http.MethodGet || rule.MaxBody > 0 && r.Bytes > rule.MaxBody {
		return
	}
	fresh := now + ttl.Microseconds()
	entry := cacheEntry{
		stored: now, fresh: fresh,
		revalidate: fresh + rule.StaleWhileRevalidate.Microseconds(),
		ifError:    fresh + rule.StaleIfError.Microseconds(),
	}
	c.entries.Update(key, time.UnixMicro(now), func(cacheEntry, bool) (cacheEntry, int, time.Time, bool) {
		return entry, 0, time.UnixMicro(max(entry.revalidate, entry.ifError)), true
	})
}

// lifetime is how long a response stays fresh. A 304 in the log went to a client that had the response already;
// the gateway would have fetched and stored the full one.
func (c *cacheEstimator) lifetime(rule *cache.Rule, status int) time.Duration {
	switch status {
	case 200, 203, 204, 300, 301, 304, 308:
		for _, ttl := range []time.Duration{rule.ForceTTL, rule.TTL} {
			if ttl > 0 {
				return ttl
			}
		}
		return c.assumeTTL
	}
	return rule.Errors[status]
}

// unsafe invalidates after a successful POST, PUT, PATCH or DELETE: the stored response to a GET of
// the same URL (RFC 9111 section 4.4), and the route's purge tags.
func (c *cacheEstimator) unsafe(e *engine, req *pipeline.Request) {
	r := e.record
	if r.Status < 200 || r.Status >= 400 || r.Method == http.MethodOptions || r.Method == http.MethodTrace {
		return
	}
	for _, tag := range req.Route.Policy.Purge {
		c.purged[tag] = e.now
	}
	if rt := req.Other(http.MethodGet); rt != nil && rt.Policy.Cache != "" {
		c.entries.Delete(c.key(rt.Policy, req))
	}
}

// wasPurged reports whether one of the rule's tags was purged after a response
// was stored. A log does not have the tags that the origin sets.
func (c *cacheEstimator) wasPurged(rule *cache.Rule, stored int64) bool {
	for _, tag := range rule.Tags {
		if at, ok := c.purged[tag]; ok && at >= stored {
			return true
		}
	}
	return false
}

// key hashes what tells stored responses apart: rule, upstream, host, path and the query's parameters
// that the rule does not ignore.
func (c *cacheEstimator) key(rt *policies.Route, req *pipeline.Request) cacheKey {
	name := string(rt.Cache)
	var space [512]byte
	b := space[:0]
	for _, s := range []string{name, rt.Upstream, req.Authority, req.Path.RawPath} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = appendQuery(b, c.caches[name], req.Query)
	sum := sha256.Sum256(b)
	return cacheKey(sum[:16])
}

// appendQuery appends the parameters that make a difference, in their order.
func appendQuery(b []byte, rule *cache.Rule, query string) []byte {
	if rule.Query == nil && len(rule.IgnoreQuery) == 0 {
		return append(b, query...)
	}
	for query != "" {
		var piece string
		piece, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(piece, "=")
		if strings.ContainsAny(name, "%+") {
			if plain, err := url.QueryUnescape(name); err == nil {
				name = plain
			}
		}
		// What some origin might split at a semicolon is always kept, as the cache does.
		if piece != "" && (strings.Contains(piece, ";") || keepsParameter(rule, name)) {
			b = append(append(b, '&'), piece...)
		}
	}
	return b
}

func keepsParameter(rule *cache.Rule, name string) bool {
	if rule.Query != nil {
		return slices.ContainsFunc(rule.Query, func(p string) bool { return matchesName(p, name) })
	}
	return !slices.ContainsFunc(rule.IgnoreQuery, func(p string) bool { return matchesName(p, name) })
}

// matchesName matches a name, or one with a * at its end.
func matchesName(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

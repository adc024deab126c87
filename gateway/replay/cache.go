package replay

import (
	"net/http"
	"slices"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// cacheEstimator plays the response cache, as far as a log allows: it knows
// requests, statuses and sizes, but neither the origin's Cache-Control, Vary and
// Set-Cookie nor the client's cookies and Authorization. What it says is therefore an
// estimate, and mostly the best case.
type cacheEstimator struct {
	entries *boundedmap.Map[cacheKey, cacheEntry]
	caches  map[string]cache.Rule
	purged  map[string]int64 // by tag: when it was last purged
	queries bool             // a QUERY met a cache rule; the log does not have its content, which is part of the key
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
	caches := make(map[string]cache.Rule, len(p.Caches))
	for name, rule := range p.Caches {
		assumed := *rule
		if assumed.TTL == 0 {
			assumed.TTL = assumeTTL
		}
		caches[name] = assumed
	}
	return &cacheEstimator{
		entries: boundedmap.New[cacheKey, cacheEntry](boundedmap.Options{MaxBytes: cacheBytes}),
		caches:  caches,
		purged:  make(map[string]int64),
	}
}

// estimate says what the cache would do with a request that the limits admit.
func (c *cacheEstimator) estimate(e *engine, req *pipeline.Request) cacheUse {
	rt, r, plan := req.Route.Policy, e.record, req.CachePlan()
	switch plan.Action {
	case cache.ActionInvalidate:
		c.unsafe(e, req)
		return notCached
	case cache.ActionForward:
		c.queries = c.queries || rt.Cache != "" && r.Method == httpx.MethodQuery
		return notCached
	case "":
		return notCached
	}
	if rt.Session != session.Off && r.Own != nil && (r.Own.User != "" || r.Own.Session != "") {
		return cacheMiss // a request with a live session bypasses the cache
	}
	rule, key := c.caches[rt.Cache], keyOf(plan)
	now := e.now
	entry, kept := c.entries.Get(key, time.UnixMicro(now))
	if kept && c.wasPurged(&rule, entry.stored) {
		kept = false
	}
	switch {
	case kept && now < entry.fresh:
		return cacheHit
	case kept && now < entry.revalidate:
		c.keep(key, &rule, r, now)
		return cacheStale
	case kept && now < entry.ifError && cache.ServerFailed(r.Status):
		return cacheStaleOnError
	}
	c.keep(key, &rule, r, now)
	return cacheMiss
}

// keep stores the response to a miss, if the rule allows that. A 304 in the log went to a client that had the response
// already; the gateway would have fetched and stored the full one.
func (c *cacheEstimator) keep(key cacheKey, rule *cache.Rule, r *logs.Record, now int64) {
	status := r.Status
	if status == http.StatusNotModified {
		status = http.StatusOK
	}
	use, stored := rule.Freshness(status, r.Bytes, time.UnixMicro(now))
	if !stored || r.Method != http.MethodGet {
		return
	}
	fresh := now + use.Fresh.Microseconds()
	entry := cacheEntry{
		stored: now, fresh: fresh,
		revalidate: fresh + use.WhileRevalidate.Microseconds(),
		ifError:    fresh + use.IfError.Microseconds(),
	}
	c.entries.Update(key, time.UnixMicro(now), func(cacheEntry, bool) (cacheEntry, int, time.Time, bool) {
		return entry, 0, time.UnixMicro(max(entry.revalidate, entry.ifError)), true
	})
}

// unsafe invalidates after an unsafe request that succeeds: the stored response to a GET of
// the same URL (RFC 9111 section 4.4), and the route's purge tags.
func (c *cacheEstimator) unsafe(e *engine, req *pipeline.Request) {
	r := e.record
	if r.Status < 200 || r.Status >= 400 {
		return
	}
	for _, tag := range req.Route.Policy.Purge {
		c.purged[tag] = e.now
	}
	if plan := req.OtherCachePlan(http.MethodGet); plan.Key != nil {
		c.entries.Delete(keyOf(plan))
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

// keyOf is the cache's own key, cut to 128 bits.
func keyOf(plan cache.Plan) cacheKey {
	sum := plan.Key.Sum()
	return cacheKey(sum[:16])
}

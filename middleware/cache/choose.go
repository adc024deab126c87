package cache

import "time"

// verdict is what may be done with a stored response for a request.
type verdict uint8

const (
	unusable     verdict = iota
	mustValidate         // it may be used to validate, or to stand in when the origin fails
	staleRefresh         // it may be served stale while it is fetched again (RFC 5861)
	staleAllowed         // it may be served stale because the request says so
	fresh
)

// wanted is what of a request bears on whether a stored response may be used.
type wanted struct {
	class  class
	field  func(name string) []string // the request's fields, as the origin sees them
	cc     *directives                // the request's Cache-Control
	strict bool                       // obey its no-cache, max-age and min-fresh
}

// choose finds the stored response for a request, RFC 9111 section 4: of those
// that it selects and may have, the most recent one. others says that something
// is stored, though not for this request.
func (c *Cache) choose(variants []*entry, w *wanted, now time.Time) (e *entry, v verdict, others bool) {
	for _, candidate := range variants {
		valid := c.purges.checkEntry(candidate)
		if valid == void || !candidate.keepUntil().After(now) {
			continue
		}
		if w.class&^candidate.admits != 0 || !selects(candidate.vary, w.field) {
			others = true
			continue
		}
		// Of two of the same date the one that needs less is as recent.
		if judged := candidate.judge(w, now, valid == softened); e == nil || (judged > v && candidate.date.Equal(e.date)) {
			e, v = candidate, judged
		}
	}
	return e, v, others || e != nil
}

// judge applies RFC 9111 section 4.2 to an entry that the request selects.
func (e *entry) judge(w *wanted, now time.Time, softened bool) verdict {
	if e.noCache || (w.strict && w.cc.noCache) {
		return mustValidate
	}
	left := e.left(now)
	if softened {
		left = min(left, 0)
	}
	if w.strict {
		if w.cc.maxAge.valid && e.age(now) > w.cc.maxAge.d {
			return mustValidate
		}
		if w.cc.minFresh.valid && left < w.cc.minFresh.d {
			return mustValidate
		}
	}
	switch {
	case left > 0:
		return fresh
	case e.neverStale:
		return mustValidate
	case -left < e.staleWhileRevalidate:
		return staleRefresh
	case w.cc.maxStale.valid && -left < w.cc.maxStale.d && !softened && e.source == lifetimeExplicit:
		return staleAllowed
	}
	return mustValidate
}

// mayStandIn reports whether the entry may be served although it is stale,
// because the origin answered with an error (RFC 5861 section 4) or, with
// unreachable, not at all (RFC 9111 section 4.2.4).
func (e *entry) mayStandIn(now time.Time, unreachable bool) bool {
	if e == nil || e.neverStale || e.noCache {
		return false
	}
	return unreachable || -e.left(now) < e.staleIfError
}

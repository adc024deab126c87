package cache

import (
	"net/http"
	"sync/atomic"
	"time"
)

// class says what about a request keeps it from sharing answers freely. One
// rule serves for storing and for reuse: a response admits the classes that
// its own words make shareable, and both the request that fetched it and the
// one that wants it must be of admitted classes only.
type class uint8

const (
	withSession       class = 1 << iota // a live session: only "public" is shared
	withAuthorization                   // RFC 9111 section 3.5
	withCookie                          // an unknown cookie: only the origin's own freshness counts
)

// entry is one stored response, immutable but for what is remembered of checks.
type entry struct {
	keyText string
	vary    []selector
	variant variantID

	status int
	header http.Header // as stored: without what must not be, with Date and Content-Length

	date       time.Time     // of the response, for "the most recent one"
	received   time.Time     // RFC 9111 section 4.2.3 response_time
	initialAge time.Duration // corrected_initial_age
	lifetime   time.Duration
	source     lifetimeSource

	staleWhileRevalidate, staleIfError time.Duration

	noCache    bool // must be validated before every reuse
	neverStale bool // must-revalidate, proxy-revalidate or s-maxage
	admits     class

	tags  []tag
	stamp stamp

	etag         string
	lastModified time.Time // zero: none

	body   body
	bodyID string // names the chunks in Redis; empty if it is not there

	checked atomic.Uint64 // see purges.checkEntry
}

// body is a stored body in pieces. The pieces are never changed.
type body struct {
	chunks [][]byte
	size   int64
}

// loaded reports whether the body is here, and not in Redis alone.
func (b *body) loaded() bool { return b.size == 0 || len(b.chunks) > 0 }

func (e *entry) age(now time.Time) time.Duration {
	return e.initialAge + max(0, now.Sub(e.received))
}

// left is how long the entry is still fresh; negative is for how long it has
// been stale.
func (e *entry) left(now time.Time) time.Duration { return e.lifetime - e.age(now) }

// keepUntil is when the entry is of no more use: stale beyond every permission
// to serve it, and too old to be worth validating.
func (e *entry) keepUntil() time.Time {
	beyond := max(e.staleWhileRevalidate, e.staleIfError)
	if e.etag != "" || !e.lastModified.IsZero() || !e.neverStale {
		beyond = max(beyond, keepStale)
	}
	return e.received.Add(max(0, e.lifetime-e.initialAge) + beyond)
}

// keepStale is for how long a stale entry is kept to be validated, or to be
// served while the origin cannot be reached.
const keepStale = 10 * time.Minute

// weight is what the entry takes of the local tier's bytes, near enough.
func (e *entry) weight() int64 {
	n := int64(512) + int64(len(e.keyText)) + int64(len(e.tags))*16
	for name, values := range e.header {
		n += int64(len(name)) + 64
		for _, v := range values {
			n += int64(len(v)) + 16
		}
	}
	for i := range e.vary {
		n += int64(len(e.vary[i].name)+len(e.vary[i].value)+len(e.vary[i].raw)) + 56
	}
	for _, c := range e.body.chunks {
		n += int64(cap(c)) + 24
	}
	return n
}

// clone copies an entry to be changed before it is shared. The header is the
// clone's own; the body and the rest are common.
func (e *entry) clone() *entry {
	return &entry{
		keyText: e.keyText, vary: e.vary, variant: e.variant,
		status: e.status, header: e.header.Clone(),
		date: e.date, received: e.received, initialAge: e.initialAge, lifetime: e.lifetime, source: e.source,
		staleWhileRevalidate: e.staleWhileRevalidate, staleIfError: e.staleIfError,
		noCache: e.noCache, neverStale: e.neverStale, admits: e.admits,
		tags: e.tags, stamp: e.stamp,
		etag: e.etag, lastModified: e.lastModified,
		body: e.body, bodyID: e.bodyID,
	}
}

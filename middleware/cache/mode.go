package cache

import (
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// form is what a request asks of the resource, whatever its method.
type form uint8

const (
	// formWhole: the client sent no condition and no range.
	formWhole form = iota
	// formConditional: the client sent If-None-Match, If-Modified-Since or
	// another precondition; the gateway may answer 304.
	formConditional
	// formRange: the client sent Range, with or without conditions; the
	// gateway may answer 206 or 416.
	formRange
)

// fetchMode is how the gateway asks the origin on behalf of a request. It is
// chosen once for each flight, in request.chooseMode.
type fetchMode uint8

const (
	// fetchShared: the client sent a plain GET. The gateway fetches the
	// resource once for all requests that want the same, on all instances.
	fetchShared fetchMode = iota
	// fetchWhole: the client sent HEAD, Range or a condition, and an earlier
	// such request was forwarded as it was sent. The gateway now fetches the
	// full 200, shared like a plain GET, so that it can be stored.
	fetchWhole
	// leaderOnly: the response is for one client, and the gateway fetches it
	// without a lease. The client sent no-store, or the stored response must be
	// validated for this client, or the last response could not be shared.
	leaderOnly
	// forwardAsSent: the client sent HEAD, Range or a condition and nothing is
	// stored, or one of leaderOnly's reasons holds. The gateway forwards the
	// request as it was sent, for this client alone.
	forwardAsSent
	// refreshStale: a client was served a stale response that may be used while
	// it is fetched again. The gateway fetches it in the background, unless
	// another instance already does.
	refreshStale
)

// shared reports whether the fetch is on behalf of all instances, under a lease.
func (m fetchMode) shared() bool { return m != leaderOnly && m != forwardAsSent }

// joining is which flight a request waits for.
type joining uint8

const (
	joinOrLead      joining = iota // the one under way for its key, or one that it leads and others may join
	joinOrAlone                    // the one under way, or one for itself
	alone                          // one for itself
	aloneHitForMiss                // one for itself: the last response for the key could not be shared
)

// outcomeKind is what a flight has come to. It is known as soon as the
// response's head is there.
type outcomeKind uint8

const (
	// nothing: the flight was given up, or brought the response into the local
	// tier. Every request looks again.
	nothing outcomeKind = iota
	// storedFresh: the flight found a fresh entry in a tier.
	storedFresh
	// validated: the origin sent 304; the entry is updated and stored.
	validated
	// validatedForLeader: the origin sent 304 with a field that is for the
	// leader alone, or that forbids storing.
	validatedForLeader
	// staleOnError: the origin sent 500, 502, 503 or 504, and the entry may be
	// served instead (stale-if-error).
	staleOnError
	// staleOnOutage: the origin cannot be reached, and the entry may be served.
	staleOnOutage
	// responseShared: a response is under way that may be stored.
	responseShared
	// responseForLeader: a response is under way that may not be stored.
	responseForLeader
	// responseAsSent: a response is under way to the leader's own HEAD, Range
	// or condition. It may be one that is stored.
	responseAsSent
	// failed: the next handler returned an error.
	failed
	// handlerPanicked: the next handler panicked.
	handlerPanicked
)

// forFollowers reports whether other requests than the leader may have the
// outcome, if it is for them by RFC 9111 section 4.
func (k outcomeKind) forFollowers() bool {
	switch k {
	case storedFresh, validated, staleOnError, staleOnOutage, responseShared:
		return true
	}
	return false
}

// standsIn reports whether the outcome is a stale entry instead of an error.
func (k outcomeKind) standsIn() bool { return k == staleOnError || k == staleOnOutage }

// outcome is what a flight has come to.
type outcome struct {
	kind outcomeKind

	entry *entry // a complete entry, or the one that a response under way becomes; nil: none
	tier  Tier   // where entry was found

	// Of a response under way: its body, the leader's place in it, and the head
	// as the origin sent it, for the leader.
	stream  *collapse.Stream
	leader  *collapse.Reader
	arrival *rfc9111.Arrival

	err      error // of failed
	shared   bool  // err is for all requests that wait
	panicked any   // of handlerPanicked

	status outcomeStatus  // the Cache-Status of the leader's response
	why    rfc9111.Reason // the response is not stored because of this
}

// complete reports whether the outcome is an entry with its body.
func (o *outcome) complete() bool { return o.entry != nil && o.stream == nil }

// step is what a request does after it has waited for an outcome.
type step uint8

const (
	// done: the client has its response, or the error is on its way to it.
	done step = iota
	// lookAgain: the outcome is another variant, or a purge has overtaken it.
	lookAgain
	// bypassCollapse: the outcome is for the leader alone. The request goes to
	// the origin by itself, as do all others that waited, in parallel.
	bypassCollapse
)

// flightKey names what one flight is for. Requests that differ in it never wait
// for each other: other resources and known variants, requests of another
// class, and requests from before and after a purge.
type flightKey struct {
	key        keyHash
	variant    rfc9111.VariantID
	class      rfc9111.Class
	generation uint64
}

type flight = collapse.Flight[flightKey, outcome]

const (
	// hitForMissTTL is for how long requests for a key go to the origin at
	// once, each by itself, after requests had waited for a response that could
	// not be shared. The first of their responses that can be is stored and
	// ends it: a client could provoke one, say with a field that the origin
	// refuses, so it is short.
	hitForMissTTL = 5 * time.Second

	// asSentTTL is for how long it is remembered that a HEAD, a conditional or
	// a range request was forwarded as it was sent, and that the full
	// response, fetched instead, was not stored.
	asSentTTL = time.Minute

	// unreachableTTL is for how long, after the origin could not be reached and
	// a stale response stood in, that response is served without asking the
	// origin again: else every request would wait for the origin's timeout.
	unreachableTTL = time.Second
)

// fetchesWhole reports whether the next HEAD, conditional or range request for
// a key has the whole fetched: one was forwarded as it was sent a short while
// ago, and the whole has not turned out to be unstorable since.
func (c *Cache) fetchesWhole(key flightKey) bool {
	return c.asSent.Has(key) && !c.unstorable.Has(key)
}

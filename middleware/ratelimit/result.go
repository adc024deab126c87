package ratelimit

import (
	"context"
	"net/http"
	"time"
)

// Result is what the limits decided about one request, and what it consumed. It
// belongs to one request and is not safe for concurrent use.
type Result struct {
	limiter     *Limiter
	items       []item
	space       [2]item // items, in most cases
	attempt     bool    // of CheckAttempt
	allowed     bool
	unavailable bool
	closed      bool          // a limit of zero requests denies it
	denying     int           // how many limits deny the request
	first       *item         // of those, in the order of Options.Limits
	holding     bool          // a lease
	retryAfter  time.Duration // after which all of them would admit it
	waited      time.Duration // for reservations to be settled
	field       [1]string     // RateLimit's value: an http.Header wants a slice
}

// Allowed reports whether the request may pass.
func (r *Result) Allowed() bool { return r.allowed }

// Unavailable reports that the request is denied because Redis does not reply and
// a limit is Closed: the response is 503.
func (r *Result) Unavailable() bool { return r.unavailable }

// Waited returns how long the request has waited for reservations to be settled.
func (r *Result) Waited() time.Duration { return r.waited }

// Named is the decision of the limit of that name.
type Named struct {
	Name   string
	DryRun bool
	Source Source
	Decision
}

// Decisions returns what each limit decided, in the order of Options.Limits. A
// limit that does not apply, or could not decide, is left out.
func (r *Result) Decisions() []Named {
	all := make([]Named, 0, len(r.items))
	for i := range r.items {
		if it := &r.items[i]; it.decided {
			all = append(all, Named{Name: it.limit.Name, DryRun: it.limit.DryRun, Source: it.source, Decision: it.Decision})
		}
	}
	return all
}

// DeniedBy returns the name of the first limit that denied the request; "" if
// none did.
func (r *Result) DeniedBy() string {
	if r.first == nil {
		return ""
	}
	return r.first.limit.Name
}

// deniedBy notes that a limit denies the request.
func (r *Result) deniedBy(it *item) {
	if r.denying++; r.denying == 1 {
		r.first = it
	}
	r.retryAfter = max(r.retryAfter, it.RetryAfter)
}

// DryRunDeniedBy returns the name of the first limit that would have denied the
// request, were it not in dry run; "" if none would have.
func (r *Result) DryRunDeniedBy() string {
	for i := range r.items {
		if it := &r.items[i]; it.decided && !it.Allowed && it.limit.DryRun {
			return it.limit.Name
		}
	}
	return ""
}

// Response is what [Result.Settle] must know of the response to a request that
// was allowed.
type Response struct {
	// Status is the status that the client is given; 0 if it is given none, because
	// it has disconnected or the handler has panicked.
	Status int
	// Header is what Options.Succeeded is shown.
	Header http.Header
	// Own says that the server responds in the app's place: it refuses the request, the
	// app server is down, or what the app server said cannot be carried out.
	Own bool
	// Cost is what the app says that the request has had, in the place of Limit.Cost, if
	// Costed is set: 0 to MaxRequests. It may be more than the limit has left.
	Cost   int64
	Costed bool
}

// isOutage reports a 5xx or 429 of the server's own, which says nothing about the client.
func (resp Response) isOutage() bool {
	return resp.Own && (resp.Status >= 500 || resp.Status == http.StatusTooManyRequests)
}

// NeedsResponse reports whether the Result must be settled: whether a limit
// counts by the response.
func (r *Result) NeedsResponse() bool {
	for i := range r.items {
		if it := &r.items[i]; it.charged && it.settles() {
			return true
		}
	}
	return false
}

// Settle ends the reservations of limits that count by the response. ctx is the
// request's: if it has ended, the client has disconnected.
//
// The request stays charged if its response counts by the limit's [Count], whether the
// app has given it or the server. Without a response it stays charged as well: a client
// that disconnects before the response must pay, since otherwise disconnecting would
// make retries free. A 5xx or 429 of the server's own says nothing about the client: it
// is given back, unless the client has disconnected. What is given back returns to the
// window that it was reserved in.
//
// Where the app has corrected the cost (Response.Cost), what is charged is that, under
// every limit that counts the request, in the window that it was reserved in; a token
// bucket has none, and pays at once. Others have nothing to settle then but that.
//
// Settle is to be called before the response goes out, so that the client's next
// request finds it settled. It waits for Redis, as long as the store's timeout at
// most; what Redis does not learn stays charged. A second call does nothing.
func (r *Result) Settle(ctx context.Context, resp Response) {
	disconnected := ctx.Err() != nil
	pending := false
	for i := range r.items {
		it := &r.items[i]
		if !it.charged {
			continue
		}
		counts := true
		switch {
		case !it.settles(), resp.Status == 0, resp.Own && disconnected:
		case resp.isOutage():
			counts = false
		default:
			counts = it.limit.Count.counts(resp.Status, resp.Header, r.limiter.succeeded)
		}
		switch it.change = 0; {
		case !counts:
			it.change = -it.limit.Cost
		case resp.Costed && !it.leased():
			it.change = min(max(resp.Cost, 0), MaxRequests) - it.limit.Cost
		}
		it.charged = it.settles() || it.change != 0
		pending = pending || it.charged
	}
	if pending {
		r.settle(ctx)
	}
}

// Refund gives everything back, as if the request had not been made: for a
// check that was made for the wrong user.
func (r *Result) Refund(ctx context.Context) {
	pending := false
	for i := range r.items {
		it := &r.items[i]
		it.change = -it.limit.Cost
		pending = pending || it.charged
	}
	r.forgetLeases()
	if pending {
		r.settle(ctx)
	}
}

// settle ends the reservations of the charged items, where they were made.
func (r *Result) settle(ctx context.Context) {
	c := r.limiter.counters
	inRedis, inMemory := false, false
	for i := range r.items {
		if it := &r.items[i]; it.charged {
			inRedis = inRedis || it.source == FromRedis
			inMemory = inMemory || it.source != FromRedis
		}
	}
	if inMemory {
		c.memory.settle(r.items, c.clock())
	}
	if inRedis {
		if err := c.redis.settle(ctx, r.items); err != nil {
			c.complain("what a request had reserved cannot be settled in Redis: it stays counted", err)
		}
	}
	for i := range r.items {
		it := &r.items[i]
		if !it.charged {
			continue
		}
		c.settled(it)
		if it.charged = false; it.change < 0 {
			c.denied.forget(it.key)
		}
		c.lines.settled(it.key)
	}
}

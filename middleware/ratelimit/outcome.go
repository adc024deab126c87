package ratelimit

import (
	"context"
	"net/http"
)

// Outcome is what the limits of one request decided, and what it consumed. It
// belongs to one request and is not safe for concurrent use.
type Outcome struct {
	limiter     *Limiter
	items       []item
	space       [2]item // items, in most cases
	allowed     bool
	unavailable bool
	field       [1]string // RateLimit's value: an http.Header wants a slice
}

// Allowed reports whether the request may pass.
func (o *Outcome) Allowed() bool { return o.allowed }

// Unavailable reports that the request is refused because Redis does not answer,
// by a limit that is Closed: the answer is 503.
func (o *Outcome) Unavailable() bool { return o.unavailable }

// Named is the decision of the limit of that name.
type Named struct {
	Name   string
	DryRun bool
	Source Source
	Decision
}

// Decisions returns what each limit decided, in the order of Options.Limits. A
// limit that does not apply, or could not decide, is left out.
func (o *Outcome) Decisions() []Named {
	all := make([]Named, 0, len(o.items))
	for i := range o.items {
		if it := &o.items[i]; it.decided {
			all = append(all, Named{Name: it.limit.Name, DryRun: it.limit.DryRun, Source: it.source, Decision: it.Decision})
		}
	}
	return all
}

// DeniedBy returns the name of the first limit that denied the request; "" if
// none did.
func (o *Outcome) DeniedBy() string {
	for i := range o.items {
		if it := &o.items[i]; it.vetoes() {
			return it.limit.Name
		}
	}
	return ""
}

// DryRunDeniedBy returns the name of the first limit that would have denied the
// request, if it were not on trial; "" if none would have.
func (o *Outcome) DryRunDeniedBy() string {
	for i := range o.items {
		if it := &o.items[i]; it.decided && !it.Allowed && it.limit.DryRun {
			return it.limit.Name
		}
	}
	return ""
}

// Answer is what became of a request that was let through.
type Answer struct {
	// Status and Header are the app's. Zero means that there was no answer.
	Status int
	Header http.Header
	// Own says that the server answered in the app's place.
	Own bool
	// Left says that the client went away before there was an answer.
	Left bool
}

// NeedsAnswer reports whether Settle has anything to do: whether a limit counts
// by the answer.
func (o *Outcome) NeedsAnswer() bool {
	for i := range o.items {
		if it := &o.items[i]; it.charged && it.settles() {
			return true
		}
	}
	return false
}

// Settle ends the reservations of limits that count by the answer: what does
// not count is given back, in the window that it was reserved in. An answer of
// the server's own is given back too, but not a client that left early. It
// waits for Redis, as long as the store's timeout at most, so that a client's
// next request finds it settled; what Redis does not hear of stays counted. A
// second call does nothing.
func (o *Outcome) Settle(ctx context.Context, a Answer) {
	any := false
	for i := range o.items {
		it := &o.items[i]
		if !it.charged {
			continue
		}
		if !it.settles() {
			it.charged = false
			continue
		}
		any = true
		it.back = !a.Left && (a.Own || a.Status != 0 && !it.limit.Count.counts(a.Status, a.Header, o.limiter.succeeded))
	}
	if any {
		o.settle(ctx)
	}
}

// Refund gives everything back, as if the request had not been made: for a
// check that rested on a wrong guess of who was asking.
func (o *Outcome) Refund(ctx context.Context) {
	any := false
	for i := range o.items {
		it := &o.items[i]
		it.back = it.charged
		any = any || it.charged
	}
	if any {
		o.settle(ctx)
	}
}

func (o *Outcome) settle(ctx context.Context) {
	c := o.limiter.counters
	inRedis, inMemory := false, false
	for i := range o.items {
		if it := &o.items[i]; it.charged {
			inRedis = inRedis || it.source == FromRedis
			inMemory = inMemory || it.source != FromRedis
		}
	}
	if inMemory {
		c.memory.settle(o.items, c.clock())
	}
	if inRedis {
		if err := c.redis.settle(ctx, o.items); err != nil {
			c.complain("what a request had reserved cannot be settled in Redis: it stays counted", err)
		}
	}
	for i := range o.items {
		if it := &o.items[i]; it.charged && it.back {
			c.denied.released(it.key, c.clock())
		}
		o.items[i].charged = false
	}
}

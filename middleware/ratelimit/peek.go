package ratelimit

import (
	"context"
	"fmt"
)

// Preview is what a limit would decide about a request.
type Preview struct {
	Named
	// Key has the values that the request is counted by, in the order of the
	// limit's key, as [Limit.RequestFor] takes them.
	Key []string
	// Plan is the plan that the numbers are for; empty: the limit's own numbers.
	Plan string
	// Requests per window or at once, and the size of the bucket; Burst is 0 where the algorithm has
	// no bucket.
	Requests, Burst int64
}

// Peek tells what [Limiter.Check] would decide about a request now, limit by
// limit, and consumes nothing. Limits that do not apply to the client are left
// out. It fails where Redis has the counters and does not answer.
func (l *Limiter) Peek(ctx context.Context, r *Request) ([]Preview, error) {
	who := *r
	who.account, who.device = "", ""
	return l.peek(ctx, &who)
}

// PeekAttempt tells the same of [Limiter.CheckAttempt], whatever the app's response.
func (l *Limiter) PeekAttempt(ctx context.Context, r *Request, a LoginAttempt) ([]Preview, error) {
	if a.Account == "" {
		return nil, nil
	}
	who := *r
	who.account, who.device = a.Account, a.Device
	return l.peek(ctx, &who)
}

func (l *Limiter) peek(ctx context.Context, r *Request) ([]Preview, error) {
	res := &Result{limiter: l}
	res.items = res.space[:0]
	l.gather(res, r, false)
	c := l.counters
	previews := make([]Preview, 0, len(res.items))
	for i := range res.items {
		// Each is asked by itself: together, one would veto the others.
		one := res.items[i : i+1]
		it, now := &one[0], c.clock()
		switch {
		case it.closes():
		case c.denied.find(it, now) && it.Banned:
			it.source = FromDenyCache
		case c.redis == nil:
			it.source = FromMemory
			c.memory.take(one, now, true)
		default:
			it.source = FromRedis
			if err := c.redis.take(ctx, one, nil, true); err != nil {
				return nil, fmt.Errorf("limit %q cannot be read: %w", it.limit.Name, err)
			}
		}
		p := Preview{Named: Named{Name: it.limit.Name, DryRun: it.limit.DryRun, Source: it.source, Decision: it.Decision}}
		p.Plan, p.Requests, p.Burst = it.variant.plan, it.variant.requests, it.variant.burst
		for _, part := range it.limit.Key {
			p.Key = append(p.Key, part.shown(r))
		}
		previews = append(previews, p)
	}
	return previews, nil
}

// shown is the part's value as an operator gives it.
func (p KeyPart) shown(r *Request) string {
	switch value := p.value(r); {
	case p.Kind == KeyAccount && r.device != "":
		return devicePrefix + r.device + ":" + value
	case p.Kind == KeyIP:
		return r.bucket().String()
	case value == "" && p.fallsBack():
		return "ip:" + r.bucket().String()
	default:
		return value
	}
}

package ratelimit

import (
	"context"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// hold notes the leases of an admitted request, so that they are renewed.
func (r *Result) hold() {
	for i := range r.items {
		it := &r.items[i]
		if !it.leased() || !it.charged {
			continue
		}
		it.held, r.holding = true, true
		if it.source == FromRedis {
			r.limiter.counters.leases.add(it) // memory.take has added those that it has granted
		}
	}
}

// Holds reports whether the request holds a place under a limit of requests in flight,
// and [Result.Release] must be called.
func (r *Result) Holds() bool { return r.holding }

// Release gives back the places that the request holds under limits of requests in
// flight. It is to be called once the response is complete, or there will be none,
// whatever has happened; until then the places are kept. It waits for Redis, as long as
// the store's timeout at most, so that the client's next request finds the place free. A
// place that Redis is not told of is free after 8 seconds. A second call does nothing.
func (r *Result) Release(ctx context.Context) {
	if !r.holding {
		return
	}
	leases := r.limiter.counters.leases
	var cmds []redis.Cmder
	for i := range r.items {
		if it := &r.items[i]; it.held && leases.redis != nil {
			cmds = append(cmds, leases.removal(leases.redis.key(it.variant, it.key, it.tag), it.lease))
		}
	}
	r.forgetLeases()
	if cmds != nil {
		leases.release(ctx, cmds)
	}
}

// forgetLeases ends the renewal of what the request holds.
func (r *Result) forgetLeases() {
	if !r.holding {
		return
	}
	r.holding = false
	for i := range r.items {
		if it := &r.items[i]; it.held {
			it.held = false
			r.limiter.counters.leases.remove(it.key, it.lease)
		}
	}
}

// release sends removals. While Redis is away, leases end there by themselves.
func (ls *leases) release(ctx context.Context, cmds []redis.Cmder) {
	ctx = context.WithoutCancel(ctx) // the client may have gone
	if err := ls.redis.redis.Do(ctx, cmds...); store.Waited(err) {
		go func() { _ = ls.redis.redis.Do(store.Afresh(ctx), cmds...) }() // the request waits no longer
	}
}

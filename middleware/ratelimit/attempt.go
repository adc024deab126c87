package ratelimit

import (
	"context"
	"slices"
	"strings"
)

// LoginAttempt is a request's attempt to log in to an account, as the app tells of it with
// its response.
type LoginAttempt struct {
	// Account is the account's name, compared byte by byte: an app to which Alice and alice
	// are one account must write them alike.
	Account string
	// Device is the ID of a device that is known to have logged in to this account before; ""
	// for all others. It has a counter of its own, so that those who guess can't lock out the
	// account's user. It must be proved: who can make up devices is not limited.
	Device string
	// Response is what the app wants to respond. It shows whether the attempt counts; see [Count].
	Response Response
}

// devicePrefix marks the counter of a known device for operators.
const devicePrefix = "device:"

// splitDevice takes apart what an operator writes for an account's counter.
func splitDevice(value string) (device, account string) {
	if rest, ok := strings.CutPrefix(value, devicePrefix); ok {
		if id, name, ok := strings.Cut(rest, ":"); ok && id != "" && name != "" {
			return id, name
		}
	}
	return "", value
}

// CheckAttempt asks the limits by account, which [Limiter.Check] leaves out: whose account a
// request tries is known only with the app's response. It returns nil where there are none. If
// the Result does not allow it, the client must get [Result.Deny] in the place of that response,
// whatever it says: otherwise guesses beyond the limit would still tell the right password.
//
// An attempt whose response counts by the limit's [Count] is charged at once. One whose response
// does not count is denied if it could not be charged, and else costs nothing. So of all attempts
// at one account, made at whatever instance at whatever time, no more than the limit's requests
// tell that a password is wrong.
//
// r is the request as Check has seen it.
func (l *Limiter) CheckAttempt(ctx context.Context, r *Request, a LoginAttempt) *Result {
	if l.byAccount == 0 || a.Account == "" {
		return nil
	}
	who := *r
	who.account, who.device, who.spare = a.Account, a.Device, nil
	res := l.begin(&who)
	res.attempt = true
	if !l.gather(res, &who, false) {
		return res
	}
	if !l.closed(res) && !l.remembered(res) {
		l.decideAttempt(ctx, res, a.Response)
	}
	l.conclude(res, &who)
	return res
}

// decideAttempt has the counters decide.
func (l *Limiter) decideAttempt(ctx context.Context, res *Result, resp Response) {
	counts := func(it item) bool {
		return !resp.isOutage() && it.limit.Count.counts(resp.Status, resp.Header, l.succeeded)
	}
	slices.SortStableFunc(res.items, func(a, b item) int { return boolean(counts(a)) - boolean(counts(b)) })
	looked := slices.IndexFunc(res.items, counts) // how many are only looked at
	if looked < 0 {
		looked = len(res.items)
	}
	for i := range res.items {
		it := &res.items[i]
		it.asks, it.version = !it.Closed, l.counters.denied.version(it.key)
	}
	l.askAttempt(ctx, res, looked)
	for i := range res.items {
		res.allowed = res.allowed && !res.items[i].vetoes()
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// askAttempt asks Redis, or the counters of this process.
func (l *Limiter) askAttempt(ctx context.Context, res *Result, looked int) {
	c := l.counters
	if c.redis == nil {
		_ = inTurn(res.items, looked, func(items []item, look bool) error {
			from(items, FromMemory)
			c.memory.take(items, c.clock(), look)
			return nil
		})
		return
	}
	begin := c.now()
	err := inTurn(res.items, looked, func(items []item, look bool) error {
		from(items, FromRedis)
		err := c.redis.take(ctx, items, nil, look)
		if err == nil && !look {
			c.learn(items)
		}
		return err
	})
	c.observer.RoundTrip(c.now().Sub(begin), err)
	if err == nil {
		c.redisDecided()
		return
	}
	c.complain("rate limits cannot be checked in Redis", err)
	if l.fallBack(res) {
		_ = inTurn(res.items, looked, func(items []item, look bool) error {
			c.locally(items, look, err, true)
			return nil
		})
	}
}

// inTurn looks at the limits by which the attempt does not count, and charges the others if
// none of those denies it. A limit that is only looked at decides at that moment, which is why
// nothing has to be given back where another one changes meanwhile.
func inTurn(items []item, looked int, take func(items []item, look bool) error) error {
	for _, part := range []struct {
		items []item
		look  bool
	}{{items[:looked], true}, {items[looked:], false}} {
		if !slices.ContainsFunc(part.items, func(it item) bool { return it.asks }) {
			continue
		}
		err := take(part.items, part.look)
		denied := false
		for i := range part.items {
			it := &part.items[i]
			it.charged = false // for good: there is nothing to settle
			denied = denied || it.vetoes()
		}
		if err != nil || denied {
			return err
		}
	}
	return nil
}

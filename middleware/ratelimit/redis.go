package ratelimit

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// redisCounters decides in Redis, by the scripts in the lua folder.
//
// All limits of a request are decided by one script, in one round trip. In a
// Cluster a script sees one slot only: there, each client's limits share a hash
// tag, and what has another (a limit by user beside one by IP) is a script of
// its own in the same pipeline. When one of them denies, what the others
// consumed is refunded: for that moment too few may be admitted, never too
// many.
type redisCounters struct {
	redis   *store.Redis
	scripts *scripts
	prefix  string // of every counter's key
	cluster bool
	// leaseText is a lease's ID as Redis has it.
	leaseText func(id uint64) string
	// clock replaces Redis' own in tests; nil otherwise.
	clock func() int64
}

func newRedisCounters(r *store.Redis) *redisCounters {
	return &redisCounters{
		redis:   r,
		scripts: newScripts(),
		prefix:  r.Key("limit", "{"),
		cluster: r.IsCluster(),
	}
}

// call is one script's run, and the items it decides.
type call struct {
	*store.Call
	members uint64 // a bit per item; MaxLimits are at most 32
	granted bool
}

// take decides items, all or nothing. After an error nothing of it is known.
func (rc *redisCounters) take(ctx context.Context, items []item, batch *store.Batch, peek bool) error {
	var space [2]call
	calls := rc.calls(space[:0], items, func(members uint64) *store.Call { return rc.checkCall(items, members, peek) })
	if err := rc.send(ctx, calls, batch); err != nil {
		return err
	}
	all, some := true, false
	for i := range calls {
		if err := calls[i].read(items); err != nil {
			return err
		}
		all = all && calls[i].granted
		some = some || calls[i].granted
	}
	if all || !some || peek {
		return nil
	}
	return rc.refundScattered(ctx, items)
}

// refundScattered gives back what some slots consumed before another denied. If the
// refund fails, too much stays counted, and the decision stands.
func (rc *redisCounters) refundScattered(ctx context.Context, items []item) error {
	for i := range items {
		if it := &items[i]; it.charged {
			it.change = -it.limit.Cost
			it.Remaining += it.limit.Cost
		}
	}
	err := rc.settle(ctx, items)
	for i := range items {
		items[i].charged = false
	}
	if err != nil {
		return fmt.Errorf("refund after another slot denied: %w", err)
	}
	return nil
}

// settle ends the reservations of the charged items.
func (rc *redisCounters) settle(ctx context.Context, items []item) error {
	var space [2]call
	calls := rc.calls(space[:0], items, func(members uint64) *store.Call { return rc.settleCall(items, members) })
	switch err := rc.send(ctx, calls, nil); {
	case store.Waited(err):
		// The request does not wait any longer, but Redis must learn of it all the same: what
		// is not settled stays charged.
		later := slices.Clone(calls)
		go func() { _ = rc.send(store.Afresh(ctx), later, nil) }()
		return nil
	case err != nil:
		return err
	}
	for i := range calls {
		if err := calls[i].Err(); err != nil {
			return err
		}
	}
	return nil
}

// calls makes a call for each slot's items: one for all but in a Cluster.
func (rc *redisCounters) calls(calls []call, items []item, makeCall func(members uint64) *store.Call) []call {
	var done uint64
	for i := range items {
		if done&(1<<i) != 0 || !items[i].asks {
			continue
		}
		members := uint64(1) << i
		for j := i + 1; j < len(items); j++ {
			if items[j].asks && (!rc.cluster || items[j].tag == items[i].tag) {
				members |= 1 << j
			}
		}
		done |= members
		if c := makeCall(members); c != nil {
			calls = append(calls, call{Call: c, members: members})
		}
	}
	return calls
}

func (rc *redisCounters) send(ctx context.Context, calls []call, batch *store.Batch) error {
	// A client that disconnects must neither count as a failure of Redis, nor escape
	// its own count.
	ctx = context.WithoutCancel(ctx)
	var space [2]redis.Cmder
	cmds := space[:0]
	for i := range calls {
		cmds = append(cmds, calls[i].Call)
	}
	if batch != nil {
		return batch.Send(ctx, cmds...)
	}
	return rc.redis.Do(ctx, cmds...)
}

func (rc *redisCounters) checkCall(items []item, members uint64, peek bool) *store.Call {
	mode := "take"
	if peek {
		mode = "peek"
	}
	keys := make([]string, 0, 2*len(items))
	args := append(make([]any, 0, 2+6*len(items)), rc.time(), mode)
	var all needs
	for i := range items {
		if members&(1<<i) == 0 {
			continue
		}
		it := &items[i]
		keys = rc.appendKeys(keys, it, it.limit.bans())
		args = append(args, it.args...)
		if it.leased() && !peek {
			args[len(args)-1] = it.args[5].(string) + rc.leaseText(it.lease)
		}
		all |= it.needs
	}
	return rc.scripts.checkFor(all).Call(keys, args...)
}

func (rc *redisCounters) settleCall(items []item, members uint64) *store.Call {
	var keys []string
	args := []any{rc.time()}
	var all needs
	for i := range items {
		it := &items[i]
		if members&(1<<i) == 0 || !it.charged || it.source != FromRedis {
			continue
		}
		keys = rc.appendKeys(keys, it, false)
		flags := ""
		if it.settles() {
			flags = "s"
		}
		if it.leased() {
			flags += rc.leaseText(it.lease)
		}
		args = append(append(args, it.args[:5]...), flags, it.mark, it.pendingMark, it.change)
		all |= it.needs
	}
	if keys == nil {
		return nil
	}
	return rc.scripts.settleFor(all).Call(keys, args...)
}

// time is the script's argument: empty for Redis' own clock.
func (rc *redisCounters) time() string {
	if rc.clock == nil {
		return ""
	}
	return strconv.FormatInt(rc.clock(), 10)
}

// appendKeys appends the keys of an item, in the scripts' order.
func (rc *redisCounters) appendKeys(keys []string, it *item, ban bool) []string {
	key := rc.key(it.variant, it.key, it.tag)
	keys = append(keys, key)
	if it.settles() {
		keys = append(keys, key+pendingSuffix)
	}
	if ban {
		keys = append(keys, rc.banKey(it)+banSuffix)
	}
	return keys
}

const (
	pendingSuffix = ":pending"
	banSuffix     = ":ban"
	denialsSuffix = ":denials"
)

// key is headgate:limit:{TAG}:NAME:IDENTITY, and the whole key's digest behind
// it where the tag covers but a part of it.
func (rc *redisCounters) key(v *variant, k counterKey, tag digest) string {
	return rc.keyOf(v.redis, k, tag)
}

// banKey is headgate:limit:{TAG}:NAME, and so on: a ban outlasts the limit's identity.
func (rc *redisCounters) banKey(it *item) string { return rc.keyOf(it.limit.Name, it.key, it.tag) }

func (rc *redisCounters) keyOf(of string, k counterKey, tag digest) string {
	var space [256]byte
	b := append(space[:0], rc.prefix...)
	b = hex.AppendEncode(b, tag[:])
	b = append(b, "}:"...)
	b = append(b, of...)
	if k.digest != tag {
		b = append(b, ':')
		b = hex.AppendEncode(b, k.digest[:])
	}
	return string(b)
}

// read takes the script's reply into the items.
func (c *call) read(items []item) error {
	reply, err := c.Int64Slice()
	if err != nil {
		return err
	}
	if len(reply) < 1 {
		return fmt.Errorf("check.lua answered nothing")
	}
	c.granted = reply[0] == 1
	reply = reply[1:]
	for i := range items {
		if c.members&(1<<i) == 0 {
			continue
		}
		if len(reply) < 6 {
			return fmt.Errorf("check.lua answered for too few limits")
		}
		it := &items[i]
		it.status = status(reply[0])
		it.charged = c.granted && it.status == fits
		it.mark, it.pendingMark = reply[4], reply[5]
		it.decide(Decision{
			Allowed:    it.status == fits,
			Limit:      it.capacity(),
			Remaining:  reply[1],
			Reset:      micros(reply[2]),
			RetryAfter: micros(reply[3]),
		})
		reply = reply[6:]
	}
	return nil
}

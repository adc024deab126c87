package ratelimit

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// State is a counter as an operator sees it.
type State struct {
	Plan string // "" is the limit's own size, for clients without a plan
	Decision
}

// Inspect tells what a request of the limit's cost would be told now, without
// consuming, at the limit's own size and at each plan's. values are those of
// the parts of the limit's key, in order; see [Limit.RequestFor].
func (c *Counters) Inspect(ctx context.Context, l Limit, values ...string) ([]State, error) {
	items, plans, err := keyed(l, values)
	if err != nil {
		return nil, err
	}
	// Each is asked by itself: together, one would veto the others.
	states := make([]State, len(items))
	for i := range items {
		one := items[i : i+1]
		now := c.clock()
		switch {
		case one[0].closes():
		case c.denied.find(&one[0], now) && one[0].Banned:
		case c.redis == nil:
			c.memory.take(one, now, true)
		default:
			if err := c.redis.take(ctx, one, nil, true); err != nil {
				return nil, fmt.Errorf("limit %q cannot be read: %w", l.Name, err)
			}
		}
		states[i] = State{Plan: plans[i], Decision: one[0].Decision}
	}
	return states, nil
}

// Reset forgets what is counted for one key, at the limit's own size and at
// each plan's: its counters, its ban and what is remembered of its denials,
// here at once and in other instances within a second.
func (c *Counters) Reset(ctx context.Context, l Limit, values ...string) error {
	items, _, err := keyed(l, values)
	if err != nil {
		return err
	}
	return c.reset(ctx, l.Name, items)
}

// ResetListed is Reset for a key that [Counters.DeniedKeys] lists, by its values as they are listed there, some of which
// may be masked. It reports whether there is such a key.
func (c *Counters) ResetListed(ctx context.Context, l Limit, values ...string) (bool, error) {
	listed, err := c.DeniedKeys(ctx)
	if err != nil {
		return false, fmt.Errorf("who is denied cannot be read: %w", err)
	}
	for _, k := range listed.Keys {
		all, ok1 := parseDigest(k.Key)
		tag, ok2 := parseDigest(k.tag)
		if k.Limit != l.Name || !slices.Equal(k.Values, values) || !ok1 || !ok2 {
			continue
		}
		b, err := bind(l)
		if err != nil {
			return false, err
		}
		items, _ := sized(b, all, tag)
		return true, c.reset(ctx, l.Name, items)
	}
	return false, nil
}

// reset forgets the counters of items, which are one key at all sizes of a limit.
func (c *Counters) reset(ctx context.Context, limit string, items []item) error {
	keys := []counterKey{items[0].banKey()}
	for i := range items {
		keys = append(keys, items[i].key)
	}
	// Before and after Redis: a check under way may yet bring its denial home.
	forget := func() {
		for _, k := range keys {
			c.forget(k)
		}
	}
	forget()
	if c.redis == nil {
		return nil
	}
	defer forget()
	ban := c.redis.banKey(&items[0])
	listed := c.fleet.keys()
	cmds := []redis.Cmder{
		redis.NewIntCmd(ctx, "del", ban+banSuffix, ban+denialsSuffix),
		redis.NewIntCmd(ctx, "zrem", listed[1], items[0].banKey().text()),
		redis.NewIntCmd(ctx, "hdel", listed[2], items[0].banKey().text()),
	}
	for i := range items {
		key := c.redis.key(items[i].variant, items[i].key, items[i].tag)
		cmds = append(cmds, redis.NewIntCmd(ctx, "del", key, key+pendingSuffix))
	}
	if err := c.redis.redis.Do(ctx, cmds...); err != nil {
		return fmt.Errorf("limit %q cannot be reset: %w", limit, err)
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return fmt.Errorf("limit %q cannot be reset: %w", limit, err)
		}
	}
	if err := c.listener.announce(ctx, keys); err != nil {
		return fmt.Errorf("limit %q is reset, but other instances cannot be told: %w", limit, err)
	}
	return nil
}

// forget drops what this instance knows of a counter.
func (c *Counters) forget(k counterKey) {
	c.memory.reset(k)
	if c.reports != nil {
		c.reports.forget(k)
	}
	c.bans.forget(k)
	c.denied.forget(k)
	c.banned.forget(k)
	if c.top.forget(k) {
		c.fleet.wake()
	}
}

// keyed returns an item for each size of the limit.
func keyed(l Limit, values []string) (items []item, plans []string, err error) {
	b, err := bind(l)
	if err != nil {
		return nil, nil, err
	}
	r, err := b.RequestFor(values...)
	if err != nil {
		return nil, nil, err
	}
	all, tag := digests(b.Key, &r)
	items, plans = sized(b, all, tag)
	return items, plans, nil
}

// sized returns an item of a key for each size of the limit.
func sized(b *bound, all, tag digest) (items []item, plans []string) {
	plans = append([]string{""}, slices.Sorted(maps.Keys(b.Plans))...)
	for _, plan := range plans {
		v := b.sizeFor(plan)
		items = append(items, item{limit: b, variant: v, key: counterKey{v.id, all}, tag: tag, asks: true, source: FromRedis})
	}
	return items, plans
}

// RequestFor returns a request that has these values for the parts of the
// limit's key, in order. For ip it is an address (an IPv6 client's as it is
// counted, its prefix); elsewhere "ip:ADDRESS" stands for the address that is
// counted in the place of a missing value. For account it is the account, or
// "device:ID:ACCOUNT" for one of the devices that are known to it.
func (l Limit) RequestFor(values ...string) (Request, error) {
	l.SetDefaults()
	r := Request{Header: make(map[string][]string), inspected: true}
	if len(values) != len(l.Key) {
		return r, fmt.Errorf("limit %q is keyed by %s: give %d values, not %d", l.Name, keyText(l.Key), len(l.Key), len(values))
	}
	for i, p := range l.Key {
		value := values[i]
		if fallback, ok := strings.CutPrefix(value, "ip:"); ok && p.fallsBack() && p.Kind != KeyIP {
			addr, err := netip.ParseAddr(fallback)
			if err == nil {
				r.Addr = addr.Unmap().WithZone("")
				continue
			}
		}
		switch p.Kind {
		case KeyIP:
			addr, err := netip.ParseAddr(value)
			if err != nil {
				return r, fmt.Errorf("limit %q: %q is not an IP address: %w", l.Name, value, err)
			}
			r.Addr = addr.Unmap().WithZone("")
		case KeyClient:
			r.Client = value
		case KeyUser:
			r.User = value
		case KeySession:
			r.Session = value
		case KeyRoute:
			r.Route = value
		case KeyHost:
			r.Host = value
		case KeyMethod:
			r.Method = value
		case KeyHeader:
			r.Header.Set(p.Name, value)
		case KeyCookie:
			r.Header["Cookie"] = append(slices.Clone(r.Header["Cookie"]), p.Name+"="+value)
		case KeyParam:
			if r.Params == nil {
				r.Params = namedParams{}
			}
			r.Params.(namedParams)[p.Name] = url.PathEscape(value)
		case KeyAccount:
			r.device, r.account = splitDevice(value)
		case KeyQuery:
			r.Query += url.QueryEscape(p.Name) + "=" + url.QueryEscape(value) + "&"
		}
	}
	return r, nil
}

func keyText(key []KeyPart) string {
	parts := make([]string, len(key))
	for i, p := range key {
		parts[i] = p.String()
	}
	return strings.Join(parts, ", ")
}

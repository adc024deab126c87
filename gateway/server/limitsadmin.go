package server

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// limitsAdmin lets operators see and reset the limits of the running policy.
type limitsAdmin struct{ server *Server }

// limitState is a counter as the admin listener shows it.
type limitState struct {
	Limit      string `json:"limit"`
	Plan       string `json:"plan,omitempty"`
	Admits     bool   `json:"admits"` // a request made now
	Requests   int64  `json:"requests"`
	Remaining  int64  `json:"remaining"`
	Reset      int64  `json:"reset_seconds"`
	RetryAfter int64  `json:"retry_after_seconds,omitempty"`
	Banned     bool   `json:"banned,omitempty"`
}

// Denied implements admin.Limits.
func (a limitsAdmin) Denied(ctx context.Context) (admin.DeniedLimits, error) {
	counters := a.server.parts.counters
	denied, err := counters.DeniedKeys(ctx)
	list := admin.DeniedLimits{Limits: []admin.DeniedLimit{}, Bans: denied.Bans}
	switch {
	case err != nil:
		list.Note = "Redis does not say whom other instances deny; this is about one instance alone: " + err.Error()
	case !denied.Fleet:
		list.Note = "there is no Redis: this is about one gateway alone"
	}
	at := map[string]int{}
	for _, k := range denied.Keys {
		i, there := at[k.Limit]
		if !there {
			i = len(list.Limits)
			at[k.Limit] = i
			l := admin.DeniedLimit{Limit: k.Limit}
			if limit, ok := a.server.current.Load().Limit(k.Limit); ok {
				l.KeyedBy = ratelimit.KeyWords(limit.Key)
			}
			list.Limits = append(list.Limits, l)
		}
		list.Limits[i].Keys = append(list.Limits[i].Keys, admin.DeniedKey{
			Key: k.Values, Denials: k.Denials, RetryAfter: ratelimit.Seconds(k.RetryAfter), Banned: k.Banned, LastDenied: k.Last.UTC(),
		})
	}
	slices.SortFunc(list.Limits, func(a, b admin.DeniedLimit) int { return cmp.Compare(a.Limit, b.Limit) })
	return list, nil
}

// Inspect implements admin.Limits.
func (a limitsAdmin) Inspect(ctx context.Context, name string, key []string) (any, error) {
	limit, key, err := a.find(name, key)
	if err != nil {
		return nil, err
	}
	states, err := a.server.parts.counters.Inspect(ctx, limit, key...)
	if err != nil {
		return nil, away(err)
	}
	shown := make([]limitState, 0, len(states))
	for _, s := range states {
		shown = append(shown, limitState{
			Limit: name, Plan: s.Plan, Admits: s.Allowed, Requests: s.Limit, Remaining: s.Remaining,
			Reset: ratelimit.Seconds(s.Reset), RetryAfter: ratelimit.Seconds(s.RetryAfter), Banned: s.Banned,
		})
	}
	return shown, nil
}

// Reset implements admin.Limits.
func (a limitsAdmin) Reset(ctx context.Context, name string, key []string) error {
	limit, key, err := a.find(name, key)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(key, ratelimit.IsMasked) { // as a list shows it
		if found, err := a.server.parts.counters.ResetListed(ctx, limit, key...); found || err != nil {
			return away(err)
		}
	}
	return away(a.server.parts.counters.Reset(ctx, limit, key...))
}

// find returns the limit and the key as it is counted: operators give a
// client's address, but an IPv6 client is its prefix.
func (a limitsAdmin) find(name string, key []string) (ratelimit.Limit, []string, error) {
	gen := a.server.current.Load()
	limit, ok := gen.Limit(name)
	if !ok {
		return limit, nil, fmt.Errorf("%w: the running policy has no limit %q", admin.ErrNotFound, name)
	}
	parts := limit.Key
	if len(key) != len(parts) {
		return limit, nil, fmt.Errorf("%w: limit %q is counted by %v, so give key=VALUE %d times, in that order", admin.ErrBadKey, name, parts, len(parts))
	}
	counted := make([]string, len(key))
	for i, v := range key {
		if counted[i] = v; parts[i].Kind != ratelimit.KeyIP {
			continue
		}
		addr, err := netip.ParseAddr(v)
		if err != nil {
			return limit, nil, fmt.Errorf("%w: %q is not an IP address", admin.ErrBadKey, v)
		}
		counted[i] = gen.Resolver().Bucket(addr.Unmap().WithZone("")).String()
	}
	if _, err := limit.RequestFor(counted...); err != nil {
		return limit, nil, fmt.Errorf("%w: %w", admin.ErrBadKey, err)
	}
	return limit, counted, nil
}

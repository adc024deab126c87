package pipeline

import (
	"fmt"
	"time"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
)

// Limit returns a policy's limit as package ratelimit enforces it. Whoever else
// asks what a policy would do, such as `headgate replay`, gets it from here.
func Limit(name string, l *policies.Limit) (ratelimit.Limit, error) {
	key, err := ratelimit.ParseKey(l.Key...)
	if err != nil {
		return ratelimit.Limit{}, fmt.Errorf("limit %s: %w", name, err)
	}
	limit := ratelimit.Limit{
		Name:         name,
		Algorithm:    ratelimit.Algorithm(l.Algorithm),
		Key:          key,
		Requests:     int64(l.Requests),
		Window:       l.Window,
		Burst:        int64(l.Burst),
		Cost:         int64(l.Cost),
		Count:        ratelimit.Count{Failed: l.Count.Failed, Statuses: l.Count.Statuses},
		DryRun:       l.DryRun,
		OnRedisError: ratelimit.OnRedisError(l.OnRedisError),
		Allow:        l.Allow,
	}
	if len(l.Plans) > 0 {
		limit.Plans = make(map[string]int64, len(l.Plans))
		for plan, n := range l.Plans {
			limit.Plans[plan] = int64(n)
		}
	}
	if l.Ban != nil {
		limit.Ban = ratelimit.Ban{After: int64(l.Ban.After), For: l.Ban.For}
	}
	return limit, limit.Validate()
}

// noneIfZero turns a policy's "0 is no bound" into the proxy's.
func noneIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func newCacheRule(name string, p *policies.Cache) (cache.Rule, error) {
	rule := cache.Rule{
		Name:                 name,
		TTL:                  p.TTL,
		ForceTTL:             p.ForceTTL,
		StaleWhileRevalidate: p.StaleWhileRevalidate,
		StaleIfError:         p.StaleIfError,
		Heuristic:            p.Heuristic,
		Tags:                 p.Tags,
		IgnoreQuery:          p.IgnoreQuery,
		Query:                p.Query,
		IgnoreCookies:        p.IgnoreCookies,
		KeyHeaders:           p.KeyHeaders,
		MaxBody:              p.MaxBody,
	}
	if p.Query != nil && len(p.Query) == 0 { // none makes a difference
		rule.IgnoreQuery = []string{"*"}
	}
	if len(p.Errors) > 0 {
		rule.Errors = make(map[int]time.Duration, len(p.Errors))
		for status, ttl := range p.Errors {
			rule.Errors[status] = ttl
		}
	}
	if err := rule.Check(); err != nil {
		return rule, fmt.Errorf("cache %s: %w", name, err)
	}
	return rule, nil
}

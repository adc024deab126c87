package server

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/store"
)

// health is what /readyz tells.
func (s *Server) health() admin.Health {
	h := admin.Health{Draining: s.draining.Load()}
	if u := s.unheeded.Load(); u != nil && !s.current.Load().Resolver().Trusts(u.peer) {
		h.Warnings = append(h.Warnings, u.String())
	}
	redis := s.parts.redis
	if redis == nil {
		return h
	}
	for _, f := range redis.Features() {
		h.Features = append(h.Features, f.Name+": "+stateOf(f))
		if f.Away != nil || f.RefusesWrites != nil {
			h.Degraded = []string{"redis"}
		}
	}
	for _, warning := range []*string{s.evicts.Load(), s.evictsJobs.Load()} {
		if warning != nil && *warning != "" {
			h.Warnings = append(h.Warnings, *warning)
		}
	}
	return h
}

// lost is what each feature does not do while Redis is away, and while it refuses writes.
var lost = map[string][2]string{
	"limits":   {"counted by this instance alone", "counted by this instance alone"},
	"sessions": {"none can be read or begun", "no new logins"},
	"cache":    {"not used", "nothing new is stored"},
	"jobs":     {"none are taken, done or shown", "none are taken or done"},
}

// stateOf says what works of a feature, and since when not all does.
func stateOf(f store.Feature) string {
	what, trouble := lost[f.Name][0], f.Away
	if trouble == nil {
		what, trouble = lost[f.Name][1], f.RefusesWrites
	}
	if trouble == nil {
		return "ok"
	}
	return fmt.Sprintf("%s since %s: %v", what, trouble.Since.UTC().Format(time.RFC3339), trouble.Err)
}

// watchJobsEviction warns, when the queues are opened and when it changes, where Redis could evict jobs.
func (s *Server) watchJobsEviction(redis *store.Redis) {
	redis.OnFacts(func(f store.Facts) {
		warning := ""
		if f.Evicts() {
			warning = fmt.Sprintf("Redis has maxmemory-policy %s: when its memory is full it may evict jobs; "+
				"set maxmemory-policy noeviction, or give jobs a Redis of their own, redis.jobs", f.Policy)
		}
		before := s.evictsJobs.Swap(&warning)
		if warning != "" && (before == nil || *before != warning) {
			s.log.Warn(warning)
		}
	})
}

// watchEviction warns, at the start and when it changes, where Redis could evict sessions.
func (s *Server) watchEviction() {
	if s.parts.redis == nil {
		return
	}
	s.parts.redis.Sessions.OnFacts(func(store.Facts) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		warning, err := s.parts.sessions.CheckEviction(ctx)
		if err != nil {
			return // an outage, which is told elsewhere
		}
		before := s.evicts.Swap(&warning)
		if warning != "" && (before == nil || *before != warning) {
			s.log.Warn(warning)
		}
	})
}

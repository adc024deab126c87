package replay

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// notes tell the operator what to keep in mind when reading the report: what this policy depends on and the logs do
// not have.
func (rp *replayer) notes() []string {
	n := []string{}
	e := rp.policy.engine
	ownOnly, coarse := true, false
	for _, l := range rp.report.Logs {
		ownOnly = ownOnly && l.Format == logs.Headgate
		coarse = coarse || l.Format.Coarse()
		if l.Late > 0 {
			n = append(n, fmt.Sprintf("%s is out of order: %d lines came up to %s too late, and were counted at the time that had been reached. Sort it, or raise --reorder.",
				l.Name, l.Late, duration(l.WorstLate)))
		}
	}
	if coarse && slices.ContainsFunc(e.limits, func(name string) bool {
		l := e.policy.Limits[name]
		return l.Concurrent == 0 && l.Window.Seconds() < 10
	}) {
		n = append(n, "The log's times are whole seconds: what limits with windows of a few seconds would do is less certain than the rest.")
	}
	if slices.ContainsFunc(e.limits, func(name string) bool { return e.policy.Limits[name].Concurrent > 0 }) {
		switch {
		case e.untimed:
			n = append(n, "The log does not tell how long each request took: limits of requests in flight (concurrent) took those for over at once, and denied too few.")
		case coarse:
			n = append(n, "The log's times are whole seconds: how many requests were in flight at once (concurrent) is less certain than the rest.")
		}
	}
	if coarse && rp.options.Host == "" && slices.ContainsFunc(e.routes, func(r *pipeline.Route) bool { return len(r.Policy.Host) > 0 }) {
		n = append(n, "The log does not tell the host, and routes for certain hosts therefore matched nothing. Name it with --host.")
	}
	if unknown := rp.unknownKeys(ownOnly); len(unknown) > 0 {
		n = append(n, "The log does not tell "+strings.Join(unknown, ", ")+"; what is keyed by that was counted by IP.")
	}
	if !ownOnly && slices.ContainsFunc(e.limits, func(name string) bool { _, ok := e.policy.Limits[name].Plans[ratelimit.PlanUser]; return ok }) {
		n = append(n, "The log does not tell who was logged in: nothing was counted under the plan user.")
	}
	for _, name := range e.limits {
		if l := e.policy.Limits[name]; l.Requests == 0 || slices.Contains(slices.Collect(maps.Values(l.Plans)), 0) {
			n = append(n, "The limit "+name+" admits no requests, or none of a plan: what it denies for that gets 403, not 429.")
		}
	}
	if slices.ContainsFunc(e.limits, func(name string) bool { return e.policy.Limits[name].ByAccount() }) {
		n = append(n, "The log does not tell whose account was tried to log in to: limits by account were not counted, and what they denied is not known.")
	}
	n = append(n, e.notesOfJobs()...)
	for _, r := range e.routes {
		if len(r.Policy.Match.Headers)+len(r.Policy.Match.Cookies) > 0 && !ownOnly {
			n = append(n, "The log does not tell request headers: routes that ask for some match nothing, unless our own log names the route.")
			break
		}
	}
	for _, r := range e.routes {
		if len(r.Policy.Match.Plan) > 0 && !ownOnly {
			n = append(n, "The log does not tell API keys: routes that ask for a plan match nothing.")
			break
		}
	}
	for _, r := range e.routes {
		if r.Policy.Match.Scheme != "" && e.policy.Server.PublicScheme == "" {
			n = append(n, "The log does not tell the scheme: every request was taken for "+e.scheme+", which decides on routes that ask for one.")
			break
		}
	}
	if !ownOnly && slices.ContainsFunc(e.routes, func(r *pipeline.Route) bool { return r.Policy.Session == session.Login && r.Limiter() != nil }) {
		n = append(n, "On login routes a status below 400 was taken for a login, as the log does not tell Headgate-Login.")
	}
	if rp.report.Live.OnlyLive > 0 && slices.ContainsFunc(e.limits, func(name string) bool { return !e.policy.Limits[name].Count.All() }) {
		n = append(n, "What was denied live has no answer of the app's: limits that count by the answer took the denial for it.")
	}
	if rp.refused > 0 {
		n = append(n, fmt.Sprintf("Live, %s requests were refused by server.deny or by blocks (headgate block). Here the policy's server.deny alone counts; nothing is known of blocks.",
			count(rp.refused)))
	}
	if slices.ContainsFunc(e.routes, func(r *pipeline.Route) bool { return r.Policy.Compress != nil }) {
		n = append(n, "Nothing is known of what compress would make of the answers: a log does not tell their types, or what encodings the clients accept.")
	}
	if e.cache != nil {
		n = append(n, "The cache figures are an estimate. A log does not tell what the origin says (Cache-Control, Vary, Set-Cookie, its own tags) or what cookies and Authorization "+
			"the client sent: any of these may keep an answer out of the cache.")
		if e.cache.queries {
			n = append(n, "The log does not have the content of QUERY requests, which is part of the cache's key: all of them were taken to go to the origin.")
		}
		if rp.options.AssumeTTL == 0 && slices.ContainsFunc(e.routes, func(r *pipeline.Route) bool {
			c := e.policy.Caches[r.Policy.Cache]
			return c != nil && c.TTL == 0 && c.ForceTTL == 0
		}) {
			n = append(n, "A cache rule leaves freshness to the origin, and was taken to cache nothing. Say how long the origin allows with --assume-ttl.")
		}
	}
	return n
}

// notesOfJobs say what is not known of jobs.
func (e *engine) notesOfJobs() (n []string) {
	if len(e.policy.Queues) > 0 {
		n = append(n, "Nothing is known of jobs: every request of a route with a queue counts as taken, and what a full queue (max_bytes) or an Idempotency-Key would have refused is not known.")
	}
	if slices.ContainsFunc(e.routes, func(r *pipeline.Route) bool {
		return r.Policy.Queue.Name != "" && r.Policy.Queue.When == policies.QueueAsked
	}) {
		n = append(n, "The log does not tell which requests asked for Prefer: respond-async: on routes with queue: {when: asked} all of them were taken for forwarded.")
	}
	return n
}

// unknownKeys are the parts of limits' keys that the logs do not have.
func (rp *replayer) unknownKeys(ownOnly bool) []string {
	var unknown []string
	e := rp.policy.engine
	for _, name := range e.limits {
		for _, part := range e.policy.Limits[name].Key {
			known := true
			switch part.Kind {
			case ratelimit.KeyClient, ratelimit.KeyUser, ratelimit.KeySession:
				known = ownOnly
			case ratelimit.KeyHeader:
				known = part.Name == "User-Agent" || part.Name == "Referer"
			case ratelimit.KeyCookie:
				known = false
			}
			if s := part.String(); !known && !slices.Contains(unknown, s) {
				unknown = append(unknown, s)
			}
		}
	}
	return unknown
}

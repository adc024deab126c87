package pipeline

import (
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/policies"
)

// findRoute finds the route that takes the request. Where none does, the limits of
// defaults are asked before noRoute answers. PURGE has a way of its own where the policy has purge_method.
func findRoute(r *Request) *Answer {
	if r.Method == methodPurge && r.pipeline.purger != nil {
		r.Match, r.Route = policies.Match{Index: -1}, r.pipeline.purger
		return nil
	}
	r.asked = policies.Request{
		Host:     r.Host,
		Path:     r.Path.RawPath,
		Scheme:   r.Scheme,
		Method:   r.Method,
		Header:   r.Header,
		RawQuery: r.Query,
		ClientIP: r.Info.Addr,
	}
	if r.asksForJob() {
		r.Match, r.Route = policies.Match{Index: -1}, r.pipeline.jobs
		return r.refuseEncodedSlash()
	}
	if r.pipeline.matcher.ByPlan() {
		if owner := r.backends.KeyOwner(r); owner != nil {
			r.asked.Plan = owner.Plan
		}
	}
	var m policies.Match
	if r.attempts == nil {
		m = r.pipeline.matcher.Match(&r.asked)
	} else {
		m, *r.attempts = r.pipeline.matcher.Explain(&r.asked)
	}
	r.Match = m
	if m.Index >= 0 {
		r.Route = r.pipeline.routes[m.Index]
		return r.refuseEncodedSlash()
	}
	if r.Route = r.pipeline.unrouted; r.Route == nil {
		return noRoute(r)
	}
	return nil
}

// refuseEncodedSlash answers a path that an app server may split at other places than the
// gateway, unless the route keeps such paths. As with a path that is malformed, no limit
// is asked.
func (r *Request) refuseEncodedSlash() *Answer {
	if !httpx.HasEncodedSlash(r.Path.RawPath) || r.Route.Policy.EncodedSlashes == policies.EncodedSlashesKeep {
		return nil
	}
	return refuse(http.StatusBadRequest, "The path has an encoded slash or backslash, which could be read as another path.")
}

// OtherCachePlan is the CachePlan of the same request with another method, which another
// route may take.
func (r *Request) OtherCachePlan(method string) cache.Plan {
	var other Request
	other.Begin(r, r.pipeline, r.backends)
	other.Method, other.Target, other.Authority, other.Scheme = method, r.Target, r.Authority, r.Scheme
	other.Query, other.Header, other.Path, other.Host, other.Info = r.Query, r.Header, r.Path, r.Host, r.Info
	if findRoute(&other) != nil || other.Match.Index < 0 {
		return cache.Plan{}
	}
	return other.CachePlan()
}

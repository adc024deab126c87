package pipeline

import (
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/policies"
)

// findRoute finds the route that takes the request. Where none does, the limits of
// defaults are asked before noRoute answers.
func findRoute(r *Request) *Answer {
	r.asked = policies.Request{
		Host:     r.Host,
		Path:     r.Path.RawPath,
		Method:   r.Method,
		Header:   r.Header,
		RawQuery: r.Query,
		ClientIP: r.Info.Addr,
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
		return nil
	}
	if r.Route = r.pipeline.unrouted; r.Route == nil {
		return noRoute(r)
	}
	return nil
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

package pipeline

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/policies"
)

// findRoute finds the route that takes the request.
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
	switch m.Outcome {
	case policies.NotFound:
		return refuse(http.StatusNotFound, "No route of this gateway fits the request.")
	case policies.MethodNotAllowed:
		return refuse(http.StatusMethodNotAllowed, "This path is not served with "+observe.MethodLabel(r.Method)+".").
			with("Allow", strings.Join(m.Allow, ", "))
	}
	r.Route, r.Match = r.pipeline.routes[m.Index], m
	return nil
}

// OtherCachePlan is the CachePlan of the same request with another method, which another
// route may take.
func (r *Request) OtherCachePlan(method string) cache.Plan {
	var other Request
	other.Begin(r, r.pipeline, r.backends)
	other.Method, other.Target, other.Authority, other.Scheme = method, r.Target, r.Authority, r.Scheme
	other.Query, other.Header, other.Path, other.Host, other.Info = r.Query, r.Header, r.Path, r.Host, r.Info
	if findRoute(&other) != nil {
		return cache.Plan{}
	}
	return other.CachePlan()
}

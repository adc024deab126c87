package pipeline

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/gateway/observe"
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
	m := r.pipeline.matcher.Match(&r.asked)
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

// Other returns the route that takes the same request with another method; nil where
// none does.
func (r *Request) Other(method string) *Route {
	other := r.asked
	other.Method = method
	m := r.pipeline.matcher.Match(&other)
	if m.Outcome != policies.Found {
		return nil
	}
	return r.pipeline.routes[m.Index]
}

package pipeline

import (
	"net/http"
	"strconv"

	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/labstack/echo/v4"
)

// write sends an answer of the gateway's own, whatever stage has given it. With the
// response begun it can only be cut off: a client must not take what it has for the
// whole.
func (a *Answer) write(r *Request) {
	res := r.echo.Response()
	if res.Committed {
		panic(http.ErrAbortHandler)
	}
	h := res.Header()
	for name, values := range a.Header {
		h[name] = append(h[name], values...)
	}
	if r.Header["Origin"] != nil {
		res.Before(func() { exposeOwn(h) })
	}
	if a.form == asDenial && !listener.IsGRPC(r.http) {
		r.repeatCORS()
		a.limits.Deny(res, r.http)
		return
	}
	if a.form == asRendered && !listener.IsGRPC(r.http) {
		a.rendered.SetHeader(h, "")
		a.rendered.Send(res, r.http)
		return
	}
	switch a.form {
	case asPage, asFixed:
		a.writeBody(r)
	case asBare:
		res.WriteHeader(a.Status)
	default:
		r.repeatCORS()
		a.writeProblem(r)
	}
}

// repeatCORS adds to an answer of the gateway's own what the app server has granted to
// the page that asks. Where the policy has CORS for the route, its stage has spoken.
func (r *Request) repeatCORS() {
	if origins := r.Header["Origin"]; r.Route != nil && r.Route.cors == nil && len(origins) > 0 {
		r.pipeline.parts.CORS.repeat(r.Route.Name, origins[0], r.echo.Response().Header())
	}
}

// writeBody sends a body that the policy gives.
func (a *Answer) writeBody(r *Request) {
	res := r.echo.Response()
	if len(a.body) == 0 {
		res.WriteHeader(a.Status)
		return
	}
	h := res.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	res.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		_, _ = res.Write(a.body) // the client may be gone
	}
}

func (a *Answer) writeProblem(r *Request) {
	if listener.IsGRPC(r.http) {
		if a.form == asDenial {
			h := r.echo.Response().Header()
			a.limits.WriteHeaders(h)
			if seconds := a.limits.RetryAfter(); seconds > 0 {
				h.Set("Retry-After", strconv.FormatInt(seconds, 10))
			}
		}
		a.writeGRPC(r)
		return
	}
	res := r.echo.Response()
	httpx.WriteProblem(res, r.http, httpx.Problem{
		Status: a.Status, Detail: a.Detail, RequestID: res.Header().Get(echo.HeaderXRequestID),
	})
}

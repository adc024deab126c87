package pipeline

import (
	"net/http"
	"strconv"

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
	if a.Status >= 300 && httpx.IsGRPC(r.http.Header) {
		a.setGRPC(r)
		if r.http.ProtoMajor >= 2 {
			r.repeatCORS()
			a.writeGRPC(r)
			return
		}
	}
	if a.form == asDenial {
		r.repeatCORS()
		a.limits.Deny(res, r.http)
		return
	}
	if a.form == asRendered {
		a.rendered.SetHeader(h, "")
		a.rendered.Send(res, r.http)
		return
	}
	switch a.form {
	case asPage, asFixed:
		a.writeBody(r)
	case asJob:
		r.repeatCORS()
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
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	res.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		_, _ = res.Write(a.body) // the client may be gone
	}
}

func (a *Answer) writeProblem(r *Request) {
	res := r.echo.Response()
	httpx.WriteProblem(res, r.http, httpx.Problem{
		Status: a.Status, Detail: a.Detail, RequestID: res.Header().Get(echo.HeaderXRequestID),
	})
}

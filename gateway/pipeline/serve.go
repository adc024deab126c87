package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/labstack/echo/v4"
)

// Serve takes an HTTP request through the pipeline, from its arrival to the Record of
// it. Echo carries request and response; its router has no part in it.
//
// It panics with http.ErrAbortHandler where a response has begun and can't be
// completed, so that the client does not take what it has for the whole.
func (p *Pipeline) Serve(c echo.Context) {
	r := p.begin(c)
	defer r.finish()
	if a := p.Run(r); a != nil {
		r.writeOwn(a)
	}
}

// begin gives the request its client's address and its ID. What Connection names goes
// in between: the client says it of its own headers, so that it must remove neither those
// by which the proxies in front name the client, nor any that are set from there on.
func (p *Pipeline) begin(c echo.Context) *Request {
	req := c.Request()
	r, made := req.Context().(*Request)
	if !made {
		r = NewContext(req.Context()).(*Request)
		req = req.WithContext(r)
		c.SetRequest(req)
	}
	r.pipeline, r.backends = p, p.live
	peer := clientip.Peer(r.Context.Context, req.RemoteAddr)
	r.Info = p.resolver.InfoFrom(peer, req.Header)
	if p.parts.Unheeded != nil {
		if name := p.resolver.Unheeded(peer, req.Header); name != "" {
			p.parts.Unheeded(peer, name)
		}
	}
	p.resolver.RemoveUntrusted(peer, req.Header)
	proxy.StripConnection(req.Header)
	r.Method, r.Target, r.Authority, r.Scheme = req.Method, req.RequestURI, req.Host, "http"
	if req.TLS != nil {
		r.Scheme = "https"
	}
	r.Header, r.ContentLength, r.Query = req.Header, req.ContentLength, req.URL.RawQuery
	r.locate(peer)
	r.echo, r.http = c, req
	r.start, r.id = p.parts.Now(), requestID(req.Header)
	r.ids[0] = r.id // one array for both; clipped, so that an append makes a copy
	req.Header[headerRequestID] = r.ids[:1:1]
	c.Response().Header()[headerRequestID] = r.ids[:1:1]
	if m := p.parts.Metrics; m != nil {
		m.InFlight.Inc()
	}
	return r
}

// writeOwn writes an answer of the gateway's own.
func (r *Request) writeOwn(a *Answer) {
	if r.cause == nil {
		if r.cause = a.Cause; a.form == asProblem {
			r.cause = a
		}
	}
	if a.form == asFixed {
		if a = r.finishFixed(a); a.form != asFixed {
			r.cause = a
		}
	}
	if r.cause != nil && r.Err() != nil && errors.Is(r.cause, context.Canceled) {
		a = refuse(proxy.StatusClientGone, "") // for the access log: the client does not read it
	}
	if a.Status == http.StatusInternalServerError && a.form == asProblem {
		r.pipeline.lines.failed.Log(r, r.pipeline.parts.Log, slog.LevelError, "a request failed", "id", r.id, "error", r.cause)
	}
	a.write(r)
}

// finishFixed does what belongs to an answer that the policy gives, as to one of an app
// server: a logout route may be a redirect, and response headers have rules.
func (r *Request) finishFixed(a *Answer) *Answer {
	h := r.echo.Response().Header()
	if err := r.endSession(h); err != nil {
		return answerTo(err)
	}
	if rules := r.Route.responseHeaders; rules != nil {
		rules.apply(h, r)
	}
	for name := range a.Header {
		h.Del(name)
	}
	return a
}

package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
)

// exchange is one request's way through the proxy. ReverseProxy knows nothing
// of it: it travels in the request's context, and its parts stand in for the
// context, the response writer and the bodies.
type exchange struct {
	up    *Upstream
	pool  *pool
	route *RouteOptions
	in    *http.Request
	from  clientip.Info // the client

	ctx      exchangeContext
	rw       responseWriter
	body     requestBody
	response responseBody

	upgraded   io.Closer // the server's side of an upgraded connection
	idempotent bool
	first      attempt // most requests have no other
	current    *attempt
	attempts   int
	tried      []*server

	values headerValues
	err    *Error // why there is no response
}

// headerValues are the fields that the gateway itself sets: an http.Header
// wants a slice for each, and here all of them are one allocation, the
// exchange's.
type headerValues struct {
	forwardedFor, forwardedHost, forwardedProto, forwarded [1]string

	via, viaBack, traceparent [1]string
}

func newExchange(h *Handler, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{up: h.upstream, pool: h.upstream.pool.Load(), route: &h.opts, in: r}
	known := false
	if x.from, known = clientip.FromContext(r.Context()); !known {
		x.from = h.upstream.options.Resolver.Info(r)
	}
	x.ctx = exchangeContext{Context: r.Context(), x: x}
	x.rw = responseWriter{ResponseWriter: w, x: x}
	return x
}

// exchangeContext is a request's context that leads back to the exchange.
type exchangeContext struct {
	context.Context
	x *exchange
}

type exchangeKey struct{}

func (c *exchangeContext) Value(key any) any {
	if key == (exchangeKey{}) {
		return c.x
	}
	return c.Context.Value(key)
}

// exchangeOf returns the exchange that a request belongs to.
func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

// timeout is how long a server may be silent before its response's header.
func (x *exchange) timeout() time.Duration {
	if x.route.Timeout != 0 {
		return x.route.Timeout
	}
	return x.pool.cfg.Timeout
}

// balanceKey is what IPHash hashes: the client's bucket, so that an IPv6
// client that changes its address within its prefix stays on its server.
func (x *exchange) balanceKey() uint64 {
	if x.pool.cfg.Balance != IPHash {
		return 0
	}
	addr := x.from.Addr
	if x.from.Bucket.IsValid() {
		addr = x.from.Bucket
	}
	b := addr.As16()
	return hashString(string(b[:]))
}

// fail keeps the reason for which there is no response. ReverseProxy calls it
// with what RoundTrip or modifyResponse returned, or with complaints of its
// own, about upgrades.
func (x *exchange) fail(err error) {
	if x.rw.hijacked {
		return // the connection is another's now; there is nobody to answer
	}
	var failure *Error
	if !errors.As(err, &failure) {
		failure = x.newError(KindBadRequest, http.StatusBadRequest, err)
		if x.current != nil && x.current.status != 0 {
			failure.Kind, failure.Status = KindBroken, http.StatusBadGateway
		}
	}
	x.err = failure
}

func (x *exchange) newError(kind Kind, status int, err error) *Error {
	e := &Error{Status: status, Kind: kind, Upstream: x.up.name, Err: err}
	if x.current != nil {
		e.Server = x.current.server.name
	}
	return e
}

// broken reports whether the response's body came to an end that was none.
func (x *exchange) broken() bool {
	return x.response.err != nil && !errors.Is(x.response.err, io.EOF)
}

// finish settles the last attempt. It runs however Forward ends.
func (x *exchange) finish() {
	x.abandonUpload()
	if x.upgraded != nil {
		x.upgraded.Close()
	}
	if x.current == nil {
		return
	}
	a := x.current
	kind := a.kind
	if kind == "" && x.broken() {
		kind = KindTruncated
		if x.in.Context().Err() != nil {
			kind = KindClientGone
		}
	}
	a.settle(kind, x.response.err)
	if rec := recordFrom(x.in.Context()); rec != nil {
		rec.Server, rec.Attempts, rec.Kind, rec.Header = a.server.name, x.attempts, kind, a.header
	}
}

package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
	"github.com/headgate/headgate/middleware/proxy/internal/spool"
)

// transaction is one HTTP transaction: a client's request, the attempts to have
// a server answer it, and the response.
type transaction struct {
	up    *Upstream
	pool  *pool
	route *RouteOptions
	w     http.ResponseWriter
	in    *http.Request
	out   *http.Request // as the servers are sent it

	request http.Request // where out is, and its URL, unless the route's Rewrite has put others in their place
	url     url.URL

	client   netip.Addr // invalid if unknown
	affinity affinity

	body   requestBody
	held   heldBody
	answer *spool.Body // the response's body, if it may be read ahead; else nil
	stream *Stream     // the response's body, if the route is told of it; else nil
	clock  clock

	hijacked    bool  // the client's connection carries WebSocket frames
	readErr     error // why the response's body broke off at the server
	writeErr    error // ... and at the client
	idempotent  bool
	serversHost bool    // each server is sent its own host
	first       attempt // most requests need no second one
	current     *attempt
	attempts    int
	retries     int  // attempts that count against Config.Retries
	again       bool // a server has been tried a second time
	tried       []*server

	values headerValues
	err    *Error // why there is no response
}

// headerValues holds the values of the fields that the proxy itself sets. An
// http.Header needs a slice for each; here they share the transaction's
// allocation.
type headerValues struct {
	forwardedFor, forwardedHost, forwardedProto, forwarded [1]string

	via, viaBack, traceparent [1]string
}

func newTransaction(h *Handler, w http.ResponseWriter, r *http.Request) *transaction {
	tx := &transaction{up: h.upstream, pool: h.upstream.pool.Load(), route: &h.opts, w: w, in: r}
	client := h.client(r)
	tx.client = client.Addr
	switch tx.pool.cfg.Balance {
	case IPHash:
		tx.affinity.hash = balanceKey(client)
	case Cookie:
		tx.affinity.cookies = tx.takeCookies()
	}
	return tx
}

// client says who sent a request.
func (h *Handler) client(r *http.Request) clientip.Info {
	if h.opts.Client != nil {
		return h.opts.Client(r)
	}
	if known, ok := clientip.FromContext(r.Context()); ok {
		return known
	}
	return h.upstream.options.Resolver.Info(r)
}

// balanceKey hashes the client's bucket, so that an IPv6 client that changes its
// address within its prefix stays on its server.
func balanceKey(client clientip.Info) uint64 {
	addr := client.Addr
	if client.Bucket.IsValid() {
		addr = client.Bucket
	}
	b := addr.As16()
	return hashString(string(b[:]))
}

// refuse records why there is no response.
func (tx *transaction) refuse(failure *Error) *Error {
	tx.err = failure
	return failure
}

func (tx *transaction) newError(kind Kind, status int, err error) *Error {
	e := &Error{Status: status, Kind: kind, Upstream: tx.up.name, Err: err}
	if tx.current != nil {
		e.Server = tx.current.server.name
	}
	return e
}

// finish ends the last attempt and reports it. It runs however Forward ends.
func (tx *transaction) finish() {
	if tx.body.source != nil {
		tx.abandonUpload()
		tx.body.finish()
	}
	if tx.answer != nil {
		tx.answer.Close()
	}
	if tx.current == nil {
		return
	}
	a := tx.current
	kind := a.kind
	switch {
	case kind != "":
	case tx.readErr == errCut:
		kind = KindClientGone // it is no fault of the server either
	case errors.Is(tx.readErr, http1client.ErrTimeout):
		kind = KindTimeout
	case tx.readErr != nil && tx.in.Context().Err() == nil:
		kind = KindTruncated
	case tx.readErr != nil || tx.writeErr != nil:
		kind = KindClientGone
	}
	a.settle(kind, tx.readErr)
	if broken := cmp.Or(tx.readErr, tx.writeErr); broken != nil && tx.route.BrokeOff != nil {
		tx.route.BrokeOff(tx.in, tx.newError(kind, a.status, broken))
	}
	if rec := recordFrom(tx.in.Context()); rec != nil {
		rec.Server, rec.Attempts, rec.Kind, rec.Header = a.server.name, tx.attempts, kind, a.header
	}
}

package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
)

// transaction is one HTTP transaction: a client's request, the attempts to have
// a server answer it, and the response. ReverseProxy does not know of it: the
// request's context carries it, and its parts replace the context, the response
// writer and the bodies.
type transaction struct {
	up    *Upstream
	pool  *pool
	route *RouteOptions
	in    *http.Request

	client     netip.Addr // invalid if unknown
	balanceKey uint64     // what IPHash hashes; 0 for other balances

	ctx      transactionContext
	rw       responseWriter
	body     requestBody
	response responseBody
	held     heldBody
	clock    clock

	upgraded    io.Closer // the server's side of an upgraded connection
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
	tx := &transaction{up: h.upstream, pool: h.upstream.pool.Load(), route: &h.opts, in: r}
	client, known := clientip.FromContext(r.Context())
	if !known {
		client = h.upstream.options.Resolver.Info(r)
	}
	tx.client = client.Addr
	if tx.pool.cfg.Balance == IPHash {
		tx.balanceKey = balanceKey(client)
	}
	tx.ctx = transactionContext{Context: r.Context(), tx: tx}
	tx.rw = responseWriter{ResponseWriter: w, tx: tx}
	return tx
}

// transactionContext is the request's context; it carries the transaction.
type transactionContext struct {
	context.Context
	tx *transaction
}

type transactionKey struct{}

func (c *transactionContext) Value(key any) any {
	if key == (transactionKey{}) {
		return c.tx
	}
	return c.Context.Value(key)
}

// transactionOf returns the transaction that a request belongs to.
func transactionOf(r *http.Request) *transaction {
	return r.Context().Value(transactionKey{}).(*transaction)
}

// timeout is how long the servers have for the response's header, all tries together.
func (tx *transaction) timeout() time.Duration {
	if tx.route.Timeout != 0 {
		return tx.route.Timeout
	}
	return tx.pool.cfg.Timeout
}

// deadline is when the response's header must have come, whichever server it is from.
func (tx *transaction) deadline() time.Time { return tx.clock.deadline() }

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

// fail records why there is no response. ReverseProxy calls it with the error
// of RoundTrip or modifyResponse, or with its own about an upgrade that it
// refuses.
func (tx *transaction) fail(err error) {
	if tx.rw.hijacked {
		return // the connection carries WebSocket frames now: no response can be written
	}
	var failure *Error
	if !errors.As(err, &failure) {
		failure = tx.newError(KindBadRequest, http.StatusBadRequest, err)
		if tx.current != nil && tx.current.status != 0 {
			failure.Kind, failure.Status = KindBroken, http.StatusBadGateway
		}
	}
	tx.err = failure
}

func (tx *transaction) newError(kind Kind, status int, err error) *Error {
	e := &Error{Status: status, Kind: kind, Upstream: tx.up.name, Err: err}
	if tx.current != nil {
		e.Server = tx.current.server.name
	}
	return e
}

// broken reports whether the response's body ended before it was complete.
func (tx *transaction) broken() bool {
	return tx.response.err != nil && !errors.Is(tx.response.err, io.EOF)
}

// finish ends the last attempt and reports it. It runs however Forward ends.
func (tx *transaction) finish() {
	tx.abandonUpload()
	if tx.upgraded != nil {
		tx.upgraded.Close()
	}
	if tx.current == nil {
		return
	}
	a := tx.current
	kind := a.kind
	if kind == "" && tx.broken() {
		kind = KindTruncated
		if tx.in.Context().Err() != nil {
			kind = KindClientGone
		}
	}
	a.settle(kind, tx.response.err)
	if rec := recordFrom(tx.in.Context()); rec != nil {
		rec.Server, rec.Attempts, rec.Kind, rec.Header = a.server.name, tx.attempts, kind, a.header
	}
}

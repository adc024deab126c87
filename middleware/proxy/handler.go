package proxy

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
)

// RouteOptions say how one route forwards to an upstream. The zero value
// forwards every request with the client's Host.
type RouteOptions struct {
	// RewriteHost sends the server its own host and port as Host, instead of
	// what the client asked for.
	RewriteHost bool
	// Timeout is the route's own Config.Timeout. Zero: the upstream's;
	// negative: no bound.
	Timeout time.Duration
	// ReadTimeout is the route's own Config.ReadTimeout, and one for event
	// streams too. Zero: the upstream's; negative: no bound.
	ReadTimeout time.Duration
	// Client says who sent a request. Nil: as clientip's middleware found out, or the
	// upstream's Resolver does.
	Client func(*http.Request) clientip.Info
	// Scheme is what the client spoke, "http" or "https", for
	// X-Forwarded-Proto and Forwarded. Nil: https if the request came over
	// TLS. Hazard: behind a load balancer that terminates TLS that is wrong.
	Scheme func(*http.Request) string
	// AffinityCookies returns the values of the request's cookies of balance:
	// cookie, where the caller has cut these from it, so that a cache does not
	// see them. Nil: they are in the request.
	AffinityCookies func(*http.Request) []string
	// SetAffinityCookie is given the cookie of balance: cookie that the client
	// should have, as a Set-Cookie line, so that a cache does not store it; 101
	// has it in any case. Nil: it is added to the response, which is then private.
	SetAffinityCookie func(r *http.Request, line string)
	// Rewrite may change the request that is forwarded, Out, after the proxy has
	// set its fields. It is called once per request, before a server is chosen.
	Rewrite func(*httputil.ProxyRequest)
	// ModifyResponse may change, or with an error refuse, a server's response
	// before it is passed on; also 101 (Switching Protocols), but not other
	// 1xx. An *Error within the error decides the answer, otherwise it is 502.
	// A refusal is not held against the server, nor tried again.
	ModifyResponse func(*http.Response) error
	// Filter removes fields that must not cross the gateway from the header
	// sections that Rewrite and ModifyResponse are not given: 1xx responses,
	// and the trailers of requests and responses.
	Filter func(http.Header)
	// OnUpgrade is called when a client's connection is upgraded to WebSocket:
	// after ModifyResponse, and before the 101 is written. The connection may
	// then last for days. Nil: nothing is called.
	OnUpgrade func(*http.Request)
	// OnStream is called when a response begins that may last for days: a
	// WebSocket, or a body whose length is not known, once its header has been written.
	// The header is not to be changed. The function that it returns is called when the
	// stream has ended; it may be nil, as OnStream may.
	OnStream func(*http.Request, http.Header, *Stream) (ended func())
	// Unbuffered streams bodies in both directions: nothing is read ahead, and a slow
	// client holds a server's connection. It is for an app that reads a request while it
	// answers, or whose answers are a dialogue.
	Unbuffered bool
	// BrokeOff is called when a response has ended before it was complete, before Forward panics: by the
	// client (KindClientGone), or by the server (KindTruncated, KindTimeout). Nil: nothing is called.
	BrokeOff func(*http.Request, *Error)
	// ErrorHandler answers a request that got no response; nothing has been
	// written then. It is not called when the client is gone. Nil: ServeHTTP
	// answers with the status and its text as text/plain, Echo returns an
	// *echo.HTTPError. Forward returns every error to its caller.
	ErrorHandler func(http.ResponseWriter, *http.Request, *Error)
}

// Handler forwards the requests of one route to an upstream.
type Handler struct {
	upstream *Upstream
	opts     RouteOptions
}

// Handler returns a handler that forwards to the upstream. Each request uses the
// configuration that the upstream has when the request arrives.
func (u *Upstream) Handler(opts RouteOptions) *Handler {
	return &Handler{upstream: u, opts: opts}
}

// ServeHTTP forwards the request and passes the response on, or calls the
// ErrorHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.Forward(w, r)
	var failure *Error
	switch {
	case err == nil || !errors.As(err, &failure) || failure.Kind == KindClientGone:
	case h.opts.ErrorHandler != nil:
		h.opts.ErrorHandler(w, r, failure)
	default:
		http.Error(w, http.StatusText(failure.Status), failure.Status)
	}
}

func (h *Handler) notImplemented(why string) *Error {
	return &Error{Status: http.StatusNotImplemented, Kind: KindBadRequest, Upstream: h.upstream.name, Err: errors.New(why)}
}

// Forward forwards the request and passes the response on. A non-nil error is
// an *Error, and nothing has been written then.
//
// If the response's body breaks off after it has begun, on either side, Forward
// panics with http.ErrAbortHandler: the server then closes the connection, and
// the client sees that the response is truncated. Middleware that recovers from
// panics, or that stores responses, must let this one pass.
func (h *Handler) Forward(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodConnect:
		return h.notImplemented("CONNECT is for forward proxies")
	case http.MethodTrace: // RFC 9110 section 9.3.8: what comes back has in it what the gateway has added
		return h.notImplemented("TRACE is not forwarded")
	}
	if left, limited := MaxForwards(r.Method, r.Header); limited && left == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if looped := h.upstream.CameBack(r); looped != nil {
		return looped
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// A server may answer before it has read the whole request, and expect
		// the rest of it. Where full duplex is not supported, the rest is cut
		// off.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	tx := newTransaction(h, w, r)
	defer tx.finish()
	if err := tx.rewrite(); err != nil {
		return tx.refuse(err)
	}
	res, failure := tx.roundTrip()
	if failure != nil {
		return tx.refuse(failure)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		failure = tx.upgrade(res)
	} else {
		failure = tx.respond(res)
	}
	if failure != nil {
		return tx.refuse(failure)
	}
	return nil
}

package proxy

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"time"
)

// RouteOptions are what one route asks of an upstream. The zero value forwards
// as it comes.
type RouteOptions struct {
	// RewriteHost sends the server its own host and port as Host, instead of
	// what the client asked for.
	RewriteHost bool
	// Timeout is the route's own Config.Timeout. Zero: the upstream's;
	// negative: no bound.
	Timeout time.Duration
	// Scheme is what the client spoke, "http" or "https", for
	// X-Forwarded-Proto and Forwarded. Nil: by whether the request came over
	// TLS, which is wrong behind something that ends TLS.
	Scheme func(*http.Request) string
	// Rewrite may change the request that is forwarded, Out, once our headers
	// are set; it is called once per request, before a server is chosen.
	Rewrite func(*httputil.ProxyRequest)
	// ModifyResponse may change, or with an error refuse, a server's response
	// before it is passed on; also 101 (Switching Protocols), but not other
	// 1xx. An *Error within the error decides the answer, otherwise it is 502.
	// A refusal is not held against the server, nor tried again.
	ModifyResponse func(*http.Response) error
	// Filter removes what must not cross the gateway from header sections
	// that neither Rewrite nor ModifyResponse get to see: 1xx responses, and
	// the trailers of requests and responses.
	Filter func(http.Header)
	// OnUpgrade is called when a client's connection is upgraded to WebSocket:
	// after ModifyResponse, and before the 101 is written. The connection may
	// then last for days. Nil: nothing is called.
	OnUpgrade func(*http.Request)
	// ErrorHandler answers a request that got no response; nothing has been
	// written then. It is not called when the client is gone. Nil: ServeHTTP
	// answers with the status and its text as text/plain, Echo returns an
	// *echo.HTTPError. Forward returns every error to its caller.
	ErrorHandler func(http.ResponseWriter, *http.Request, *Error)
}

// Handler forwards requests to an upstream as one route wants it.
type Handler struct {
	upstream *Upstream
	opts     RouteOptions
}

// Handler returns a handler that forwards to the upstream, whatever its
// configuration is at the time.
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

// Forward forwards the request and passes the response on. A non-nil error is
// an *Error, and nothing has been written then.
//
// Once the response has begun there is no way back: if its body breaks off,
// on whichever side, Forward panics with http.ErrAbortHandler, so that a
// truncated response never looks like a whole one. The server's recovery, and
// whoever records responses, must let that panic pass.
func (h *Handler) Forward(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodConnect {
		return &Error{Status: http.StatusNotImplemented, Kind: KindBadRequest, Upstream: h.upstream.name,
			Err: errors.New("CONNECT is for forward proxies")}
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// Servers may answer before they have read the whole request, and
		// expect to be sent the rest of it. Where it is not supported the rest
		// is cut off.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	x := newExchange(h, w, r)
	defer x.finish()
	h.upstream.proxy.ServeHTTP(&x.rw, r.WithContext(&x.ctx))
	if x.broken() && x.err == nil {
		panic(http.ErrAbortHandler) // ReverseProxy only does it below an http.Server
	}
	if x.err != nil {
		return x.err
	}
	return nil
}

// newReverseProxy makes the upstream's one ReverseProxy. What differs from
// request to request is in the exchange that travels in the context.
func newReverseProxy(u *Upstream) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        func(pr *httputil.ProxyRequest) { exchangeOf(pr.Out).rewrite(pr) },
		Transport:      balanced{u},
		ModifyResponse: func(res *http.Response) error { return exchangeOf(res.Request).modifyResponse(res) },
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			exchangeOf(r).fail(err)
		},
		BufferPool: newBufferPool(),
		// What is left to say is said by the observer and by Forward.
		ErrorLog: slog.NewLogLogger(u.options.Logger.Handler(), slog.LevelDebug),
	}
}

package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// ServeHTTP is the front door: every request comes in here, and passes
//
//	begin -> normalise -> dispatch -> (fail) -> observe
//
// and then the chain of its route. Echo's own router has no part in it (see
// package policies for why); Echo carries the request, the middleware and the errors.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.echo.AcquireContext()
	c.Reset(r, w)
	s.front(c)
	s.echo.ReleaseContext(c) // not after a panic: who knows what still holds it
}

// front runs a request from beginning to end. The generation that it begins
// with is the one that it ends with.
func (s *Server) front(c echo.Context) {
	x := s.begin(c)
	uri := c.Request().RequestURI
	defer s.observe(c, x, uri)

	err := normalise(c)
	if err == nil {
		err = dispatch(c)
	}
	if err != nil {
		s.fail(c, x, err)
	}
}

// begin gives the request its ID, its client's address and its generation.
// First of all, what Connection names goes: it is the client's word on its own
// headers, and must remove none that are set from here on.
func (s *Server) begin(c echo.Context) *exchange {
	r := c.Request()
	proxy.StripConnection(r.Header)
	x, made := r.Context().(*exchange)
	if !made {
		x = newExchange(r.Context()).(*exchange)
		r = r.WithContext(x)
		c.SetRequest(r)
	}
	x.start, x.id, x.gen = s.options.Now(), requestID(r.Header), s.current.Load()
	x.Info = x.gen.resolver.Info(r)
	x.ids[0] = x.id // one array for both; clipped, so that whoever appends gets a copy
	r.Header[headerRequestID] = x.ids[:1:1]
	c.Response().Header()[headerRequestID] = x.ids[:1:1]
	s.metrics.inFlight.Inc()
	return x
}

// observe is what remains to be done when the answer is complete, or the
// handler has panicked: metrics and the access log.
func (s *Server) observe(c echo.Context, x *exchange, uri string) {
	panicked := recover()
	if panicked != nil && panicked != http.ErrAbortHandler {
		s.log.Error("a request panicked", "id", x.id, "panic", panicked, "stack", stack())
		x.cause = errors.New("panic")
		if !c.Response().Committed {
			refuse(http.StatusInternalServerError, "").write(c)
			panicked = nil
		}
	}
	if panicked == http.ErrAbortHandler && x.cause == nil {
		x.cause = errors.New("the response broke off")
	}
	x.settle(0, nil) // unless an answer has
	s.metrics.inFlight.Dec()
	route := ""
	if x.route != nil {
		route = x.route.name
	}
	took := s.options.Now().Sub(x.start)
	s.metrics.observe(route, c.Request().Method, x.statusOf(c.Response()), took)
	if s.accessLog != nil {
		entry := x.entry(c, uri, took)
		s.accessLog.line(entry.appendJSON)
	}
	if s.options.Observe != nil {
		s.options.Observe(x.outcome(x.entry(c, uri, took)))
	}
	if panicked != nil {
		panic(http.ErrAbortHandler) // net/http closes the connection: the client sees that the answer is not whole
	}
}

// fail answers with the problem that an error stands for.
func (s *Server) fail(c echo.Context, x *exchange, err error) {
	x.cause = err
	p := problemOf(err)
	if x.Err() != nil && errors.Is(err, context.Canceled) {
		p = refuse(proxy.StatusClientGone, "") // for the log: nobody is there to read it
	}
	if p.Status == http.StatusInternalServerError {
		s.log.Error("a request failed", "id", x.id, "error", err)
	}
	if x.route != nil && !c.Response().Committed {
		x.route.lendCORS(c)
	}
	p.write(c)
}

// normalise gives host and path the one form that everything behind it sees:
// the matcher, the limits, the cache and the app server.
func normalise(c echo.Context) error {
	r := c.Request()
	host, err := httpx.NormalizeHost(r.Host, schemeOf(r))
	if err != nil {
		return refuse(http.StatusBadRequest, "The Host is not a host name or address.").because(err)
	}
	r.Host = host.Authority
	exchangeOf(c).host = host.Name
	if r.Method == http.MethodConnect {
		return refuse(http.StatusMethodNotAllowed, "This is not a forward proxy: CONNECT is not served here.").with("Allow", "")
	}
	if r.RequestURI == "*" { // RFC 9112 section 3.2.4: it asks about the server itself
		if r.Method != http.MethodOptions {
			return refuse(http.StatusBadRequest, "The target * is for OPTIONS alone.")
		}
		return nil
	}
	path, err := httpx.NormalizePath(rawPath(r))
	if err != nil {
		return refuse(http.StatusBadRequest, "The path is malformed, or could be read as another one.").because(err)
	}
	r.URL.Path, r.URL.RawPath = path.Path, path.RawPath
	// An absolute request target names scheme and server as well. net/http has
	// taken the Host from it; the app server gets the ordinary form.
	r.URL.Scheme, r.URL.Host, r.URL.User, r.URL.Fragment = "", "", nil, ""
	return nil
}

// rawPath returns the path as the client wrote it. The URL no longer has it:
// parsing drops an escaped path that it finds invalid.
func rawPath(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") { // absolute form, RFC 9112 section 3.2.2
		_, rest, ok := strings.Cut(target, "://")
		if !ok {
			return httpx.RawPath(r.URL)
		}
		if i := strings.IndexAny(rest, "/?"); i < 0 || rest[i] == '?' {
			return "/"
		} else {
			target = rest[i:]
		}
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

// dispatch finds the route and runs its chain.
func dispatch(c echo.Context) error {
	x := exchangeOf(c)
	r := c.Request()
	if r.RequestURI == "*" {
		return c.NoContent(http.StatusNoContent)
	}
	x.asked = policies.Request{
		Host:     x.host,
		Path:     r.URL.RawPath,
		Method:   r.Method,
		Header:   r.Header,
		RawQuery: r.URL.RawQuery,
		ClientIP: x.Info.Addr,
	}
	m := x.gen.matcher.Match(&x.asked)
	switch m.Outcome {
	case policies.NotFound:
		return refuse(http.StatusNotFound, "No route of this gateway fits the request.")
	case policies.MethodNotAllowed:
		return refuse(http.StatusMethodNotAllowed, "This path is not served with "+methodLabel(r.Method)+".").
			with("Allow", strings.Join(m.Allow, ", "))
	}
	x.route, x.match = x.gen.routes[m.Index], m
	return x.route.handler(c)
}

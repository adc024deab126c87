package pipeline

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/compress"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// Request is what the stages know about one request and its answer. They are handed
// it; none looks it up.
//
// It is the context of the HTTP request as well, so that a fill of the cache, which
// goes on without its Echo context when the client has left, has it too.
//
// Its fields belong to the goroutine that runs the stages. What a fill may write when
// the access log has long been written is atomic.
type Request struct {
	clientip.Context // who asks, and the context of the request

	// What came, as the client sent it.
	Method        string
	Target        string // of the request line: a path with its query, an absolute URL, or *
	Authority     string // the Host field; once normalised, that form
	Scheme        string // http or https
	Query         string // byte for byte, without the ?
	Header        http.Header
	ContentLength int64 // of the body; -1 where it is not declared

	// What the stages found, in their order.
	Denied   netip.Prefix     // denied network: that refuses the client; the zero Prefix where none does
	blocked  bool             // denied network: it is one that operators have blocked, not one of the policy's
	Path     httpx.NormalPath // normalise
	Host     string           // normalise: without port, what routes are matched by
	asked    policies.Request
	getBody  func() (io.ReadCloser, error) // of an explanation; nil where the body is not known, or live
	attempts *[]policies.Attempt           // route: why the other routes do not fit; nil but in an explanation
	Match    policies.Match                // route
	Route    *Route                        // route: nil until one fits; Pipeline.unrouted where none does
	Client   *APIClient                    // identity: nil without a known API key
	subject  ratelimit.Request             // deny cache, admit
	Limits   *ratelimit.Result             // admit: nil where no limit applies
	Session  *session.RequestSession       // admit: nil before it, and where the session is not known
	Stage    string                        // the name of the one that the request has come to
	answer   Answer                        // memory for the answer that a stage gives

	pipeline *Pipeline
	backends Backends
	waits    store.Waits // what the request has waited for Redis

	live
}

// live is what a request has that is really being served.
type live struct {
	echo   echo.Context
	http   *http.Request
	start  time.Time
	id     string
	ids    [1]string // id, as a header's value
	status int       // what the answer means, where its own status is gRPC's constant 200
	cause  error     // why the gateway answered itself, for the access log

	job, queue    string // of the job that the request has become, or asks for
	user, ref     string // of the session that was live when the request came, or that the limits denied it by
	plan          string // that the app has put that session on
	sessionNeeded bool   // refused, or sent to the login page, for want of a session

	reserved    *ratelimit.Result      // to be settled by the answer
	devices     []string               // the values of the cookie of known devices
	affinity    []string               // the values of the cookie that names a server of the route's upstream
	newAffinity atomic.Pointer[string] // the line that sets it

	attemptDryRun atomic.Pointer[string] // the limit by account that would have denied the answer

	compressed *compress.Writer // what the answer is written to; nil where none of the route's is compressed

	cost     atomic.Int64                // that the app names for the request, and one; 0: none
	loggedIn atomic.Bool                 // the app has logged its user in
	outlived atomic.Bool                 // the response was still open when its session ended, and ended with it
	upstream atomic.Pointer[url.URL]     // of the server that was asked last
	broken   atomic.Pointer[proxy.Error] // why its response ended before it was complete
}

// NewContext returns a Request as the context of an HTTP request. The listener calls
// it over HTTP/1, so that Serve has no need to copy the request.
func NewContext(ctx context.Context) context.Context {
	return &Request{Context: clientip.Context{Context: ctx}}
}

// Begin makes r a request to p on backends: of an explanation or a replay, which have no
// HTTP request. The caller sets Info and the fields under "What came".
func (r *Request) Begin(ctx context.Context, p *Pipeline, backends Backends) {
	*r = Request{Context: clientip.Context{Context: ctx}, pipeline: p, backends: backends}
}

// Subject is what the limits count the request by.
func (r *Request) Subject() *ratelimit.Request { return &r.subject }

// asHTTP returns the HTTP request; of an explanation or a replay, one that is made of
// what is known, with a context of its own.
func (r *Request) asHTTP() *http.Request {
	if r.http != nil {
		return r.http
	}
	req := &http.Request{
		Method: r.Method, Host: r.Authority, Header: r.Header, Body: http.NoBody, GetBody: r.getBody, RequestURI: r.Target,
		URL:   &url.URL{Path: r.Path.Path, RawPath: r.Path.RawPath, RawQuery: r.Query},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.Scheme == "https" {
		req.TLS = overTLS
	}
	return req
}

// overTLS stands for a connection that has TLS.
var overTLS = &tls.ConnectionState{HandshakeComplete: true}

type requestKey struct{}

// Value makes the Request findable through contexts that wrap it.
func (r *Request) Value(key any) any {
	if key == (requestKey{}) {
		return r
	}
	if waits := r.waits.Value(key); waits != nil {
		return waits
	}
	return r.Context.Value(key)
}

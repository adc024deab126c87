package pipeline

import (
	"context"
	"net/http"
	"net/http/httputil"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
)

// What the proxy and the cache ask on a request's way to the app server. They know it as an HTTP request, which may be
// one of a fill's own; its context leads to ours.

// requestFrom returns the Request that a context is, or leads to.
func requestFrom(ctx context.Context) *Request {
	if r, ok := ctx.(*Request); ok {
		return r
	}
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// clientOf says who asks.
func clientOf(req *http.Request) clientip.Info { return requestFrom(req.Context()).Info }

// schemeOf says what the client used. An explanation's request has the scheme alone.
func schemeOf(req *http.Request) string {
	if r := requestFrom(req.Context()); r != nil {
		return r.Scheme
	}
	if req.TLS != nil {
		return "https"
	}
	return "http"
}

// rewriteRequest makes the forwarded request what the policy wants it to be, and then
// says who is asking, which no rule can change.
func (rt *Route) rewriteRequest(pr *httputil.ProxyRequest) {
	if rules := rt.requestHeaders; rules != nil {
		rules.apply(pr.Out.Header, requestFrom(pr.In.Context()))
	}
	rt.setIdentity(pr.Out.Header)
	rt.announce(pr.Out.Header, requestFrom(pr.In.Context()))
}

const headerClient = "Headgate-Client"

// announce tells the app server who is asking.
func (rt *Route) announce(h http.Header, r *Request) {
	r.Session.ForwardHeaders(h)
	if r.Client != nil {
		h.Set(headerClient, r.Client.Name)
	}
}

// upstreamField returns a field of the request as the app will see it, by
// which Vary selects.
func (rt *Route) upstreamField(req *http.Request, name string) []string {
	r := requestFrom(req.Context())
	switch name {
	case "Host", "X-Forwarded-Host":
		return []string{req.Host}
	case "X-Forwarded-Proto":
		return []string{r.Scheme}
	case "X-Forwarded-For", "Forwarded":
		return []string{r.Info.Addr.String()}
	}
	if name == "Accept-Encoding" && rt.encodes() {
		return identityAlone
	}
	h := http.Header{}
	if values, ok := req.Header[name]; ok && !session.Reserved(name) && !proxy.IsForwarding(name) {
		h[name] = values[:len(values):len(values)]
	}
	if rules := rt.requestHeaders; rules != nil {
		rules.apply(h, r)
	}
	if session.Reserved(name) {
		rt.announce(h, r)
	}
	return h[name]
}

// upgraded settles the limits when the connection becomes a WebSocket, which may last
// for days.
func upgraded(req *http.Request) {
	requestFrom(req.Context()).settle(http.StatusSwitchingProtocols, nil)
}

// followStream has a response that goes on end with the session that it was made for.
func followStream(req *http.Request, h http.Header, s *proxy.Stream) (ended func()) {
	r := requestFrom(req.Context())
	if req.Context() != context.Context(r) && httpx.HasToken(h["Cache-Control"], "public") {
		return nil // the cache has asked, and others may wait for it
	}
	return r.Session.Follow(sessionStream{s, r})
}

// sessionStream is a stream whose end is noted for the access log.
type sessionStream struct {
	*proxy.Stream
	request *Request
}

func (s sessionStream) End() {
	s.request.outlived.Store(true)
	s.Stream.End()
}

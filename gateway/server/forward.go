package server

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

const headerClient = "Headgate-Client"

// forward returns the handler that has an upstream answer.
func (rt *route) forward(u *proxy.Upstream) echo.HandlerFunc {
	h := u.Handler(proxy.RouteOptions{
		RewriteHost:    !rt.policy.PreserveHost,
		Timeout:        noneIfZero(rt.policy.Timeout),
		Rewrite:        rt.rewriteRequest,
		ModifyResponse: rt.takeResponse,
		Filter:         session.StripReserved,
		OnUpgrade:      upgraded,
	})
	return func(c echo.Context) error {
		x := exchangeOf(c)
		r, err := rt.rewritten(c.Request(), x.match)
		if err != nil {
			return refuse(http.StatusBadRequest, "What this route makes of the path could be read as another one.").because(err)
		}
		err = h.Forward(c.Response(), r)
		if err == nil {
			return nil
		}
		x.answeredBy(err)
		if ended := x.endSession(c); ended != nil {
			return ended
		}
		if refusal := refusalOf(c.Request(), err); refusal != nil {
			return refuse(refusal.Status, "The request is refused: "+refusal.Reason+".").because(err)
		}
		return asProblem(err)
	}
}

// refusalOf returns why the listener has cut off the request's body, if that
// is what went wrong. Over HTTP/1 the connection knows, over HTTP/2 the error.
func refusalOf(r *http.Request, err error) *listener.RequestError {
	if refusal := listener.Refusal(r.Context()); refusal != nil {
		return refusal
	}
	var refusal *listener.RequestError
	errors.As(err, &refusal)
	return refusal
}

// upgraded settles the limits when the connection becomes a WebSocket, which
// may last for days.
func upgraded(r *http.Request) {
	exchangeFrom(r.Context()).settle(http.StatusSwitchingProtocols, nil)
}

// answeredBy notes for the log which server it was that gave no answer.
func (x *exchange) answeredBy(err error) {
	var failure *proxy.Error
	if errors.As(err, &failure) && failure.Server != "" {
		if u, err := url.Parse(failure.Server); err == nil {
			x.upstream.Store(u)
		}
	}
}

// rewriteRequest makes the forwarded request what the policy wants it to be,
// and then says who is asking, which no rule can change.
func (rt *route) rewriteRequest(pr *httputil.ProxyRequest) {
	x := exchangeFrom(pr.In.Context())
	applyHeaderRules(pr.Out.Header, rt.policy.RequestHeaders)
	rt.announce(pr.Out.Header, x)
}

// announce tells the app who is asking.
func (rt *route) announce(h http.Header, x *exchange) {
	x.session.ForwardHeaders(h)
	if x.api != nil {
		h.Set(headerClient, x.api.name)
	}
}

// rewritten returns the request with the path that the app gets: itself, unless
// strip_prefix or rewrite makes another one. That is normalised once more, as
// what was put together may need it.
func (rt *route) rewritten(r *http.Request, m policies.Match) (*http.Request, error) {
	routed := httpx.RawPath(r.URL)
	forwarded := rt.forwardedPath(routed, m)
	if forwarded == routed {
		return r, nil
	}
	path, err := httpx.NormalizePath(forwarded)
	if err != nil {
		return nil, err
	}
	u := *r.URL
	u.Path, u.RawPath = path.Path, path.RawPath
	r = r.WithContext(r.Context())
	r.URL = &u
	return r, nil
}

// forwardedPath returns the escaped path that the app gets.
func (rt *route) forwardedPath(routed string, m policies.Match) string {
	switch {
	case rt.policy.StripPrefix != "":
		rest, ok := strings.CutPrefix(routed, strings.TrimSuffix(rt.policy.StripPrefix, "/"))
		switch {
		case !ok || rest != "" && rest[0] != '/': // /apis is not below /api
			return routed
		case rest == "":
			return "/"
		}
		return rest
	case rt.policy.Rewrite != "":
		return m.Expand(rt.policy.Rewrite)
	}
	return routed
}

// takeResponse takes from the app's response what is meant for the gateway,
// does it, and makes the rest fit for the client. Its error refuses the response.
func (rt *route) takeResponse(res *http.Response) error {
	x := exchangeFrom(res.Request.Context())
	x.upstream.Store(res.Request.URL)
	actions, err := x.session.TakeActions(res.Header)
	if err != nil { // nothing is done of it; forward does what is due all the same
		return &proxy.Error{Status: session.Status(err), Kind: proxy.KindRefused, Err: err}
	}
	if _, err := x.session.Commit(x, actions); err != nil {
		return &proxy.Error{Status: session.Status(err), Kind: proxy.KindRefused, Err: err}
	}
	x.loggedIn.Store(actions.Login != "")
	if rt.cors != nil {
		removeCORS(res.Header)
	} else {
		rt.server.parts.lent.learn(rt.name, res.Request.Header.Get("Origin"), res.Header)
	}
	applyHeaderRules(res.Header, rt.policy.ResponseHeaders)
	res.Header.Del(headerRequestID)    // the request has the gateway's
	x.session.WriteHeaders(res.Header) // last, whatever app and policy say
	return nil
}

// endSession does what is due on a request that no app has answered: on a
// logout route the session ends whatever the app does.
func (x *exchange) endSession(c echo.Context) error {
	if err := x.session.CommitDue(x); err != nil {
		refusal := session.Refuse(err)
		refusal.WriteHeaders(c.Response().Header())
		return refuse(refusal.Status, refusal.Reason).because(err)
	}
	x.session.WriteHeaders(c.Response().Header())
	return nil
}

// asProblem says to the client what a failure of the upstream means for it.
func asProblem(err error) error {
	var failure *proxy.Error
	if !errors.As(err, &failure) {
		return err
	}
	detail := failure.Detail()
	if failure.Kind == proxy.KindRefused {
		detail = session.Refuse(failure.Err).Reason
	}
	p := refuse(failure.Status, detail).because(err)
	if seconds := failure.RetryAfter(); seconds > 0 {
		p.with("Retry-After", strconv.FormatInt(seconds, 10))
	}
	return p
}

// applyHeaderRules removes, sets and adds headers.
func applyHeaderRules(h http.Header, rules policies.HeaderRules) {
	for _, name := range rules.Remove {
		h.Del(name)
	}
	for name, value := range rules.Set {
		h.Set(name, value)
	}
	for name, value := range rules.Add {
		h.Add(name, value)
	}
}

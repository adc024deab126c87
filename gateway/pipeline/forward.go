package pipeline

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
	"github.com/labstack/echo/v4"
)

// forward is the last stage of a route that has an upstream.
func forward(r *Request) *Answer {
	r.takeOwnCookies()
	return r.backends.Forward(r)
}

// takeOwnCookies cuts what cookies of the gateway's own are left: those of servers and of known devices.
func (r *Request) takeOwnCookies() {
	r.takeAffinity()
	r.takeDevices()
}

func (b liveBackends) Forward(r *Request) *Answer {
	if err := r.cameBack(); err != nil {
		r.cause = err
		return answerTo(asAnswer(err))
	}
	r.giveAffinityLater()
	if err := r.Route.serve(r); err != nil {
		a := answerTo(err)
		r.cause = err
		return a
	}
	return nil
}

// cameBack returns why a request that this gateway has forwarded before is refused. On
// a cached route it would wait for its own answer.
func (r *Request) cameBack() error {
	if len(r.http.Header["Via"]) == 0 {
		return nil
	}
	if looped := r.pipeline.parts.Upstreams[r.Route.Policy.Upstream].CameBack(r.http); looped != nil {
		return looped
	}
	return nil
}

// newForward returns the handler that has an upstream answer. The cache may call it
// without a client, in a goroutine of its own.
func (rt *Route) newForward(u *proxy.Upstream) echo.HandlerFunc {
	o := proxy.RouteOptions{
		RewriteHost:     !rt.Policy.PreserveHost,
		Timeout:         rt.Policy.Timeout,
		ReadTimeout:     rt.Policy.ReadTimeout,
		Client:          clientOf,
		Scheme:          schemeOf,
		Unbuffered:      !rt.Policy.Buffer,
		Rewrite:         rt.rewriteRequest,
		AffinityCookies: affinityCookiesOf, SetAffinityCookie: setAffinityCookie,
		ModifyResponse: rt.takeResponse,
		Filter:         session.StripReserved,
		OnUpgrade:      upgraded,
		BrokeOff:       brokeOff,
	}
	if rt.session.Mode != session.Off {
		o.OnStream = followStream
	}
	h := u.Handler(o)
	return func(c echo.Context) error {
		forwarded, err := c.Request(), error(nil)
		if rt.Policy.StripPrefix != "" || rt.Policy.Rewrite != "" {
			if forwarded, err = rewritten(forwarded); err != nil {
				return ambiguousRewrite(err)
			}
		}
		err = h.Forward(c.Response(), forwarded)
		if err == nil {
			return nil
		}
		r := requestFrom(c.Request().Context())
		r.answeredBy(err)
		if ended := r.endSession(c.Response().Header()); ended != nil {
			return ended
		}
		if refusal := refusalOf(c.Request(), err); refusal != nil {
			return refuse(refusal.Status, "The request is refused: "+refusal.Reason+".").because(err)
		}
		return asAnswer(err)
	}
}

// ambiguousRewrite is the answer where what strip_prefix or rewrite makes of the path is malformed.
func ambiguousRewrite(err error) *Answer {
	return refuse(http.StatusBadRequest, "What this route makes of the path could be read as another one.").because(err)
}

// brokeOff notes for the log who has ended a response before it was complete.
func brokeOff(req *http.Request, by *proxy.Error) {
	requestFrom(req.Context()).broken.Store(by)
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

// answeredBy notes for the log which server it was that gave no answer.
func (r *Request) answeredBy(err error) {
	var failure *proxy.Error
	if errors.As(err, &failure) && failure.Server != "" {
		if u, err := url.Parse(failure.Server); err == nil {
			r.upstream.Store(u)
		}
	}
}

// rewritten returns the request with the path that strip_prefix or rewrite makes of it.
// That is normalised once more, as what was put together may need it.
func rewritten(r *http.Request) (*http.Request, error) {
	known := requestFrom(r.Context())
	path, err := known.forwardedPath()
	if err != nil {
		return nil, err
	}
	if path == known.Path {
		return r, nil
	}
	u := *r.URL
	u.Path, u.RawPath = path.Path, path.RawPath
	r = r.WithContext(r.Context())
	r.URL = &u
	return r, nil
}

// asAnswer says to the client what a failure of the upstream means for it.
func asAnswer(err error) error {
	var failure *proxy.Error
	if !errors.As(err, &failure) {
		return err
	}
	if denied := deniedAttemptOf(err); denied != nil {
		a := denialBy(denied.limits)
		return a.because(err)
	}
	detail := failure.Detail()
	if failure.Kind == proxy.KindRefused {
		detail = session.Refuse(failure.Err).Reason
	}
	a := refuse(failure.Status, detail).because(err)
	if seconds := failure.RetryAfter(); seconds > 0 {
		a.with("Retry-After", strconv.FormatInt(seconds, 10))
	}
	return a
}

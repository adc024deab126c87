package pipeline

import (
	"errors"
	"net/http"
	"slices"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// Attempts to log in to an account. Whose account a request has tried is known only when the app
// server has answered, by Headgate-Login-Attempt, so that limits by account stand on the way back:
//
//	takeDevices      cuts the cookie of known devices from the request, before it is forwarded
//	limitAttempt     asks the limits by account; one that denies has the answer replaced by 429, before a
//	                 login of it takes effect
//	rememberDevice   gives the browser that has logged in the cookie of a known device

// takeDevices cuts the cookie of known devices from the request. To the cache it would be the app's
// own.
func (r *Request) takeDevices() {
	name := r.pipeline.devices
	if name == "" {
		return
	}
	r.devices = slices.AppendSeq(r.devices, httpx.CookieValues(r.Header["Cookie"], name))
	httpx.CutCookie(r.Header, name)
}

// knownDevice is the device that the request's cookies prove to be known to the account, or "".
func (r *Request) knownDevice(account string) string {
	values := r.devices
	if name := r.pipeline.devices; values == nil && name != "" {
		values = slices.Collect(httpx.CookieValues(r.Header["Cookie"], name)) // takeDevices comes later
	}
	if len(values) == 0 {
		return ""
	}
	return r.pipeline.parts.Sessions.KnownDevice(values, r.deviceRealm(), account)
}

// deviceRealm is where a device is known that logs in by this request.
func (r *Request) deviceRealm() string {
	return r.pipeline.parts.Sessions.DeviceRealm(r.Authority, r.Route.Policy.Upstream)
}

// deniedAttempt is why an answer about an attempt is replaced.
type deniedAttempt struct{ limits *ratelimit.Result }

func (d *deniedAttempt) Error() string {
	if d.limits.Unavailable() {
		return errNoRedis.Error()
	}
	return "limit " + d.limits.DeniedBy() + " denies the attempt to log in"
}

// deniedAttemptOf returns the deniedAttempt that an error is of, or nil.
func deniedAttemptOf(err error) *deniedAttempt {
	var denied *deniedAttempt
	errors.As(err, &denied)
	return denied
}

// limitAttempt asks the limits by account about the app server's answer, of which actions and
// malformed are what TakeActions has made. An error refuses the answer, whatever it says.
func (rt *Route) limitAttempt(r *Request, status int, actions session.Actions, malformed error) error {
	if actions.LoginAttempt == "" || rt.limiter == nil {
		return nil
	}
	resp := ratelimit.Response{Status: status}
	switch {
	case errors.Is(malformed, session.ErrLoginElsewhere):
		resp.Status = http.StatusBadGateway // it counts: see settle
	case malformed != nil:
		resp.Status, resp.Own = http.StatusBadGateway, true
	case actions.Login != "":
		resp.Header = http.Header{session.HeaderLogin: {"?1"}}
	}
	limits := rt.limiter.CheckAttempt(r, &r.subject, ratelimit.LoginAttempt{
		Account: actions.LoginAttempt, Device: r.knownDevice(actions.LoginAttempt), Response: resp,
	})
	if limits == nil {
		return nil
	}
	if !limits.Allowed() {
		return &proxy.Error{Status: limits.Status(), Kind: proxy.KindRefused, Err: &deniedAttempt{limits}}
	}
	if name := limits.DryRunDeniedBy(); name != "" {
		r.attemptDryRun.Store(&name)
	}
	return nil
}

// rememberDevice makes the browser that has just logged in a known device of the account.
func (rt *Route) rememberDevice(r *Request, h http.Header, actions session.Actions) {
	if rt.pipeline.devices == "" {
		return
	}
	httpx.CutSetCookie(h, rt.pipeline.devices)
	if actions.Login == "" || actions.LoginAttempt == "" {
		return
	}
	if cookie := rt.pipeline.parts.Sessions.DeviceCookie(r.devices, r.deviceRealm(), actions.LoginAttempt); cookie != nil {
		h.Add("Set-Cookie", cookie.String())
	}
}

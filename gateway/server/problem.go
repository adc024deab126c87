package server

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/labstack/echo/v4"
)

// problem is an answer of the gateway's own that says what went wrong, as RFC
// 9457 problem details. It is the error that handlers return for it.
type problem struct {
	Status int
	Detail string      // for the client's developer; never what is inside
	Header http.Header // further headers, such as Retry-After
	Cause  error       // for the log alone
}

func (p *problem) Error() string {
	if p.Cause != nil {
		return p.Detail + ": " + p.Cause.Error()
	}
	return p.Detail
}

func (p *problem) Unwrap() error { return p.Cause }

// As shows as an echo.HTTPError what is wrong with an upstream rather than with
// the request at hand. So the cache, which knows Echo's errors and not ours,
// gives it to all who wait for the same answer.
func (p *problem) As(target any) bool {
	he, ok := target.(**echo.HTTPError)
	var failure *proxy.Error
	if !ok || !errors.As(p.Cause, &failure) || failure.Kind == proxy.KindRefused {
		return false
	}
	*he = echo.NewHTTPError(p.Status)
	return true
}

// Is tells the cache that the app has answered, and that its answer was refused:
// it could not be followed, or the session not be saved. A stale page would be a
// success that isn't one.
func (p *problem) Is(target error) bool {
	var failure *proxy.Error
	return target == cache.ErrRefused && errors.As(p.Cause, &failure) && failure.Kind == proxy.KindRefused
}

// refuse returns a problem with this status.
func refuse(status int, detail string) *problem {
	return &problem{Status: status, Detail: detail}
}

// with adds a header to the answer.
func (p *problem) with(name, value string) *problem {
	if p.Header == nil {
		p.Header = http.Header{}
	}
	p.Header.Add(name, value)
	return p
}

// because keeps the error behind it for the log.
func (p *problem) because(err error) *problem {
	p.Cause = err
	return p
}

// problemOf finds the problem in any error that a handler may return.
func problemOf(err error) *problem {
	if he, ok := err.(*echo.HTTPError); ok { // the cache's may have a problem for its cause
		detail, _ := he.Message.(string)
		return refuse(he.Code, detail).because(he.Internal)
	}
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return refuse(http.StatusRequestEntityTooLarge,
			"The request body is larger than the "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes that are allowed here.").because(err)
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		detail, _ := he.Message.(string)
		return refuse(he.Code, detail).because(he.Internal)
	}
	return refuse(http.StatusInternalServerError, "").because(err)
}

// write sends the problem. With the response begun it can only be cut off: a
// client must not take what it has for the whole.
func (p *problem) write(c echo.Context) {
	if c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	h := c.Response().Header()
	for k, vs := range p.Header {
		h[k] = append(h[k], vs...)
	}
	if listener.IsGRPC(c.Request()) {
		p.writeGRPC(c)
		return
	}
	httpx.WriteProblem(c.Response(), c.Request(), httpx.Problem{
		Status: p.Status, Detail: p.Detail, RequestID: h.Get(echo.HeaderXRequestID),
	})
}

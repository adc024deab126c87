package pipeline

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
)

// Answer is a response that the gateway gives itself: the one that a stage ends a
// request's way with. As an error it stands for that response where a handler must
// return one.
type Answer struct {
	Status int
	Detail string      // for the client's developer, in the problem details; never what is inside
	Header http.Header // further fields, such as Retry-After
	Cause  error       // why, for the access log alone

	form        form
	body        []byte
	contentType string
	limits      *ratelimit.Result // of a denial
	rendered    *httpx.RenderedProblem
}

// form is how an Answer is written.
type form uint8

const (
	asProblem  form = iota // problem details (RFC 9457), or grpc-status for a gRPC client
	asDenial               // as the limits deny: their fields, and problem details made beforehand
	asPage                 // a page in the place of problem details
	asJob                  // how a job stands, or the app's answer to it
	asFixed                // what the policy answers, in the place of an app server
	asBare                 // fields without a body
	asRendered             // problem details made beforehand, at the price of a denial
)

// refuse returns an answer with problem details.
func refuse(status int, detail string) *Answer {
	return &Answer{Status: status, Detail: detail}
}

// answered keeps an answer in the request, which saves its memory.
func (r *Request) answered(a Answer) *Answer {
	r.answer = a
	return &r.answer
}

// with adds a field to the answer.
func (a *Answer) with(name, value string) *Answer {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Add(name, value)
	return a
}

// because keeps the error behind the answer for the access log.
func (a *Answer) because(err error) *Answer {
	a.Cause = err
	return a
}

func (a *Answer) Error() string {
	if a.Cause != nil {
		return a.Detail + ": " + a.Cause.Error()
	}
	return a.Detail
}

func (a *Answer) Unwrap() error { return a.Cause }

// upstreamStatus is the status of an error that says what is wrong with an upstream rather
// than with the request at hand, which is what the cache may give to all who wait for the same
// answer. That of any other error is 500.
func upstreamStatus(err error) int {
	var a *Answer
	var failure *proxy.Error
	if !errors.As(err, &a) || !errors.As(a.Cause, &failure) || failure.Kind == proxy.KindRefused {
		return http.StatusInternalServerError
	}
	return a.Status
}

// Is tells the cache that the app has answered, and that its answer was refused:
// it could not be followed, or the session not be saved. A stale page in its place
// would report a success that there was not.
func (a *Answer) Is(target error) bool {
	var failure *proxy.Error
	return target == cache.ErrRefused && errors.As(a.Cause, &failure) && failure.Kind == proxy.KindRefused
}

// answerTo finds the answer in any error that a handler may return.
func answerTo(err error) *Answer {
	if he, ok := err.(*echo.HTTPError); ok { // the cache's may have an Answer for its cause
		return echoAnswer(he, err)
	}
	var a *Answer
	if errors.As(err, &a) {
		return a
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return bodyTooLarge(tooLarge.Limit).because(err)
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return echoAnswer(he, err)
	}
	return refuse(http.StatusInternalServerError, "").because(err)
}

func echoAnswer(he *echo.HTTPError, err error) *Answer {
	detail, _ := he.Message.(string)
	return refuse(he.Code, detail).because(err)
}

func bodyTooLarge(limit int64) *Answer {
	return refuse(http.StatusRequestEntityTooLarge,
		"The request body is larger than the "+strconv.FormatInt(limit, 10)+" bytes that are allowed here.")
}

package http1client

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// exchange is one request and its response on a connection. Do, and later the response's body, run it on the caller's goroutine; an upload
// has a goroutine of its own.
type exchange struct {
	client *Client
	conn   *conn
	req    *http.Request
	caller Caller

	left    int64 // of the request's body behind what was sent with the head; -1: unknown
	upload  *upload
	sent    bool
	begun   atomic.Bool // some of a response has come
	reused  bool
	stop    func() bool // ends the watch of the request's context
	watched bool

	interrupted atomic.Pointer[error] // why nothing of the exchange may go on

	timing sync.Mutex // held where an upload, which sets due too, may be under way
	due    time.Time  // when the wait for the server is over; zero: never
	headed bool       // the response's head has come: due is the body's now

	head http1.ResponseHead
	res  http.Response
	data http1.Body
	err  error // how the response's body ended

	ending sync.Mutex // Interrupt is called on another goroutine
	over   bool       // the connection has been given up
}

func (x *exchange) setDue(due time.Time) {
	x.timing.Lock()
	defer x.timing.Unlock()
	if !x.headed {
		x.due = due
		x.arm()
	}
}

// allowSilence begins the time that the server may be silent for within the response's body.
func (x *exchange) allowSilence() {
	silence := x.caller.Silence()
	if silence <= 0 {
		return
	}
	x.timing.Lock()
	defer x.timing.Unlock()
	x.due = time.Now().Add(silence)
	x.arm()
}

// arm sets the socket's deadline where the one that is set would come too late.
func (x *exchange) arm() {
	if x.conn == nil || x.due.IsZero() || !x.conn.readBy.IsZero() && !x.conn.readBy.After(x.due) {
		return
	}
	x.armDeadline(x.due)
}

func (x *exchange) armDeadline(t time.Time) {
	x.conn.setReadBy(t)
	if x.interrupted.Load() != nil {
		_ = x.conn.nc.SetReadDeadline(longAgo) // interrupt may have set its own before
	}
}

// overdue is called when the socket's deadline has passed. It begins the watch, and returns why the exchange is over, or nil where it goes on.
func (x *exchange) overdue() error {
	if why := x.interrupted.Load(); why != nil {
		return *why
	}
	x.watch()
	x.timing.Lock()
	defer x.timing.Unlock()
	if !x.due.IsZero() && !time.Now().Before(x.due) {
		return ErrTimeout
	}
	x.armDeadline(x.due)
	return nil
}

// watch ends the exchange when the request's context ends.
func (x *exchange) watch() {
	if x.watched {
		return
	}
	x.watched = true
	ctx := x.req.Context()
	x.stop = context.AfterFunc(ctx, func() { x.interrupt(context.Cause(ctx)) })
}

// unwatch ends the watch. It is false where the context has ended before: the interruption may still be to come.
func (x *exchange) unwatch() bool {
	stop := x.stop
	x.watched, x.stop = false, nil
	return stop == nil || stop()
}

// interrupt ends all reads and writes of the exchange.
func (x *exchange) interrupt(why error) {
	if x.interrupted.CompareAndSwap(nil, &why) {
		_ = x.conn.nc.SetDeadline(longAgo)
	}
}

// why prefers the cause of an interruption to what it has brought about.
func (x *exchange) why(err error) error {
	if why := x.interrupted.Load(); why != nil {
		return *why
	}
	return err
}

// interim takes a 1xx response.
func (x *exchange) interim(h *http1.ResponseHead) error {
	if h.Status == http.StatusContinue {
		if x.upload != nil {
			x.upload.permit(true)
		}
		return nil
	}
	return x.caller.Interim(h.Status, h.Header)
}

// fail gives the exchange up before there is a response.
func (x *exchange) fail(err error) error {
	e := &Error{Err: err, Connected: x.conn != nil, Reused: x.reused, Sent: x.sent, Begun: x.begun.Load()}
	x.end(false)
	return e
}

// end gives the connection up: to the next request where that may be, or it is closed.
func (x *exchange) end(sound bool) {
	if x.over {
		return
	}
	x.ending.Lock()
	x.over = true
	x.ending.Unlock()
	if x.upload != nil {
		x.upload.permit(false)
	}
	if x.conn == nil {
		closeBody(x.req)
		return
	}
	if x.head.Close || len(x.conn.reader.Buffered()) > 0 {
		sound = false
	}
	if x.upload != nil {
		sound = sound && x.upload.complete()
	}
	if !x.unwatch() || x.interrupted.Load() != nil {
		sound = false
	}
	closeBody(x.req)
	if !sound {
		x.conn.close()
		return
	}
	x.conn.uses++
	x.client.put(x.conn)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

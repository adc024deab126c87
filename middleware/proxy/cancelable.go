package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// cancelable is an attempt over net/http, which is ended by its context: over HTTP/2, or in a test.
type cancelable struct {
	attempt *attempt
	ctx     context.Context
	cancel  context.CancelCauseFunc
	trace   httptrace.ClientTrace

	mu    sync.Mutex
	timer *time.Timer // nil: there is no deadline
	over  bool        // the response's header has come: there is none any more
}

// over2 sends the request over HTTP/2.
func (a *attempt) over2(req *http.Request) (*http.Response, error) {
	if req.Host == "" {
		return nil, errNoHost // net/http would send the server's own address
	}
	return a.cancelably(req, func(req *http.Request) (*http.Response, error) {
		return a.transport.http2.send(req, func() { a.connected = true })
	})
}

var errNoHost = errors.New("the request has no host, and HTTP/2 has no form for that")

// cancelably sends the request, until the attempt's deadline.
func (a *attempt) cancelably(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	c := &cancelable{attempt: a}
	a.overHTTP2 = c
	c.ctx, c.cancel = context.WithCancelCause(req.Context())
	c.trace = httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error { return a.passInterim(code, http.Header(h)) }}
	if due := (*caller)(a).Deadline(); !due.IsZero() {
		c.timer = time.AfterFunc(time.Until(due), c.expire)
	}
	req = req.WithContext(httptrace.WithClientTrace(c.ctx, &c.trace))
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header = maps.Clone(req.Header)
		req.Header["User-Agent"] = noUserAgent
	}
	if a.tx.body.source != nil {
		a.tx.body.attach(a, req)
	}
	res, err := send(req)
	c.end()
	if err != nil {
		if cause := context.Cause(c.ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	if silence := a.tx.readTimeout(res); silence > 0 {
		res.Body = c.bounded(res.Body, silence)
	}
	return res, nil
}

// noUserAgent keeps net/http from sending a User-Agent of its own.
var noUserAgent = []string{""}

func (c *cancelable) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	// A piece of the request's body may have moved the deadline.
	if left := time.Until((*caller)(c.attempt).Deadline()); left > 0 {
		c.timer.Reset(left)
		return
	}
	c.cancel(http1client.ErrTimeout)
}

func (c *cancelable) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// clientsTurn and serversTurn stop and restart the clock around a read from
// the client's body.
func (c *cancelable) clientsTurn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (c *cancelable) serversTurn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && !c.over {
		c.timer.Reset(time.Until((*caller)(c.attempt).Deadline()))
	}
}

// boundedBody is a response's body that the server must not be silent in for too long.
type boundedBody struct {
	io.ReadCloser
	ctx     context.Context
	silence time.Duration
	timer   *time.Timer
}

func (c *cancelable) bounded(body io.ReadCloser, silence time.Duration) io.ReadCloser {
	b := &boundedBody{ReadCloser: body, ctx: c.ctx, silence: silence}
	b.timer = time.AfterFunc(silence, func() {
		c.cancel(fmt.Errorf("%w: it was silent for %s within the response", http1client.ErrTimeout, silence))
	})
	b.timer.Stop()
	return b
}

func (b *boundedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.silence)
	defer b.timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if cause := context.Cause(b.ctx); err != nil && err != io.EOF && cause != nil {
		err = cause
	}
	return n, err
}

package listener

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// servedRequest is one request and its answer. It is never used again for another
// one: handlers may keep its parts for as long as they like, but for the answer.
type servedRequest struct {
	conn     *http1Conn
	head     http1.RequestHead
	request  *http.Request
	body     *requestBody // nil where there is none
	ctx      requestContext
	response responseWriter
}

// begin makes the request of a head that has been read.
func (x *servedRequest) begin() {
	c, h := x.conn, &x.head
	last := h.Close || h.Minor == 0 && !h.KeepAlive
	x.ctx.x = x
	x.response = responseWriter{
		x: x, conn: c, header: c.header,
		toHEAD: h.Method == http.MethodHead, minor: h.Minor,
		close: last || c.server.draining.Load() && h.Header["Upgrade"] == nil,
	}

	var empty http.Request
	r := empty.WithContext(c.server.options.Context(&x.ctx))
	r.Method, r.URL, r.RequestURI, r.Host = h.Method, h.URL, h.Target, h.Host
	r.Proto, r.ProtoMajor, r.ProtoMinor = h.Proto, 1, h.Minor
	r.Header, r.Trailer = h.Header, h.Trailer
	r.ContentLength, r.Body = int64(h.Body), http.NoBody
	r.RemoteAddr, r.TLS = c.remote, c.tls
	r.Close = last
	if h.Body != 0 {
		x.body = newRequestBody(c, h)
		x.body.request = r
		r.Body = x.body
		if h.Body == http1.Chunked {
			r.TransferEncoding = []string{"chunked"}
		}
	}
	x.request = r
}

// requestContext is a request's context. It ends with the answer, or when the client
// leaves; that is watched for from when Done is first called.
type requestContext struct {
	x *servedRequest

	mu     sync.Mutex
	inner  context.Context // made when it is needed
	cancel context.CancelFunc
	ended  bool
}

type connKey struct{}

// Refusal returns why the body of the request with this context has been cut
// off: it was malformed, or too slow. It is nil as long as there is no such reason. A
// handler asks when reading the body has failed, to answer with the right
// status.
func Refusal(ctx context.Context) *RequestError {
	if x, _ := ctx.Value(connKey{}).(*servedRequest); x != nil && x.body != nil {
		return x.body.refusal.Load()
	}
	return nil
}

// lazily returns the context that does the work. It is one of package
// context's, which knows its own kind: contexts derived from ours need no
// goroutine then.
func (c *requestContext) lazily() context.Context {
	if c.inner == nil {
		c.inner, c.cancel = context.WithCancel(context.Background())
		if c.ended {
			c.cancel()
		}
	}
	return c.inner
}

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	inner, ended := c.lazily(), c.ended
	c.mu.Unlock()
	if !ended {
		c.x.conn.watch.want(c.x)
	}
	return inner.Done()
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return context.Canceled
	}
	return nil
}

// Deadline implements context.Context: there is none.
func (c *requestContext) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Value implements context.Context. It knows what net/http's does.
func (c *requestContext) Value(key any) any {
	switch key {
	case connKey{}:
		return c.x
	case http.LocalAddrContextKey:
		return c.x.conn.LocalAddr()
	case http.ServerContextKey:
		return c.x.conn.server.http
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner == nil {
		return nil
	}
	return inner.Value(key)
}

// end cancels the context.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended = true; c.cancel != nil {
		c.cancel()
	}
}

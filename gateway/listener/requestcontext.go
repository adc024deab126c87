package listener

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// requestContext is a request's context. It ends with the answer, or when the client
// leaves; over HTTP/1 that is watched for from when Done is first called.
type requestContext struct {
	owner contextOwner

	mu     sync.Mutex
	inner  context.Context // made when it is needed
	cancel context.CancelFunc
	ended  bool
}

// contextOwner is the request of either protocol that a context belongs to.
type contextOwner interface {
	watchClient()
	localAddr() net.Addr
	bodyRefusal() *RequestError
}

type ownerKey struct{}

// Refusal returns why the body of the request with this context has been cut
// off: it was malformed, or too slow. It is nil as long as there is no such reason. A
// handler asks when reading the body has failed, to answer with the right
// status.
func Refusal(ctx context.Context) *RequestError {
	if owner, _ := ctx.Value(ownerKey{}).(contextOwner); owner != nil {
		return owner.bodyRefusal()
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
		c.owner.watchClient()
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

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	switch key {
	case ownerKey{}:
		return c.owner
	case http.LocalAddrContextKey:
		return c.owner.localAddr()
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

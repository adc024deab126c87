package http1client

import (
	"errors"
	"sync/atomic"
	"time"
)

// expectations is what is known of a server's way with Expect: 100-continue (RFC 9110 section 10.1.1). Some servers send 100 (Continue) or refuse the
// request; others ignore the field and wait for the body, and a proxy that waits for them loses that time with each request.
type expectations struct{ state atomic.Int32 }

const (
	unknown int32 = iota
	answered
	ignored
)

// grace is how long the body is held back.
func (e *expectations) grace() time.Duration {
	switch e.state.Load() {
	case answered:
		return time.Second
	case ignored:
		return 0
	}
	return 50 * time.Millisecond
}

var errUnwanted = errors.New("the server has answered without the request's body")

// awaitContinue waits until the body should be sent. It is false where the server has answered before that.
func (u *upload) awaitContinue() bool {
	known := &u.x.client.expect
	if grace := known.grace(); grace > 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case allowed := <-u.allowed:
			known.state.Store(answered)
			return allowed
		case <-timer.C:
			known.state.Store(ignored)
		}
	}
	select {
	case allowed := <-u.allowed:
		known.state.Store(answered)
		return allowed
	default:
		return true
	}
}

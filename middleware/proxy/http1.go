package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// over1 sends the request over HTTP/1.1.
func (a *attempt) over1(req *http.Request) (*http.Response, error) {
	a.overHTTP2 = nil
	if a.tx.body.source != nil {
		a.tx.body.attach(a, req)
	}
	res, err := a.transport.http1.Do(req, (*caller)(a), a.fresh)
	if err != nil {
		return nil, a.failed1(err)
	}
	a.connected = true
	a.silence = a.tx.readTimeout(res)
	return res, nil
}

// failed1 notes what became of a request that got no response over HTTP/1.1, and returns why.
func (a *attempt) failed1(err error) error {
	var failure *http1client.Error
	if !errors.As(err, &failure) {
		return err
	}
	a.connected = failure.Connected
	a.lost = failure.Reused && failure.Sent && !failure.Begun
	return failure.Err
}

// caller is an attempt as the HTTP/1.1 client knows it.
type caller attempt

func (c *caller) Deadline() time.Time    { return c.tx.clock.tryDeadline(c.began) }
func (c *caller) Silence() time.Duration { return c.silence }

func (c *caller) Interim(status int, header http.Header) error {
	return (*attempt)(c).passInterim(status, header)
}

// maxInterim bounds the 1xx responses that are passed on for one request.
const maxInterim = 32

// passInterim passes an interim response on.
func (a *attempt) passInterim(code int, header http.Header) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	// The server that reads the client's request sends 100 (Continue) itself as the body is first read, and an
	// HTTP/1.0 client would take any for the response (RFC 9110 section 15.2).
	if a.over || code == http.StatusContinue || !a.tx.in.ProtoAtLeast(1, 1) {
		return nil
	}
	if a.interim++; a.interim > maxInterim {
		return fmt.Errorf("over %d interim responses", maxInterim)
	}
	a.tx.writeInterim(code, header)
	return nil
}

package proxy

import (
	"errors"
	"net/http"
	"time"
)

// lingering is how long a client may go on sending a body that nobody wants
// any more, so that it gets to read its response.
const lingering = time.Second

var errUnwanted = errors.New("the rest of the request's body is not wanted")

// closeAfterUpload marks an HTTP/1 connection to be closed where the response
// begins before the request has ended: it may well never end properly, and
// what is left of it must not be taken for the next request.
func (x *exchange) closeAfterUpload() {
	if x.in.ProtoMajor == 1 && !x.body.ended() {
		x.rw.Header().Set("Connection", "close")
	}
}

// abandonUpload gives up the rest of a request's body. Otherwise net/http,
// which reads up to 256 KiB of it in the hope of using the connection again,
// would wait for them for as long as the client likes.
func (x *exchange) abandonUpload() {
	if x.in.ProtoMajor != 1 || x.body.source == nil || x.rw.hijacked {
		return
	}
	if x.err != nil && (x.body.failure() != nil || !x.body.ended()) {
		x.rw.Header().Set("Connection", "close") // the error is still to be written
	}
	if x.body.ended() {
		return
	}
	// A read under way is ended first: net/http lifts the deadline when it
	// has to do that itself.
	control := http.NewResponseController(x.rw.ResponseWriter)
	if control.SetReadDeadline(time.Now().Add(-time.Second)) != nil {
		return
	}
	x.body.giveUp()
	_ = control.SetReadDeadline(time.Now().Add(lingering))
}

// giveUp waits for the read that is under way, and allows no more.
func (b *requestBody) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == nil {
		b.end = errUnwanted
		b.done.Store(true)
	}
	if b.leavable != nil {
		b.leavable.settle()
	}
}

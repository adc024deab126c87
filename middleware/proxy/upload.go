package proxy

import (
	"errors"
	"net/http"
	"time"
)

// lingering is how long the client may go on sending the rest of a body after
// the response: if the gateway closed the connection at once, the client could
// lose the response before reading it.
const lingering = time.Second

var errUnwanted = errors.New("the rest of the request's body is not forwarded")

// closeAfterUpload marks an HTTP/1 connection to be closed if the response
// begins before the request has ended: the rest of the body may never come, and
// must not be read as the next request.
func (tx *transaction) closeAfterUpload() {
	if tx.in.ProtoMajor == 1 && !tx.body.ended() {
		tx.w.Header().Set("Connection", "close")
	}
}

// abandonUpload stops reading a request's body. Otherwise net/http would read up
// to 256 KiB more of it, to use the connection again, and wait for them without
// a bound in time.
func (tx *transaction) abandonUpload() {
	if tx.in.ProtoMajor != 1 || tx.body.source == nil || tx.hijacked {
		return
	}
	if tx.err != nil && (tx.body.failure() != nil || !tx.body.ended()) {
		tx.w.Header().Set("Connection", "close") // the error is still to be written
	}
	if tx.body.ended() {
		return
	}
	// The read under way is ended here: if net/http has to end it, net/http
	// removes the deadline.
	control := http.NewResponseController(tx.w)
	if control.SetReadDeadline(time.Now().Add(-time.Second)) != nil {
		return
	}
	tx.body.giveUp()
	_ = control.SetReadDeadline(time.Now().Add(lingering))
}

// giveUp waits for the read that is under way, and makes later ones fail.
func (b *requestBody) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == nil {
		b.end = errUnwanted
		b.done.Store(true)
	}
	if b.interruptible != nil {
		b.interruptible.wait()
	}
}

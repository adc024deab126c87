package http1client

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// requestBuffer has room for a request's head, and for the beginning of its body: the two are written together where the body is known to be
// short, since most such bodies have come with the client's head. A longer head gets memory of its own.
const requestBuffer = 16 << 10

var requestBuffers = sync.Pool{New: func() any { return new([requestBuffer]byte) }}

// maxJoined is how long a body may be that waits for its beginning.
const maxJoined = 64 << 10

// prepare appends the request's beginning to b.
func (x *exchange) prepare(b []byte) ([]byte, error) {
	req := x.req
	b, err := http1.AppendRequestLine(b, req.Method, req.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	// A request without a host has an empty field, not the server's own address: RFC 9112 section 3.2.
	b = http1.AppendField(b, "Host", req.Host)
	b = http1.AppendFields(b, req.Header)
	if req.Body != nil && req.Body != http.NoBody && req.ContentLength != 0 {
		return x.prepareBody(b)
	}
	switch req.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, httpx.MethodQuery:
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 section 8.6
	}
	return append(b, "\r\n"...), nil
}

// prepareBody ends the head of a request with a body, and lets the beginning of a short one follow.
func (x *exchange) prepareBody(b []byte) ([]byte, error) {
	framing := http1.Framing(x.req.ContentLength)
	if framing < 0 {
		framing = http1.Chunked
	}
	b = http1.AppendFraming(b, framing)
	if framing == http1.Chunked && len(x.req.Trailer) > 0 {
		names := slices.Collect(maps.Keys(x.req.Trailer))
		b = append(append(append(b, "Trailer: "...), strings.Join(names, ", ")...), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	x.left = int64(framing)
	if framing == http1.Chunked || framing > maxJoined || expects(x.req) {
		return b, nil
	}
	return x.join(b)
}

// join reads the beginning of the body behind the head.
func (x *exchange) join(b []byte) ([]byte, error) {
	free := b[len(b):cap(b)]
	free = free[:min(int64(len(free)), x.left)]
	if len(free) == 0 {
		return b, nil
	}
	n, err := readSome(x.req.Body, free)
	x.due = x.caller.Deadline()
	x.left -= int64(n)
	switch {
	case x.left == 0:
		err = nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return b[:len(b)+n], err
}

// readSome reads until there is something.
func readSome(r io.Reader, p []byte) (int, error) {
	for range 100 {
		if n, err := r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// expects reports whether the client waits to be asked for the body.
func expects(req *http.Request) bool { return len(req.Header["Expect"]) > 0 }

var errShortBody = errors.New("the request's body is shorter than its Content-Length")

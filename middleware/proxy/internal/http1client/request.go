package http1client

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/headgate/headgate/internal/http1"
)

// A request's head is written together with the beginning of its body, where that is known to be short: most such bodies have come with the
// client's head.
const (
	bufferSize = 16 << 10
	maxJoined  = 64 << 10 // a longer body does not wait for its beginning
	maxPooled  = 64 << 10
)

// buffer is pooled by its pointer, since a slice would be allocated for the pool.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, bufferSize)} }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) put() {
	if cap(b.b) > maxPooled {
		return
	}
	b.b = b.b[:0]
	buffers.Put(b)
}

// prepare writes the request's beginning into a buffer.
func (x *exchange) prepare(buf *buffer) error {
	req := x.req
	framing := bodyFraming(req)
	b, err := http1.AppendRequestLine(buf.b[:0], req.Method, req.URL.RequestURI())
	if err != nil {
		return err
	}
	b = appendHeader(b, req, framing)
	buf.b = b
	x.left = int64(framing)
	if framing <= 0 || framing > maxJoined || expects(req) {
		return nil
	}
	return x.join(buf)
}

// join reads the beginning of the body behind the head.
func (x *exchange) join(buf *buffer) error {
	free := buf.b[len(buf.b):cap(buf.b)]
	free = free[:min(int64(len(free)), x.left)]
	if len(free) == 0 {
		return nil
	}
	n, err := readSome(x.req.Body, free)
	buf.b = buf.b[:len(buf.b)+n]
	x.left -= int64(n)
	if x.left == 0 {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
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

// bodyFraming is how the request tells the end of its body. It is 0 where it has none.
func bodyFraming(req *http.Request) http1.Framing {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return 0
	case req.ContentLength < 0:
		return http1.Chunked
	}
	return http1.Framing(req.ContentLength)
}

// expects reports whether the client waits to be asked for the body.
func expects(req *http.Request) bool { return len(req.Header["Expect"]) > 0 }

// appendHeader writes the header, with its end.
func appendHeader(b []byte, req *http.Request, framing http1.Framing) []byte {
	// A request without a host has an empty field, not the server's own address: RFC 9112 section 3.2.
	b = http1.AppendField(b, "Host", req.Host)
	b = http1.AppendFields(b, req.Header)
	switch {
	case framing != 0:
		b = http1.AppendFraming(b, framing)
	case req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch:
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 section 8.6
	}
	if framing == http1.Chunked && len(req.Trailer) > 0 {
		b = append(b, "Trailer: "...)
		first := true
		for name := range req.Trailer {
			if !first {
				b = append(b, ", "...)
			}
			b, first = append(b, name...), false
		}
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

var errShortBody = errors.New("the request's body is shorter than its Content-Length")

package http1client

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

var errUnaskedUpgrade = errors.New("the server has switched protocols without being asked to")

// respond makes the response out of its head.
func (x *exchange) respond() (*http.Response, error) {
	h := &x.head
	if h.Status == http.StatusSwitchingProtocols {
		return x.upgrade()
	}
	x.headCame()
	x.fill()
	if h.Body == 0 {
		x.end(true)
		x.res.Body = http.NoBody
		return &x.res, nil
	}
	x.data = http1.NewBody(h.Body)
	x.res.Body = (*responseBody)(x)
	x.res.Trailer = h.Trailer
	return &x.res, nil
}

// headCame ends the deadline of the head. The socket's may stay: overdue finds that nothing is due.
func (x *exchange) headCame() {
	if x.upload != nil {
		x.upload.permit(false)
	}
	x.timing.Lock()
	defer x.timing.Unlock()
	x.headed, x.due = true, time.Time{}
}

// fill makes the http.Response, as net/http has it.
func (x *exchange) fill() {
	h, r := &x.head, &x.res
	r.StatusCode, r.Status = h.Status, statusText(h)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, h.Minor
	if h.Minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	r.Header, r.Close, r.Request, r.TLS = h.Header, h.Close, x.req, x.conn.tls
	switch {
	case h.Body >= 0:
		r.ContentLength = int64(h.Body)
	default:
		r.ContentLength = -1
		if h.Body == http1.Chunked {
			r.TransferEncoding = chunked
		}
	}
	if x.req.Method == http.MethodHead {
		r.ContentLength = -1
		if lengths := h.Header["Content-Length"]; len(lengths) == 1 {
			r.ContentLength, _ = http1.ParseLength(lengths[0]) // the reader has checked it
		}
	}
}

var chunked = []string{"chunked"}

// statusText is the status line without the version.
func statusText(h *http1.ResponseHead) string {
	if h.Status == http.StatusOK && h.Reason == "OK" {
		return "200 OK"
	}
	return string([]byte{byte('0' + h.Status/100), byte('0' + h.Status/10%10), byte('0' + h.Status%10), ' '}) + h.Reason
}

// responseBody is the body of a response.
type responseBody exchange

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	x := (*exchange)(b)
	if x.err != nil || len(p) == 0 {
		return 0, x.err
	}
	if silence := x.caller.Silence(); silence > 0 {
		x.timing.Lock()
		x.due = time.Now().Add(silence)
		x.arm()
		x.timing.Unlock()
	}
	n, err := x.data.Read(x.conn.reader, p)
	if err != nil {
		x.err = err
		if err == io.EOF {
			x.takeTrailer()
		}
		x.end(err == io.EOF)
	}
	return n, err
}

// Ready reports whether the body is known to have something to read. It is for the beginning of the body.
func (b *responseBody) Ready() bool {
	if b.err != nil {
		return false
	}
	came := b.conn.reader.Buffered()
	if b.head.Body != http1.Chunked {
		return len(came) > 0
	}
	line := bytes.IndexByte(came, '\n')
	return line >= 0 && line+1 < len(came) && came[0] != '0' // a chunk's size, and some of the chunk
}

// takeTrailer gives the trailer to the response, as net/http does: those fields that were not announced too.
func (x *exchange) takeTrailer() {
	fields := x.data.Trailer()
	if len(fields) == 0 {
		return
	}
	if x.res.Trailer == nil {
		x.res.Trailer = make(http.Header, len(fields))
	}
	maps.Copy(x.res.Trailer, fields)
}

// Interrupt ends a Read that is under way on another goroutine, and all later ones. It does nothing after the body's end.
func (b *responseBody) Interrupt() {
	x := (*exchange)(b)
	x.ending.Lock()
	defer x.ending.Unlock()
	if !x.over {
		x.interrupt(errBodyInterrupted)
	}
}

var errBodyInterrupted = errors.New("the response's body is not wanted any more")

// Close implements io.Closer. The connection is closed unless the rest of the body has come already: waiting for more is not worth a connection.
// Close must not be called during a Read.
func (b *responseBody) Close() error {
	x := (*exchange)(b)
	if left := x.data.Left(); x.err == nil && left > 0 && left == int64(len(x.conn.reader.Buffered())) {
		_, _ = io.Copy(io.Discard, b)
	}
	if x.err == nil {
		x.err = http.ErrBodyReadAfterClose
		x.end(false)
	}
	return nil
}

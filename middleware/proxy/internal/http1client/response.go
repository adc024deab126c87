package http1client

import (
	"errors"
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
		x.timing.Lock()
		defer x.timing.Unlock()
	}
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

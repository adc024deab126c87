package listener

import (
	"net"
	"net/http"

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
	x.ctx.owner = x
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

// watchClient implements contextOwner: from here on the context ends when the client leaves.
func (x *servedRequest) watchClient() { x.conn.watch.want(x) }

// localAddr implements contextOwner.
func (x *servedRequest) localAddr() net.Addr { return x.conn.LocalAddr() }

// bodyRefusal implements contextOwner.
func (x *servedRequest) bodyRefusal() *RequestError {
	if x.body == nil {
		return nil
	}
	return x.body.refusal.Load()
}

package listener

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// http2Handler stands between net/http, which speaks HTTP/2, and the gateway.
type http2Handler struct {
	next     http.Handler
	options  *Options
	draining *atomic.Bool
}

func (h *http2Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.draining.Load() {
		w.Header()["Connection"] = []string{"close"} // it becomes a GOAWAY
	}
	w.Header()["Content-Type"] = nil // or else net/http guesses one where the app has none
	h.serveHTTP2(w, r)
}

func (h *http2Handler) refuse(w http.ResponseWriter, r *http.Request, err *RequestError) {
	h.options.Refused(peerAddr(r.RemoteAddr), err)
	err.write(w, r)
}

// peerAddr is a request's RemoteAddr as an address.
type peerAddr string

func (peerAddr) Network() string  { return "tcp" }
func (a peerAddr) String() string { return string(a) }

// handover is the listener from which net/http accepts the connections that
// have turned out to speak HTTP/2.
type handover struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newHandover(addr net.Addr) *handover {
	return &handover{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

// give hands a connection over, or closes it when the server is going.
func (h *handover) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }

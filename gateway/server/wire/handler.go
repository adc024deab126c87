package wire

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
)

// handler stands between net/http and the gateway.
type handler struct {
	next     http.Handler
	options  *Options
	draining *atomic.Bool
}

type connKey struct{}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.draining.Load() && r.Header["Upgrade"] == nil {
		w.Header()["Connection"] = []string{"close"} // over HTTP/2 it becomes a GOAWAY
	}
	if r.ProtoMajor >= 2 {
		h.serveHTTP2(w, r)
		return
	}
	c, _ := r.Context().Value(connKey{}).(*http1Conn)
	if c == nil || !c.begin(r) {
		// Nothing is known to come here. Should net/http ever change its mind about
		// where a request ends, this is where it stops.
		h.refuse(w, r, bad("it is uncertain where the request ends"))
		return
	}
	if upgrade := r.Header["Upgrade"]; upgrade != nil {
		dropH2CUpgrade(r.Header, upgrade)
	}
	if r.ContentLength != 0 {
		w = &http1Answer{ResponseWriter: w, conn: c}
	}
	h.next.ServeHTTP(w, r)
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err *RequestError) {
	h.options.Refused(peerAddr(r.RemoteAddr), err)
	err.write(w, r)
}

// peerAddr is a request's RemoteAddr as an address.
type peerAddr string

func (peerAddr) Network() string  { return "tcp" }
func (a peerAddr) String() string { return string(a) }

// Refusal returns why the body of the request with this context has been cut
// off: it was malformed, or too slow. It is nil as long as there is no such reason. A
// handler asks when reading the body has failed, to answer with the right
// status.
func Refusal(ctx context.Context) *RequestError {
	if c, _ := ctx.Value(connKey{}).(*http1Conn); c != nil {
		return c.bodyRefused()
	}
	return nil
}

// http1Answer tells the client that the connection ends here, if by the time
// of the answer the request's body was found to be malformed. net/http does
// not, in full duplex.
type http1Answer struct {
	http.ResponseWriter
	conn  *http1Conn
	begun bool
}

// Unwrap is for http.ResponseController.
func (a *http1Answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *http1Answer) begin() {
	if !a.begun {
		a.begun = true
		if a.conn.bodyRefused() != nil {
			a.Header().Set("Connection", "close")
		}
	}
}

func (a *http1Answer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		a.begin()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *http1Answer) Write(p []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(p)
}

// Flush is for those who ask for an http.Flusher.
func (a *http1Answer) Flush() { _ = a.FlushError() }

// FlushError sends what has been written.
func (a *http1Answer) FlushError() error {
	a.begin()
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// dropH2CUpgrade makes the gateway deaf to the upgrade from HTTP/1.1 to h2c,
// which RFC 9113 has abolished: an app server that agreed to it would speak
// past every rule of the gateway, over a connection that looks upgraded.
func dropH2CUpgrade(h http.Header, upgrade []string) {
	for _, line := range upgrade {
		for protocol := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
			if strings.EqualFold(name, "h2c") || strings.EqualFold(name, "h2") || strings.EqualFold(name, "http") {
				delete(h, "Upgrade")
				delete(h, "Http2-Settings")
				return
			}
		}
	}
}

package proxy

import (
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// readTimeout is how long a server may be silent within the response's body. 0: no bound. Event streams may be, but where the route says otherwise.
func (tx *transaction) readTimeout(res *http.Response) time.Duration {
	switch d := tx.route.ReadTimeout; {
	case res.StatusCode == http.StatusSwitchingProtocols:
		return 0
	case d != 0 || isEventStream(res.Header):
		return max(0, d)
	}
	return max(0, tx.pool.cfg.ReadTimeout)
}

// streams reports whether each piece of a body is for the client at once: of events, and where nothing says how much is to come.
func streams(res *http.Response) bool {
	if res.ContentLength < 0 {
		return true
	}
	return isEventStream(res.Header)
}

// ready reports whether a body is known to have something to read.
func ready(body io.Reader) bool {
	b, ok := body.(interface{ Ready() bool })
	return ok && b.Ready()
}

// isGRPC reports whether a message is gRPC's or gRPC-Web's. Both sides may wait for each other in
// the middle of one.
func isGRPC(h http.Header) bool { return httpx.IsGRPC(h) || httpx.IsGRPCWeb(h) }

// isEventStream reports whether a response is a stream of server-sent events.
func isEventStream(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) == 0 || !strings.Contains(strings.ToLower(types[0]), "event-stream") {
		return false
	}
	base, _, _ := mime.ParseMediaType(types[0])
	return base == "text/event-stream"
}

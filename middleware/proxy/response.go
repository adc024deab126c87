package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// modifyResponse is the ReverseProxy's hook, for the response that is going to
// be passed on.
func (x *exchange) modifyResponse(res *http.Response) error {
	appendVia(res.Header, res.ProtoMajor, res.ProtoMinor, &x.values.viaBack)
	if modify := x.route.ModifyResponse; modify != nil {
		if err := modify(res); err != nil {
			x.current.kind = KindRefused
			var failure *Error
			if errors.As(err, &failure) {
				refusal := *failure
				refusal.Kind, refusal.Upstream, refusal.Server = KindRefused, x.up.name, x.current.server.name
				return &refusal
			}
			return x.newError(KindRefused, http.StatusBadGateway, err)
		}
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		// The body is the connection. ReverseProxy forgets about it where it
		// does not like the upgrade; finish does not.
		x.upgraded = res.Body
		return nil
	}
	x.closeAfterUpload()
	x.cleanTrailer(res.Trailer)
	x.response = responseBody{ReadCloser: res.Body, x: x, res: res}
	if silence := x.pool.cfg.StreamTimeout; silence > 0 {
		x.response.silence = silence
		x.response.timer = time.AfterFunc(silence, func() {
			x.current.cancel(fmt.Errorf("the server was silent for %s within the response", silence))
		})
		x.response.timer.Stop()
	}
	res.Body = &x.response
	return nil
}

// responseBody watches a response's body come in.
type responseBody struct {
	io.ReadCloser
	x       *exchange
	res     *http.Response
	err     error // how reading ended; nil while it has not
	silence time.Duration
	timer   *time.Timer // nil: silence is not bounded
}

func (b *responseBody) Read(p []byte) (int, error) {
	if b.timer != nil {
		b.timer.Reset(b.silence)
		defer b.timer.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.err = err
	}
	return n, err
}

// Close ends the body. ReverseProxy passes the trailers on right after it.
func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.x.cleanTrailer(b.res.Trailer)
	return err
}

// responseWriter stands between the ReverseProxy and the client.
type responseWriter struct {
	http.ResponseWriter
	x        *exchange
	hijacked bool
}

// Unwrap is for http.ResponseController, which flushes through it.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands the connection to the ReverseProxy for an upgrade.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.hijacked = true
	noteUpgrade(w.ResponseWriter)
	if upgraded := w.x.route.OnUpgrade; upgraded != nil {
		upgraded(w.x.in)
	}
	return newUpgradedConn(conn, rw.Reader, w.x.up.options.Upgrades), rw, nil
}

// noteUpgrade tells an Echo response that the connection was upgraded. The 101
// is written to the connection, past Echo, whose middleware would otherwise see
// a response that was never sent.
func noteUpgrade(w http.ResponseWriter) {
	for w != nil {
		if res, ok := w.(*echo.Response); ok {
			res.Status, res.Committed = http.StatusSwitchingProtocols, true
			return
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = u.Unwrap()
	}
}

// writeInterim sends a 1xx response with its own header fields and none of
// those that are set for the final one. It goes to the innermost writer: to
// others, Echo's among them, the first WriteHeader is the only one.
func (w *responseWriter) writeInterim(code int, header http.Header) {
	inner := w.ResponseWriter
	for {
		u, ok := inner.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		inner = u.Unwrap()
	}
	removeHopByHop(header)
	w.x.filter(header)

	h := inner.Header()
	final := make(http.Header, len(h))
	for name, values := range h {
		final[name] = values
	}
	clear(h)
	for name, values := range header {
		h[name] = values
	}
	inner.WriteHeader(code)
	clear(h)
	for name, values := range final {
		h[name] = values
	}
}

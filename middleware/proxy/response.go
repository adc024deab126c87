package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
)

// modifyResponse is ReverseProxy's hook for the response that is passed on.
func (tx *transaction) modifyResponse(res *http.Response) error {
	appendVia(res.Header, res.ProtoMajor, res.ProtoMinor, &tx.values.viaBack)
	if modify := tx.route.ModifyResponse; modify != nil {
		if err := modify(res); err != nil {
			tx.current.kind = KindRefused
			var failure *Error
			if errors.As(err, &failure) {
				refusal := *failure
				refusal.Kind, refusal.Upstream, refusal.Server = KindRefused, tx.up.name, tx.current.server.name
				return &refusal
			}
			return tx.newError(KindRefused, http.StatusBadGateway, err)
		}
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		// The body is the connection. ReverseProxy does not close it if it
		// refuses the upgrade; finish does.
		tx.upgraded = res.Body
		return nil
	}
	tx.closeAfterUpload()
	tx.cleanTrailer(res.Trailer)
	tx.response = responseBody{ReadCloser: res.Body, tx: tx, res: res}
	res.Body = &tx.response
	return nil
}

// responseBody is a response's body. It records how reading it ended.
type responseBody struct {
	io.ReadCloser
	tx  *transaction
	res *http.Response
	err error // how reading ended; nil while it has not
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.err = err
	}
	return n, err
}

// Close ends the body. ReverseProxy passes the trailers on right after it.
func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.tx.cleanTrailer(b.res.Trailer)
	return err
}

// responseWriter is the http.ResponseWriter that ReverseProxy writes to.
type responseWriter struct {
	http.ResponseWriter
	tx       *transaction
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
	if upgraded := w.tx.route.OnUpgrade; upgraded != nil {
		upgraded(w.tx.in)
	}
	return newUpgradedConn(conn, rw.Reader, w.tx.up.options.Upgrades), rw, nil
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
// those that are set for the final one. It calls the innermost writer: others,
// Echo's among them, take the first WriteHeader for the final response's.
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
	w.tx.filter(header)

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

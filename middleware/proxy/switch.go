package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// upgrade passes a 101 (Switching Protocols) on, and then the WebSocket's frames until both sides have sent their last.
func (tx *transaction) upgrade(res *http.Response) *Error {
	appendVia(res.Header, res.ProtoMajor, res.ProtoMinor, defaultPseudonym, &tx.values.viaBack)
	if tx.route.ModifyResponse != nil {
		if failure := tx.modifyResponse(res); failure != nil {
			return failure
		}
	}
	tx.stick(res)
	server, failure := tx.switched(res)
	if failure != nil {
		return failure
	}
	conn, rw, err := http.NewResponseController(tx.w).Hijack()
	if err != nil {
		return tx.newError(KindBroken, http.StatusBadGateway, fmt.Errorf("switching protocols: %w", err))
	}
	tx.hijacked = true
	noteUpgrade(tx.w)
	if upgraded := tx.route.OnUpgrade; upgraded != nil {
		upgraded(tx.in)
	}
	client := newUpgradedConn(conn, rw.Reader, tx.up.options.Upgrades, server)
	defer client.Close()
	defer server.Close()
	stop := context.AfterFunc(tx.in.Context(), func() { server.Close() })
	defer stop()

	addFields(tx.w.Header(), res.Header)
	res.Header, res.Body = tx.w.Header(), nil // so that Write writes the head alone
	if res.Write(rw) != nil || rw.Flush() != nil {
		return nil // the client is gone
	}
	defer tx.follow(res.Header, &Stream{socket: client, server: server})()
	(&tunnel{client: client, server: server, silence: tx.up.options.HalfClosedSilence}).run()
	return nil
}

// switched checks that the server has switched to what it was asked to, and returns its side of the connection.
func (tx *transaction) switched(res *http.Response) (io.ReadWriteCloser, *Error) {
	asked, got := upgradeType(tx.out.Header), upgradeType(res.Header)
	server, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !strings.EqualFold(asked, got) || !isPrintable(got) {
		return nil, tx.newError(KindBroken, http.StatusBadGateway, fmt.Errorf("the server switched to protocol %q where %q was asked for", got, asked))
	}
	return server, nil
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

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// upgrade passes a 101 (Switching Protocols) on, and then the WebSocket's frames until one side ends it.
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
	join(client, server)
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

var errServerEnded = errors.New("the server has ended the WebSocket")

// join copies in both directions until the server or either copy fails. A client that has sent its last leaves the server's direction open.
func join(client *upgradedConn, server io.ReadWriteCloser) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(server, client)
		if half, ok := server.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		} else if err == nil {
			err = errServerEnded
		}
		if err != nil {
			client.Close()
			server.Close()
		}
	}()
	_, _ = io.Copy(client, server)
	server.Close()
	if client.client.hasEnded() {
		<-done // the client has a moment to answer the close frame: see Stream.End
	}
	client.Close()
	<-done
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

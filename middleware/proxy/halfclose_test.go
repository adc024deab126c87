package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// halfClosed returns the two ends of a WebSocket through a gateway.
func halfClosed(t *testing.T, o proxy.Options) (client, app *net.TCPConn, u *proxy.Upstream) {
	apps, over := make(chan net.Conn, 1), make(chan bool)
	t.Cleanup(func() { close(over) })
	server := tcpServer(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		apps <- c
		<-over
	})
	u = newUpstream(t, proxy.Config{Servers: servers(server)}, o)
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	c, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	return c.(*net.TCPConn), (<-apps).(*net.TCPConn), u
}

// A peer that has sent its last, and whose other side never ends, may be gone.
func TestHalfClosedUpgradesEndInSilence(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]func(client, app *net.TCPConn) (ends, silent *net.TCPConn){
		"the client has ended": func(client, app *net.TCPConn) (ends, silent *net.TCPConn) { return client, app },
		"the app has ended":    func(client, app *net.TCPConn) (ends, silent *net.TCPConn) { return app, client },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upgrades := proxy.NewUpgrades()
			client, app, u := halfClosed(t, proxy.Options{Upgrades: upgrades, HalfClosedSilence: 50 * time.Millisecond})
			ends, silent := pick(client, app)
			if err := ends.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(silent); len(got) > 0 || err != nil {
				t.Errorf("the silent side got %q, %v", got, err)
			}
			eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 && upgrades.Len() == 0 })
		})
	}
}

// A client that has been told that no more is coming can't be sent a close frame.
func TestDrainWaitsAMomentForHalfClosedUpgrades(t *testing.T) {
	t.Parallel()
	upgrades := proxy.NewUpgrades()
	client, app, u := halfClosed(t, proxy.Options{Upgrades: upgrades, HalfClosedSilence: time.Hour})
	if err := app.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	if err := upgrades.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 })
}

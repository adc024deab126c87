package server_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// closer is a connection of which one direction can be closed.
type closer interface {
	net.Conn
	CloseWrite() error
}

// socketApp is an app server that takes each connection to an upgrade, and hands it to talk.
func socketApp(t *testing.T, l net.Listener, talk func(c closer, r *bufio.Reader)) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				talk(c.(closer), r)
			}()
		}
	}()
}

// textFrame is a text frame of WebSocket, as servers send it.
func textFrame(text string) string { return "\x81" + string(rune(len(text))) + text }

// halfCloseApps are app servers by how they are reached: the policy's server, and its TLS section.
func halfCloseApps(t *testing.T, talk func(c closer, r *bufio.Reader)) map[string]string {
	dir, err := os.MkdirTemp("", "headgate") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", filepath.Join(dir, "app.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	certFile, keyFile, caFile := filepath.Join(dir, "app.pem"), filepath.Join(dir, "app.key"), filepath.Join(dir, "ca.pem")
	ca.identity(t, "app", certFile, keyFile)
	replaceFile(t, caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []net.Listener{plain, unix, secure} {
		socketApp(t, l, talk)
	}
	return map[string]string{
		"tcp":  fmt.Sprintf("{servers: [%q]}", "http://"+plain.Addr().String()),
		"unix": fmt.Sprintf("{servers: [%q]}", "unix:"+unix.Addr().String()),
		"tls":  fmt.Sprintf("{servers: [%q], tls: {ca_file: %q}}", "https://"+secure.Addr().String(), caFile),
	}
}

// eachHalfClose runs a test for each way in which clients and app servers can be connected.
func eachHalfClose(t *testing.T, talk func(c closer, r *bufio.Reader), test func(t *testing.T, c closer, r *bufio.Reader)) {
	pair := newKeyPair(t)
	listen := map[string]string{"tcp": "", "tls": pair.server("")}
	for app, upstream := range halfCloseApps(t, talk) {
		for client, section := range listen {
			t.Run(client+" to "+app, func(t *testing.T) {
				t.Parallel()
				g := start(t, fmt.Sprintf(section+`
upstreams: {app: %s}
routes: [{name: all, path: /*, upstream: app}]
`, upstream))
				c := dialHalf(t, g, client)
				fmt.Fprint(c, upgradeRequest)
				r := bufio.NewReader(c)
				if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
					t.Fatal(res, err)
				}
				test(t, c, r)
				eventually(t, "the place at the app server is given back", func() bool {
					return g.metric("headgate_upstream_active_requests") == 0
				})
			})
		}
	}
}

func dialHalf(t *testing.T, g *gateway, client string) closer {
	nc, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // a test that fails must end
	if client == "tls" {
		return tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, RootCAs: x509.NewCertPool()}) //nolint:gosec // a test
	}
	return nc.(closer)
}

// An app server that has sent its last, and reads on, gets the rest of what the client sends.
func TestAnAppThatEndsItsSideOfAWebSocketStillReads(t *testing.T) {
	t.Parallel()
	got := make(chan string, 16)
	eachHalfClose(t, func(c closer, r *bufio.Reader) {
		fmt.Fprint(c, textFrame("last words"))
		_ = c.CloseWrite()
		text, err := io.ReadAll(r)
		got <- fmt.Sprintf("%s, %v", text, err)
	}, func(t *testing.T, c closer, r *bufio.Reader) {
		// The client answers only when it has seen the end.
		if text, err := io.ReadAll(r); string(text) != textFrame("last words") || err != nil {
			t.Errorf("the client got %q, %v", text, err)
		}
		if _, err := io.WriteString(c, textFrame("an answer")); err != nil {
			t.Error(err)
		}
		_ = c.CloseWrite()
		if text, want := <-got, textFrame("an answer")+", <nil>"; text != want {
			t.Errorf("the app got %q, want %q", text, want)
		}
	})
}

// A client that has sent its last, and reads on, gets the rest of what the app server sends.
func TestAClientThatEndsItsSideOfAWebSocketStillReads(t *testing.T) {
	t.Parallel()
	eachHalfClose(t, func(c closer, r *bufio.Reader) {
		text, err := io.ReadAll(r) // the app answers only when it has seen the end
		fmt.Fprint(c, textFrame(fmt.Sprintf("%d bytes, %v", len(text), err)))
	}, func(t *testing.T, c closer, r *bufio.Reader) {
		_, _ = io.WriteString(c, textFrame("hello"))
		_ = c.CloseWrite()
		if text, err := io.ReadAll(r); string(text) != textFrame("7 bytes, <nil>") || err != nil {
			t.Errorf("the client got %q, %v", text, err)
		}
	})
}

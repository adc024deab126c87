package proxy_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/headgate/headgate/middleware/proxy"
)

// dyingH2C takes one HTTP/2 connection and lets it die once the client has
// sent a first piece of a request's body.
func dyingH2C(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
			return
		}
		frames := http2.NewFramer(c, c)
		_ = frames.WriteSettings()
		for {
			if f, err := frames.ReadFrame(); err != nil || f.Header().Type == http2.FrameData {
				return
			}
		}
	}()
	return "http://" + l.Addr().String()
}

func h2cOrigin(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// With net/http's HTTP/2 alone, both of these wait for the client's next byte,
// and the client for its answer.
func TestServerThatDiesOverHTTP2DoesNotWaitForTheRequestsBody(t *testing.T) {
	t.Parallel()
	send := func(t *testing.T, method, url string, body io.Reader) answer {
		t.Helper()
		req, err := http.NewRequest(method, url, body)
		if err != nil {
			t.Fatal(err)
		}
		return do(t, req)
	}

	t.Run("the failure is told at once", func(t *testing.T) {
		t.Parallel()
		gw := gateway(t, proxy.Config{Servers: servers(dyingH2C(t)), Protocol: proxy.H2C}, proxy.RouteOptions{Unbuffered: true})
		body, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("a"))
		if a := send(t, "POST", gw.URL, body); a.status != http.StatusBadGateway {
			t.Errorf("%d %q, %v", a.status, a.body, a.err)
		}
	})

	t.Run("another server takes over what has been read, and what is to come", func(t *testing.T) {
		t.Parallel()
		reached := make(chan bool, 1)
		alive := h2cOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			reached <- true
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		})
		gw := gateway(t, proxy.Config{Servers: servers(dyingH2C(t), alive), Protocol: proxy.H2C, Retries: 1}, proxy.RouteOptions{Unbuffered: true})
		body, w := io.Pipe()
		go func() {
			w.Write([]byte("a"))
			select {
			case <-reached:
				w.Write([]byte("b"))
				w.Close()
			case <-time.After(20 * time.Second):
				w.CloseWithError(io.ErrUnexpectedEOF)
			}
		}()
		if a := send(t, "PUT", gw.URL, body); a.status != 200 || a.body != "ab" {
			t.Errorf("%d %q, %v", a.status, a.body, a.err)
		}
	})
}

package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Issue 15, number 15: a client that leaves within a response and an app server that breaks one off were one line in the log.
func TestTheLogSaysWhoBrokeOff(t *testing.T) {
	t.Parallel()
	leave := make(chan bool)
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%q], retries: 0, read_timeout: 100ms}}
routes: [{name: all, path: /*, upstream: shop, buffer: off}]
`, appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/never" {
			leave <- true
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Length", "1000000000")
		io.WriteString(w, strings.Repeat("a", 70_000))
		w.(http.Flusher).Flush()
		switch r.URL.Path {
		case "/app":
			panic(http.ErrAbortHandler)
		case "/silent":
			<-r.Context().Done()
		case "/client":
			leave <- true
			for {
				if _, err := io.WriteString(w, "a"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		}
	}).URL))
	for target, want := range map[string]string{
		"/app":    `"error":"the app server broke off its response: upstream shop, server http://`,
		"/silent": `"error":"the app server stopped sending within its response: upstream shop, server http://`,
		"/client": `"error":"the client left before the response was complete"`,
		"/never":  `"error":"The client left before it was answered.`,
	} {
		c, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target)
		switch target {
		case "/client", "/never":
			<-leave
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		default:
			io.Copy(io.Discard, c)
		}
		eventually(t, "the log says that "+target+" broke off: "+want, func() bool {
			for line := range strings.Lines(g.log.String()) {
				if strings.Contains(line, `"uri":"`+target+`"`) && strings.Contains(line, want) {
					return true
				}
			}
			return false
		})
	}
}

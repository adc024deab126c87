package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// beginUpload sends the beginning of a request of 300 KiB, and returns its connection.
func (g *gateway) beginUpload(path string) net.Conn {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, 300<<10, strings.Repeat("x", 200<<10))
	return c
}

// What a policy says of reading ahead holds: what is not read ahead reaches the app before it is whole.
func TestThePolicySaysWhatIsReadAhead(t *testing.T) {
	t.Parallel()
	const policy = `
upstreams: {shop: {servers: [%s], buffer: {spool: 0}}}
routes:
  - {name: off, path: /off/*, upstream: shop, buffer: off}
  - {name: on, path: /*, upstream: shop}
`
	for name, tc := range map[string]struct {
		memory, path string
		ahead        bool
	}{
		"by default":          {"", "/x", true},
		"buffer: off":         {"", "/off/x", false},
		"memory.buffers: 0":   {"memory: {buffers: 0}\n", "/x", false},
		"memory.buffers, few": {"memory: {buffers: 64KiB}\n", "/x", false},
		"memory.buffers":      {"memory: {buffers: 1MiB}\n", "/x", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 2)
			shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
				asked <- r.URL.Path
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n)
			})
			g := start(t, fmt.Sprintf(policy, shop.URL)+tc.memory)
			c := g.beginUpload(tc.path)
			if tc.ahead {
				g.do("GET", "/other") // is answered meanwhile
				if path := <-asked; path != "/other" {
					t.Errorf("%s reached the app before it was whole", path)
				}
			} else {
				<-asked // or the test does not end
			}
			_, _ = io.WriteString(c, strings.Repeat("x", 100<<10))
			l := &line{c, bufio.NewReader(c)}
			if r := l.read("POST", nil); r.err != nil || r.body != fmt.Sprint(300<<10) {
				t.Errorf("%s", r.text(r))
			}
		})
	}
}

// An app that falls silent within an answer's body is cut off by the route's read_timeout, or else by the upstream's.
func TestThePolicysReadTimeoutEndsSilentAnswers(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "some")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	g := start(t, fmt.Sprintf(`
upstreams:
  quick: {servers: [%[1]s], read_timeout: 200ms}
  patient: {servers: [%[1]s]}
routes:
  - {name: upstreams, path: /upstream, upstream: quick}
  - {name: routes, path: /route, upstream: patient, read_timeout: 200ms}
`, shop.URL))
	for _, path := range []string{"/upstream", "/route"} {
		l := dialLine(t, g.Addr())
		_ = l.SetDeadline(time.Now().Add(40 * time.Second)) // the default is longer
		l.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		r := l.read("GET", nil)
		if r.res == nil || r.body != "some" || r.err == nil || strings.Contains(r.err.Error(), "timeout") {
			t.Errorf("%s: %s", path, r.text(r))
		}
		l.Close()
	}
	if proxy.DefaultReadTimeout != time.Minute {
		t.Errorf("by default an app may be silent for %s", proxy.DefaultReadTimeout)
	}
}

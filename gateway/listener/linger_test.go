package listener_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

// refuseUploads answers with the status that the path names, and reads nothing.
var refuseUploads = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if status, named := map[string]int{"/413": 413, "/429": 429, "/401": 401}[r.URL.Path]; named {
		w.WriteHeader(status)
	}
	_, _ = io.WriteString(w, "no")
})

// uploads is a client as many scripts have it: http.client reads the answer when all is sent.
const uploads = `
import http.client, ssl, sys
scheme, addr = sys.argv[1:]
for status in (413, 429, 401):
    if scheme == "https":
        c = http.client.HTTPSConnection(addr, timeout=60, context=ssl._create_unverified_context())
    else:
        c = http.client.HTTPConnection(addr, timeout=60)
    c.request("POST", "/%d" % status, body=b"x" * (8 << 20))
    r = c.getresponse()
    assert r.status == status, r.status
    assert r.read() == b"no"
    c.close()
`

func TestPythonReadsTheAnswerToARefusedUpload(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cert, key := keyPair(t, t.TempDir(), "a")
	for scheme, o := range map[string]listener.Options{"http": {HTTP1: true}, "https": {HTTP1: true, CertFile: cert, KeyFile: key}} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			o.Handler = refuseUploads
			addr, _ := start(t, o)
			if out, err := exec.CommandContext(t.Context(), python, "-c", uploads, scheme, addr).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestClientThatReadsWhenAllIsSentGetsTheAnswerToARefusedUpload(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for _, tt := range []struct {
		name   string
		tls    bool // of the server
		plain  bool // the client knows nothing of it
		head   string
		status int
	}{
		{"by length", false, false, "POST /413 HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n", 413},
		{"in chunks", false, false, "POST /413 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n", 413},
		{"malformed", false, false, "POST /413 HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 8388608\r\n\r\n", 400},
		{"over TLS", true, false, "POST /413 HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n", 413},
		{"malformed, over TLS", true, false, "POST /413 HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 8388608\r\n\r\n", 400},
		{"without TLS where there should be", true, true, "POST /413 HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := listener.Options{Handler: refuseUploads}
			if tt.tls {
				o.HTTP1, o.CertFile, o.KeyFile = true, cert, key
			}
			addr, _ := start(t, o)
			var c net.Conn
			if tt.tls && !tt.plain {
				c = secure(t, addr)
			} else {
				c = dial(t, addr)
			}
			if _, err := io.WriteString(c, tt.head+strings.Repeat("x", 8<<20)); err != nil {
				t.Fatalf("the server did not let the client say it all: %v", err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || res.StatusCode != tt.status {
				t.Fatal(res, err)
			}
		})
	}
}

// linger makes a connection whose last answer is out, and whose client could go on sending.
func linger(t *testing.T, addr string) net.Conn {
	t.Helper()
	c := dial(t, addr)
	send(t, c, "POST /413 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n")
	if all, closed := replies(t, c); len(all) != 1 || all[0].StatusCode != 413 || !closed {
		t.Fatalf("answers %v, closed: %v", statuses(all), closed)
	}
	return c
}

// sendUntilClosed sends pieces, with a pause between them, until the server has closed the connection.
func sendUntilClosed(t *testing.T, c net.Conn, piece string, pause time.Duration) (sent int) {
	t.Helper()
	for {
		n, err := io.WriteString(c, piece)
		sent += n
		if err != nil {
			if isTimeout(err) {
				t.Error("the server has left the connection open")
			}
			return sent
		}
		time.Sleep(pause)
	}
}

func TestLingeringConnectionIsClosed(t *testing.T) {
	t.Parallel()
	t.Run("when its time is over", func(t *testing.T) {
		t.Parallel()
		addr, _ := start(t, listener.Options{Handler: refuseUploads, LingerTimeout: 300 * time.Millisecond})
		sendUntilClosed(t, linger(t, addr), "x", 10*time.Millisecond)
	})
	t.Run("when nothing comes", func(t *testing.T) {
		t.Parallel()
		const limit = 3 * time.Second
		addr, _ := start(t, listener.Options{Handler: refuseUploads, LingerTimeout: limit, MaxConnectionsPerIP: 1})
		linger(t, addr)
		begun := time.Now()
		eventually(t, "the connection to be closed", func() bool { return served(t, addr) })
		if took := time.Since(begun); took < limit/12 {
			t.Errorf("after %v", took)
		}
	})
	t.Run("when it has sent too much", func(t *testing.T) {
		t.Parallel()
		addr, _ := start(t, listener.Options{Handler: refuseUploads, LingerTimeout: time.Hour})
		c := linger(t, addr)
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		if sent := sendUntilClosed(t, c, strings.Repeat("x", 1<<20), 0); sent < 256<<20 {
			t.Errorf("after %d bytes", sent)
		}
	})
	t.Run("when the server is shut down", func(t *testing.T) {
		t.Parallel()
		addr, s := start(t, listener.Options{Handler: refuseUploads, LingerTimeout: time.Hour})
		linger(t, addr)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	t.Run("when the server is closed", func(t *testing.T) {
		t.Parallel()
		addr, s := start(t, listener.Options{Handler: refuseUploads, LingerTimeout: time.Hour})
		c := linger(t, addr)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		sendUntilClosed(t, c, "x", time.Millisecond)
	})
}

// A client that may finish what it sends holds one of the connections that its address may have.
func TestLingeringConnectionCountsForItsAddress(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: refuseUploads, LingerTimeout: time.Hour, MaxConnectionsPerIP: 1})
	c := linger(t, addr)
	if served(t, addr) {
		t.Error("a second connection was served")
	}
	c.Close()
	eventually(t, "a place for a connection", func() bool { return served(t, addr) })
}

// served reports whether a new connection is served.
func served(t *testing.T, addr string) bool {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false // it was closed before the client knew
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	send(t, c, get())
	_, err = http.ReadResponse(bufio.NewReader(c), nil)
	if isTimeout(err) {
		t.Error("the server does nothing")
	}
	return err == nil
}

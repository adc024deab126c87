package policytest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// recorder is the http.ResponseWriter of one request. It keeps what net/http's server would have
// sent to the client.
type recorder struct {
	header   http.Header
	status   int
	sent     http.Header // as it was when the status was written
	body     bytes.Buffer
	upgraded *wireConn
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status != 0 || status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		return // an interim response is not the answer
	}
	r.status, r.sent = status, r.header.Clone()
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// Flush implements http.Flusher: like a write, it sends the header.
func (r *recorder) Flush() { r.WriteHeader(http.StatusOK) }

// Hijack hands out the connection, for an upgrade.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if r.status != 0 || r.upgraded != nil {
		return nil, nil, http.ErrHijacked
	}
	r.upgraded = &wireConn{closed: make(chan struct{})}
	return r.upgraded, bufio.NewReadWriter(bufio.NewReader(r.upgraded), bufio.NewWriter(r.upgraded)), nil
}

// finish returns the response that the client received.
func (r *recorder) finish() (status int, header http.Header, body string) {
	if r.upgraded != nil {
		res, err := http.ReadResponse(bufio.NewReader(r.upgraded.written()), nil)
		if err != nil {
			return 0, http.Header{}, ""
		}
		res.Body.Close()
		return res.StatusCode, res.Header, ""
	}
	r.WriteHeader(http.StatusOK)
	return r.status, r.sent, decoded(r.body.String(), r.sent.Get("Content-Encoding"))
}

// decoded returns a body as a test has it: without the encoding that the gateway has put it in. One that is not in that
// encoding is what the test's app server has sent.
func decoded(body, encoding string) string {
	source := strings.NewReader(body)
	var r io.Reader
	var err error
	switch encoding {
	case "br":
		r = brotli.NewReader(source)
	case "gzip":
		r, err = gzip.NewReader(source)
	case "zstd":
		r, err = zstd.NewReader(source, zstd.WithDecoderConcurrency(1))
	default:
		return body
	}
	if err != nil {
		return body
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return body
	}
	return string(text)
}

// wireConn is a hijacked connection to a client that sends nothing more.
type wireConn struct {
	mu     sync.Mutex
	out    bytes.Buffer
	once   sync.Once
	closed chan struct{}
}

func (c *wireConn) Read([]byte) (int, error) {
	<-c.closed
	return 0, io.EOF
}

func (c *wireConn) Write(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, errClosed
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *wireConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *wireConn) written() io.Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.NewReader(c.out.Bytes())
}

func (c *wireConn) LocalAddr() net.Addr              { return testAddr{} }
func (c *wireConn) RemoteAddr() net.Addr             { return testAddr{} }
func (c *wireConn) SetDeadline(time.Time) error      { return nil }
func (c *wireConn) SetReadDeadline(time.Time) error  { return nil }
func (c *wireConn) SetWriteDeadline(time.Time) error { return nil }

type testAddr struct{}

func (testAddr) Network() string { return "test" }
func (testAddr) String() string  { return "test" }

package listener_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/listener"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacker speaks HTTP/2 frame by frame, and needs not mind the rules.
type attacker struct {
	net.Conn
	*http2.Framer
	t       *testing.T
	header  bytes.Buffer
	encoder *hpack.Encoder
}

func attack(t *testing.T, addr string, settings ...http2.Setting) *attacker {
	t.Helper()
	c := dial(t, addr)
	send(t, c, http2.ClientPreface)
	a := &attacker{Conn: c, Framer: http2.NewFramer(c, c), t: t}
	a.Framer.AllowIllegalWrites = true
	a.encoder = hpack.NewEncoder(&a.header)
	if err := a.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return a
}

// block encodes header fields, given as name, value, name, value.
func (a *attacker) block(fields ...string) []byte {
	a.header.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := a.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			a.t.Fatal(err)
		}
	}
	return bytes.Clone(a.header.Bytes())
}

// request sends a whole GET.
func (a *attacker) request(stream uint32, more ...string) error {
	return a.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndStream: true, EndHeaders: true,
		BlockFragment: a.block(append([]string{":method", "GET", ":scheme", "http", ":path", "/attack", ":authority", "a"}, more...)...),
	})
}

// outcome reads until the server ends the connection or, when wanted, a
// stream. It returns the status that stream got, if any.
func (a *attacker) outcome(stream uint32) (status string, reset, closed bool) {
	a.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := a.ReadFrame()
		if err != nil {
			if isTimeout(err) {
				a.t.Errorf("the server does nothing")
			}
			return status, false, true
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == stream {
				status = f.PseudoValue("status")
				if f.StreamEnded() {
					return status, false, false
				}
			}
		case *http2.DataFrame:
			if f.StreamID == stream && f.StreamEnded() {
				return status, false, false
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return status, true, false
			}
		}
	}
}

// drain throws away what the server sends, and closes the channel at its end.
func (a *attacker) drain() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(io.Discard, a.Conn)
		if isTimeout(err) {
			a.t.Error("the server has left the connection open")
		}
	}()
	return done
}

// alive checks that somebody else is served.
func alive(t *testing.T, addr string) {
	t.Helper()
	cl := client(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	defer cl.CloseIdleConnections()
	res, err := cl.Get("http://" + addr + "/alive")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestRapidResetEndsTheConnectionAndRunsFewHandlers(t *testing.T) {
	t.Parallel()
	const streams = 20
	var running, most atomic.Int32
	release := make(chan struct{})
	addr, _ := start(t, listener.Options{
		HTTP1: true, H2C: true, MaxStreams: streams,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/alive" {
				return
			}
			most.Store(max(most.Load(), running.Add(1)))
			<-release // an app server that works on, although nobody waits
			running.Add(-1)
		}),
	})
	t.Cleanup(func() { close(release) })
	a := attack(t, addr)
	closed := a.drain()
	for i := range uint32(1 << 20) {
		if a.request(2*i+1) != nil || a.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
			break
		}
	}
	<-closed
	if n := most.Load(); n > streams {
		t.Errorf("%d handlers ran at a time", n)
	}
	alive(t, addr)
}

func TestEndlessHeadersEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(a *attacker) error{
		"CONTINUATION": func(a *attacker) error {
			if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET")}); err != nil {
				return err
			}
			filler := a.block("x", strings.Repeat("y", 10_000))
			for range 100_000 {
				if err := a.WriteContinuation(1, false, filler); err != nil {
					return err
				}
			}
			return nil
		},
		"empty CONTINUATION": func(a *attacker) error {
			if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET")}); err != nil {
				return err
			}
			for range 200_000 {
				if err := a.WriteContinuation(1, false, nil); err != nil {
					return err
				}
			}
			return nil
		},
		"HPACK bomb in CONTINUATION": func(a *attacker) error {
			bomb := strings.Repeat("y", 3000)
			if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET", "x", bomb)}); err != nil {
				return err
			}
			index := a.block("x", bomb) // one byte that stands for 3000
			for range 10_000 {
				if err := a.WriteContinuation(1, false, bytes.Repeat(index, 10_000)); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h, ReadHeaderTimeout: time.Second, IdleTimeout: time.Second})
			a := attack(t, addr)
			closed := a.drain()
			_ = flood(a)
			<-closed
			alive(t, addr)
			if diff := cmp.Diff([]string{"/alive"}, h.targets()); diff != "" {
				t.Errorf("the handler met (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLargeHTTP2HeadersAre431(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h, MaxHeaderBytes: 8 << 10})
	for name, more := range map[string][]string{
		"a little":  {"x", strings.Repeat("y", 9_000)},
		"much":      {"x", strings.Repeat("y", 16_000)},
		"many":      strings.Split(strings.Repeat("x\x00y\x00", 1500)+"x\x00y", "\x00"),
		"by HPACK":  strings.Split(strings.Repeat("x\x00"+strings.Repeat("y", 3000)+"\x00", 2000)+"x\x00y", "\x00"),
		"in cookie": {"cookie", strings.Repeat("y", 9_000)},
	} {
		a := attack(t, addr)
		if err := a.request(1, more...); err != nil {
			t.Fatal(err)
		}
		if status, _, closed := a.outcome(1); status != "431" && !closed {
			t.Errorf("%s: status %q", name, status)
		}
	}
	if met := h.targets(); met != nil {
		t.Errorf("the handler met %q", met)
	}
}

// small is a listener whose connections have little room for what is sent, so
// that it is soon known that a client does not read. It counts those that are
// closed: the client may not hear of it, with no room to receive.
type small struct {
	net.Listener
	closed *atomic.Int32
}

func (l small) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return smallConn{c, l.closed}, err
}

type smallConn struct {
	net.Conn
	closed *atomic.Int32
}

func (c smallConn) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

// What is answered with an acknowledgement must not pile up for a client that
// does not read.
func TestFloodOfPingsEndsTheConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := new(atomic.Int32)
	addr, _ := serve(t, listener.Options{HTTP1: true, H2C: true, Handler: &recorder{}, WriteStall: 500 * time.Millisecond}, small{l, closed})
	a := attack(t, addr)
	_ = a.Conn.(*net.TCPConn).SetReadBuffer(4096)
	var flood sync.WaitGroup
	flood.Go(func() {
		for a.WritePing(false, [8]byte{}) == nil {
		}
	})
	eventually(t, "the connection to be closed", func() bool { return closed.Load() > 0 })
	a.Close()
	flood.Wait()
	alive(t, addr)
}

// Whether and when the connection ends is another test's business.
func TestFloodOfSettingsHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: &recorder{}, WriteStall: 500 * time.Millisecond})
	a := attack(t, addr)
	_ = a.SetWriteDeadline(time.Now().Add(3 * time.Second))
	empty := []byte{0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0}
	for range 100 {
		if _, err := a.Write(bytes.Repeat(empty, 1000)); err != nil {
			break
		}
		alive(t, addr)
	}
}

func TestStreamsThatTakeNothingAreReset(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"more than is buffered": 1 << 20, "less than is buffered": 100} {
		for _, flush := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ended := make(chan error, 1)
				addr, _ := start(t, listener.Options{
					HTTP1: true, H2C: true, WriteStall: 100 * time.Millisecond,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/alive" {
							return
						}
						_, err := w.Write(make([]byte, size))
						if flush && err == nil {
							err = http.NewResponseController(w).Flush()
						}
						ended <- err
					}),
				})
				a := attack(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				if err := a.request(1); err != nil {
					t.Fatal(err)
				}
				if _, reset, _ := a.outcome(1); !reset {
					t.Error("the stream was not reset")
				}
				if err := <-ended; err == nil && (flush || size > 100) {
					t.Error("the handler was not told")
				}
				alive(t, addr)
			})
		}
	}
}

func TestMalformedHTTP2RequestsDoNotReachTheHandler(t *testing.T) {
	t.Parallel()
	base := func(more ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":path", "/attack", ":authority", "a"}, more...)
	}
	for _, tt := range []struct {
		name   string
		fields []string
		body   string
	}{
		{"transfer-encoding", base("transfer-encoding", "chunked"), "0\r\n\r\n"},
		{"connection", base("connection", "keep-alive"), ""},
		{"te", base("te", "gzip"), ""},
		{"upper case", base("X-Odd", "y"), ""},
		{"line break in a value", base("x", "y\r\ntransfer-encoding: chunked"), ""},
		{"line feed in a value", base("x", "y\nz: a"), ""},
		{"NUL in a value", base("x", "y\x00"), ""},
		{"colon in a name", base("x:y", "z"), ""},
		{"blank in a name", base("x y", "z"), ""},
		{"line break in a name", base("x\r\ny", "z"), ""},
		{"blank in the method", []string{":method", "GET / HTTP/1.1", ":scheme", "http", ":path", "/attack", ":authority", "a"}, ""},
		{"line break in the path", []string{":method", "GET", ":scheme", "http", ":path", "/attack HTTP/1.1\r\nHost: b", ":authority", "a"}, ""},
		{"no path", []string{":method", "GET", ":scheme", "http", ":authority", "a"}, ""},
		{"empty path", []string{":method", "GET", ":scheme", "http", ":path", "", ":authority", "a"}, ""},
		{"path without slash", []string{":method", "GET", ":scheme", "http", ":path", "attack", ":authority", "a"}, ""},
		{"no method", []string{":scheme", "http", ":path", "/attack", ":authority", "a"}, ""},
		{"two methods", append([]string{":method", "GET"}, base()...), ""},
		{"two paths", append([]string{":path", "/other"}, base()...), ""},
		{"odd scheme", []string{":method", "GET", ":scheme", "gopher", ":path", "/attack", ":authority", "a"}, ""},
		{"unknown pseudo header", base(":x", "y"), ""},
		{"pseudo header at the end", []string{"x", "y", ":method", "GET", ":scheme", "http", ":path", "/attack", ":authority", "a"}, ""},
		{"body longer than content-length", base("content-length", "1"), "too long"},
		{"body shorter than content-length", base("content-length", "9"), "short"},
		{"content-length without a body", base("content-length", "9"), ""},
		{"two content-lengths", base("content-length", "5", "content-length", "5"), "short"},
		{"content-length is not a number", base("content-length", "+5"), "short"},
		{"Host other than the authority", base("host", "b"), ""},
		{"bad authority", []string{":method", "GET", ":scheme", "http", ":path", "/attack", ":authority", "a b\\"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h})
			a := attack(t, addr)
			if err := a.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, EndStream: tt.body == "", EndHeaders: true, BlockFragment: a.block(tt.fields...),
			}); err != nil {
				t.Fatal(err)
			}
			if tt.body != "" {
				_ = a.WriteData(1, true, []byte(tt.body))
			}
			status, reset, closed := a.outcome(1)
			if !reset && !closed && status != "400" && status != "501" {
				t.Errorf("status %q", status)
			}
			for _, s := range h.all() {
				if s.BodyError == nil {
					t.Errorf("the handler met %+v", s)
				}
			}
		})
	}
}

func TestHTTP2RequestsHaveTheFormOfOthers(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h})
	a := attack(t, addr)
	if err := a.request(1, "host", "a", "x", "y"); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := a.outcome(1); status != "200" {
		t.Fatalf("status %q", status)
	}
	if got := h.all()[0]; got.Host != "a" || got.Header["Host"] != nil || got.Header.Get("X") != "y" {
		t.Errorf("the handler met %+v", got)
	}
}

// The preface is HTTP/2's only as the first bytes of a connection, and as a whole.
func TestHTTP2PrefaceTricks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		send string
		h2c  bool
		want int
	}{
		"other bytes behind it":   {"PRI * HTTP/2.0\r\n\r\nGET /marker HTTP/1.1\r\nHost: a\r\n\r\n", true, 400},
		"a header in it":          {"PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n" + marker, true, 400},
		"another method":          {"GET * HTTP/2.0\r\n\r\nSM\r\n\r\n" + marker, true, 505},
		"in lower case":           {"pri * HTTP/2.0\r\n\r\nSM\r\n\r\n" + marker, true, 505},
		"behind a request":        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + http2.ClientPreface, true, 505},
		"h2c is off":              {http2.ClientPreface, false, 505},
		"as a request, HTTP/1.1":  {"PRI * HTTP/1.1\r\nHost: a\r\n\r\nSM\r\n\r\n" + marker, true, 400},
		"with bare LFs":           {"PRI * HTTP/2.0\n\nSM\n\n" + marker, true, 400},
		"with a blank line first": {"\r\n" + http2.ClientPreface, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			addr, _ := start(t, listener.Options{HTTP1: true, H2C: tt.h2c, Handler: h})
			c := dial(t, addr)
			send(t, c, tt.send)
			if tt.want == 0 { // HTTP/2 has begun
				return
			}
			all, closed := replies(t, c)
			if len(all) == 0 || all[len(all)-1].StatusCode != tt.want || !closed {
				t.Errorf("answers %v, closed: %v", statuses(all), closed)
			}
			for _, target := range h.targets() {
				if target == "/marker" {
					t.Error("the marker was served")
				}
			}
		})
	}
}

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/headgate/headgate/middleware/proxy"
)

// streamed is a gateway that hands its streams to the test. The second channel tells of each that has ended.
func streamed(t testing.TB, cfg proxy.Config) (url string, streams <-chan *proxy.Stream, ended <-chan bool, up *proxy.Upstream) {
	s, e := make(chan *proxy.Stream, 10), make(chan bool, 10)
	up = newUpstream(t, cfg, proxy.Options{})
	gw := front(t, up.Handler(proxy.RouteOptions{OnStream: func(_ *http.Request, _ http.Header, stream *proxy.Stream) func() {
		s <- stream
		return func() { e <- true }
	}}))
	return gw.URL, s, e, up
}

func TestAWebSocketThatIsEndedTellsBothSidesWhy(t *testing.T) {
	t.Parallel()
	closed := make(chan websocket.StatusCode, 1)
	url, streams, ended, u := streamed(t, proxy.Config{Servers: servers(echoSocket(t, closed))})
	c := dialSocket(t, url)
	roundTrip(t, c, []byte("hello"))
	s := <-streams
	s.End()
	if _, _, err := c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the client saw %v", err)
	}
	if status := <-closed; status != websocket.StatusPolicyViolation {
		t.Errorf("the server saw %v", status)
	}
	<-ended
	s.End() // too late, to no effect
	eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 })
}

// rawSocket is a WebSocket's client without a library, behind the 101.
func rawSocket(t testing.TB, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(conn)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	return conn, br
}

// frameServer switches protocols and hands over its side of the connection.
func frameServer(t testing.TB) (url string, conns <-chan net.Conn) {
	c := make(chan net.Conn)
	done := make(chan bool)
	url = tcpServer(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		c <- conn
		<-done
	})
	t.Cleanup(func() { close(done) })
	return url, c
}

func mustRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, want %q, %v", got, want, err)
	}
}

const (
	masked = "\x81\x85\x00\x00\x00\x00" // the head of a client's text message of five bytes
	pong   = "\x8a\x80\x00\x00\x00\x00"
)

func TestAClientThatDoesNotAnswerTheCloseFrameIsCutOff(t *testing.T) {
	t.Parallel()
	app, conns := frameServer(t)
	url, streams, ended, _ := streamed(t, proxy.Config{Servers: servers(app)})
	client, fromGateway := rawSocket(t, url)
	server := <-conns
	(<-streams).End()
	mustRead(t, fromGateway, "\x88\x02\x03\xf0")
	mustRead(t, server, "\x88\x82\x00\x00\x00\x00\x03\xf0")
	fmt.Fprint(client, masked+"hello") // does not reach the server
	fmt.Fprint(server, "\x81\x05hello")
	if rest, _ := io.ReadAll(fromGateway); len(rest) > 0 {
		t.Errorf("the client got %q after the close frame", rest)
	}
	if rest, _ := io.ReadAll(server); len(rest) > 0 {
		t.Errorf("the server got %q after the close frame", rest)
	}
	<-ended
}

// A frame that is under way would take a close frame for its payload.
func TestTheEndOfAWebSocketNeverSplitsAFrame(t *testing.T) {
	t.Parallel()
	app, conns := frameServer(t)
	url, streams, ended, _ := streamed(t, proxy.Config{Servers: servers(app)})
	client, fromGateway := rawSocket(t, url)
	server := <-conns
	fmt.Fprint(client, masked+"he")
	mustRead(t, server, masked+"he")
	fmt.Fprint(server, "\x82\x05he")
	mustRead(t, fromGateway, "\x82\x05he")
	(<-streams).End()
	fmt.Fprint(server, "llo")
	mustRead(t, fromGateway, "llo\x88\x02\x03\xf0")
	fmt.Fprint(client, "llo"+"\x88\x82\x00\x00\x00\x00\x03\xf0") // its answer
	if rest, _ := io.ReadAll(server); len(rest) > 0 {
		t.Errorf("the server got %q of a frame that had begun", rest)
	}
	<-ended
}

func TestWhatTheClientSendsIsUse(t *testing.T) {
	t.Parallel()
	app, conns := frameServer(t)
	url, streams, _, _ := streamed(t, proxy.Config{Servers: servers(app)})
	client, _ := rawSocket(t, url)
	server, s := <-conns, <-streams
	for _, step := range []struct {
		sends string
		used  bool
	}{
		{pong, false},
		{pong + pong, false},
		{masked + "he", true},
		{"llo", true}, // the rest of a message
		{pong[:3], false},
		{pong[3:], false},
		{pong + masked + "hello" + pong, true},
		{"\x89\x80\x00\x00\x00\x00", true}, // a ping is the client's own
	} {
		fmt.Fprint(client, step.sends)
		mustRead(t, server, step.sends)
		fmt.Fprint(server, "\x81\x00") // what the server sends is no use
		if used := s.Used(); used != step.used || s.Used() {
			t.Errorf("%q: used is %v", step.sends, used)
		}
	}
}

func TestABodyThatIsEndedIsBrokenOff(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text/event-stream", "application/x-ndjson"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var gone atomic.Bool
			app := origin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", kind)
				fmt.Fprint(w, "data: 1\n\n")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				gone.Store(true)
			})
			url, streams, ended, u := streamed(t, proxy.Config{Servers: servers(app.URL)})
			res, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			mustRead(t, res.Body, "data: 1\n\n")
			s := <-streams
			if s.Used() {
				t.Error("a client that reads uses nothing")
			}
			s.End()
			if _, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the client saw %v", err)
			}
			<-ended
			s.End()
			eventually(t, "the server is told", gone.Load)
			eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 })
			if st := u.Status()[0]; st.Failures != 0 {
				t.Errorf("the server is blamed: %+v", st)
			}
		})
	}
}

func TestABodyWithALengthIsNoStream(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		fmt.Fprint(w, "hello")
	})
	url, streams, _, _ := streamed(t, proxy.Config{Servers: servers(app.URL)})
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	mustRead(t, res.Body, "hello")
	select {
	case <-streams:
		t.Error("it is taken for a stream")
	default:
	}
}

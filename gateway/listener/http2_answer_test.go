package listener_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/listener"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"
)

// h2client is net/http's client over h2c.
func h2client(t testing.TB) *http.Client {
	cl := client(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	t.Cleanup(cl.CloseIdleConnections)
	return cl
}

// A small answer is one write: HEADERS and DATA, which ends the stream.
func TestSmallHTTP2AnswerIsOneWrite(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	writes := new(atomic.Int32)
	addr, _ := serve(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1024")
		_, _ = w.Write(make([]byte, 1024))
	})}, writesListener{l, writes})
	cl := h2client(t)
	get := func() {
		res, err := cl.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); len(b) != 1024 || err != nil {
			t.Fatal(len(b), err)
		}
		res.Body.Close()
	}
	get()
	before := writes.Load()
	const requests = 50
	for range requests {
		get()
	}
	if n := writes.Load() - before; n > requests+5 { // an acknowledgement may have been on its way
		t.Errorf("%d writes for %d answers", n, requests)
	}
}

type writesListener struct {
	net.Listener
	writes *atomic.Int32
}

func (l writesListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return writesConn{c, l.writes}, err
}

type writesConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c writesConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// The client that uploads is told by one RST_STREAM that the rest is not needed, and may send it all the same.
func TestEarlyHTTP2AnswerResetsTheStreamOnce(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: refuseUploads})
	a := attack(t, addr)
	_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
		BlockFragment: a.block(":method", "POST", ":scheme", "http", ":path", "/413", ":authority", "a", "content-length", "8388608")})
	var got []string
	returned, sent := 0, 0
	for len(got) == 0 || got[len(got)-1] != "RST_STREAM NO_ERROR" {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			got = append(got, "HEADERS")
			for sent < 60_000 { // what the window allows
				_ = a.WriteData(1, false, make([]byte, 10_000))
				sent += 10_000
			}
		case *http2.DataFrame:
			got = append(got, "DATA")
			if f.StreamEnded() {
				got = append(got, "END_STREAM")
			}
		case *http2.RSTStreamFrame:
			got = append(got, "RST_STREAM "+f.ErrCode.String())
		}
	}
	if diff := cmp.Diff([]string{"HEADERS", "DATA", "END_STREAM", "RST_STREAM NO_ERROR"}, got); diff != "" {
		t.Errorf("the client got (-want +got):\n%s", diff)
	}
	// What it had sent before it knew is thrown away; the connection's window stays whole.
	for i := range uint32(40) {
		_ = a.WriteData(1, false, make([]byte, 10_000))
		_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 3, EndHeaders: true, EndStream: true,
			BlockFragment: a.block(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a")})
		for ended := false; !ended; {
			f, err := a.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					returned += int(f.Increment)
				}
			case *http2.RSTStreamFrame, *http2.GoAwayFrame:
				t.Fatalf("%v", f)
			case *http2.DataFrame:
				ended = f.StreamEnded()
			}
		}
	}
	if returned < 200_000 {
		t.Errorf("%d bytes of the connection's window came back", returned)
	}
}

// A client that ends its upload by itself is not reset at all.
func TestEarlyHTTP2AnswerToAnUploadThatEnds(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: refuseUploads})
	a := attack(t, addr)
	_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
		BlockFragment: a.block(":method", "POST", ":scheme", "http", ":path", "/413", ":authority", "a")})
	if status, reset, _ := a.outcome(1); status != "413" || reset {
		t.Fatalf("status %q, reset: %v", status, reset)
	}
	_ = a.WriteData(1, true, []byte("the end"))
	_ = a.request(3)
	if status, _, _ := a.outcome(3); status != "200" {
		t.Errorf("status %q", status)
	}
}

func TestCurlReadsTheAnswerToARefusedHTTP2Upload(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	upload := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(upload, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: refuseUploads})
	for range 10 {
		for _, status := range []string{"413", "429", "401"} {
			out, err := exec.CommandContext(t.Context(), curl, "-s", "--http2-prior-knowledge", "--data-binary", "@"+upload,
				"-o", "/dev/null", "-w", "%{http_code}", "http://"+addr+"/"+status).CombinedOutput()
			if err != nil && strings.Contains(err.Error(), "exit status 1") && len(out) == 0 {
				t.Skip("this curl knows no HTTP/2")
			}
			if string(out) != status || err != nil {
				t.Fatalf("%s: %v", out, err)
			}
		}
	}
}

func TestHTTP2RequestsAreJudgedAsHTTP1Requests(t *testing.T) {
	t.Parallel()
	with := func(path string, more ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "a"}, more...)
	}
	for _, tt := range []struct {
		name   string
		fields []string
		want   string
	}{
		{"another scheme's path", with("http://evil/x"), "400"},
		{"another authority's path", with("evil/x"), "400"},
		{"blank in the path", with("/a b"), "400"},
		{"tab in the path", with("/a\tb"), "400"},
		{"fragment", with("/a#b"), "400"},
		{"fragment behind a query", with("/a?b#c"), "400"},
		{"control character in the path", with("/a\x7f"), "400"},
		{"bad escape", with("/%zz"), "400"},
		{"asterisk", with("*"), "400"},
		{"Transfer_Encoding", with("/", "transfer_encoding", "chunked"), "400"},
		{"Content_Length", with("/", "content_length", "3"), "400"},
		{"Content.Length", with("/", "content.length", "3"), "400"},
		{"expectation", with("/", "expect", "the-unexpected"), "417"},
		{"no authority", []string{":method", "GET", ":scheme", "http", ":path", "/"}, "400"},
		{"empty authority", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", ""}, "400"},
		{"user in the authority", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "u@a"}, "400"},
		{"two hosts", with("/", "host", "a", "host", "b"), "400"},
		{"long target", with("/" + strings.Repeat("x", 9000)), "414"},
		{"long header", with("/", "x", strings.Repeat("x", 9000)), "431"},
		{"many fields", with("/", strings.Split(strings.Repeat("x\x00y\x00", 300)+"x\x00y", "\x00")...), "431"},

		{"host in place of the authority", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a"}, "200"},
		{"underscore elsewhere", with("/", "x_y", "z"), "200"},
		{"query with odd bytes", with("/?a=\"<>[]{}|\\^`"), "200"},
		{"path with two slashes", with("//evil/x"), "200"},
		{"many cookies", with("/", strings.Split(strings.Repeat("cookie\x00a=b\x00", 300)+"cookie\x00c=d", "\x00")...), "200"},
		{"100-continue", with("/", "expect", "100-Continue"), "200"},
		{"asterisk for OPTIONS", []string{":method", "OPTIONS", ":scheme", "http", ":path", "*", ":authority", "a"}, "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			var told atomic.Int32
			addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h, MaxHeaderBytes: 8 << 10,
				Refused: func(_ net.Addr, err *listener.RequestError) { told.Store(int32(err.Status)) }})
			for _, grpc := range []bool{false, true} {
				fields := tt.fields
				if grpc {
					fields = append(fields[:len(fields):len(fields)], "content-type", "application/grpc; charset=utf-8")
				}
				a := attack(t, addr)
				_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: a.block(fields...)})
				a.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				var head *http2.MetaHeadersFrame
				for head == nil {
					f, err := a.ReadFrame()
					if err != nil {
						t.Fatal(err)
					}
					head, _ = f.(*http2.MetaHeadersFrame)
				}
				switch status := head.PseudoValue("status"); {
				case tt.want == "200" && (status != "200" || len(h.targets()) == 0):
					t.Errorf("status %q; the handler met %q", status, h.targets())
				case tt.want == "200":
				case grpc && (status != "200" || value(head, "grpc-status") == "" || value(head, "content-type") != "application/grpc" || !head.StreamEnded()):
					t.Errorf("a gRPC client got %v", head.Fields)
				case !grpc && (status != tt.want || itoa(int(told.Load())) != tt.want || value(head, "content-type") != "application/problem+json"):
					t.Errorf("%v; Refused was told %d", head.Fields, told.Load())
				}
			}
			if tt.want != "200" && h.targets() != nil {
				t.Errorf("the handler met %q", h.targets())
			}
		})
	}
}

func value(f *http2.MetaHeadersFrame, name string) string {
	for _, field := range f.RegularFields() {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}

func TestHTTP2CookiesAreOneHeaderLine(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h})
	a := attack(t, addr)
	_ = a.request(1, "cookie", "a=1", "x", "y", "cookie", "b=2", "x", "z")
	if status, _, _ := a.outcome(1); status != "200" {
		t.Fatal(status)
	}
	got := h.all()[0].Header
	if diff := cmp.Diff(http.Header{"Cookie": {"a=1; b=2"}, "X": {"y", "z"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHTTP2TrailersPassBothWays(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Announced, Missing")
		body, err := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("Announced", r.Trailer.Get("From-Client"))
		w.Header().Set(http.TrailerPrefix+"Sudden", "s")
		if err != nil {
			t.Error(err)
		}
	})})
	req, err := http.NewRequest("POST", "http://"+addr, io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"From-Client": {"c"}}
	res, err := h2client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "body" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	if res.Trailer.Get("Announced") != "c" || res.Trailer.Get("Sudden") != "s" {
		t.Errorf("%v", res.Trailer)
	}
}

func TestHTTP2InterimAnswersPass(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		body, _ := io.ReadAll(r.Body) // which asks for it
		_, _ = w.Write(body)
	})})
	var got []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		got = append(got, strconv.Itoa(code)+h.Get("Link"))
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	res, err := h2client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "body" || got[0] != "103</style.css>" {
		t.Errorf("%q, %q", body, got)
	}
}

// A client that waits to be asked for its body is asked when the handler reads it, and not before.
func TestHTTP2ClientIsAskedForItsBody(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-read
		_, _ = io.Copy(w, r.Body)
	})})
	a := attack(t, addr)
	a.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = a.post(1, "expect", "100-continue")
	_ = a.WritePing(false, [8]byte{7})
	var got []string
	for len(got) < 4 {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.PingFrame:
			got = append(got, "PING")
			close(read)
		case *http2.MetaHeadersFrame:
			got = append(got, f.PseudoValue("status"))
			if len(got) == 2 {
				_ = a.WriteData(1, true, []byte("body"))
			}
		case *http2.DataFrame:
			got = append(got, string(f.Data()))
		}
	}
	if diff := cmp.Diff([]string{"PING", "100", "200", "body"}, got); diff != "" {
		t.Errorf("the client got (-want +got):\n%s", diff)
	}
}

// Both sides of a stream may speak by turns.
func TestHTTP2StreamIsDuplex(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	})})
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", "http://"+addr, pr)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h2client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 100 {
		_, _ = io.WriteString(pw, "ping")
		got := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "PING" {
			t.Fatal(string(got), err)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Error(rest, err)
	}
}

// The context ends when the client cancels the request, and when it leaves.
func TestHTTP2ContextEndsWithTheClient(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan error)
	addr, s := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		_, err := io.ReadAll(r.Body)
		ended <- err
	})})
	for name, leave := range map[string]func(a *attacker){
		"cancels": func(a *attacker) { _ = a.WriteRSTStream(1, http2.ErrCodeCancel) },
		"leaves":  func(a *attacker) { a.Close() },
		"errs":    func(a *attacker) { _ = a.WriteData(0, false, nil) },
		"is cut off": func(*attacker) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		},
	} {
		if name == "is cut off" {
			continue // last
		}
		a := attack(t, addr)
		_ = a.post(1)
		<-begun
		leave(a)
		if err := <-ended; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: the body ended with %v", name, err)
		}
	}
	a := attack(t, addr)
	_ = a.post(1)
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestHTTP2HandlerThatPanicsCutsTheAnswerOff(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "short")
		case "/abort":
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/panic":
			panic("a fault")
		}
	})})
	cl := h2client(t)
	for _, path := range []string{"/short", "/abort", "/panic"} {
		res, err := cl.Get("http://" + addr + path)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the client takes a part for the whole", path)
		}
	}
	alive(t, addr)
}

func TestShutdownFinishesHTTP2StreamsInFlight(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	addr, s := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-release
		}
		_, _ = io.WriteString(w, "whole")
	})})
	idle := attack(t, addr)
	_ = idle.request(1)
	if status, _, _ := idle.outcome(1); status != "200" {
		t.Fatal(status)
	}
	cl := h2client(t)
	answer := make(chan error, 1)
	go func() {
		res, err := cl.Get("http://" + addr + "/slow")
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(res.Body); string(body) != "whole" && err == nil {
				err = errors.New(string(body))
			}
			res.Body.Close()
		}
		answer <- err
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	if g := <-idle.farewell(); !g.said || g.code != http2.ErrCodeNo {
		t.Errorf("the idle connection ended with %+v", g)
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown did not wait for the request in flight: %v", err)
	default:
	}
	close(release)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestIdleHTTP2ConnectionIsClosed(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: &recorder{}, IdleTimeout: 100 * time.Millisecond})
	a := attack(t, addr)
	_ = a.request(1)
	if g := <-a.farewell(); !g.said || g.code != http2.ErrCodeNo {
		t.Errorf("the connection ended with %+v", g)
	}
}

// Any requests come through net/http's client as they are, many at a time.
func TestHTTP2AgainstNetHTTPsClient(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, MaxStreams: 30, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Echo-Target", r.RequestURI)
		w.Header().Set("Echo-Method", r.Method)
		if r.Header.Get("Length") != "" {
			w.Header().Set("Content-Length", r.Header.Get("Length"))
		}
		buf := make([]byte, 7000)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			if r.Header.Get("Flush") != "" {
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	})})
	cl := h2client(t)
	rapid.Check(t, func(t *rapid.T) {
		var all sync.WaitGroup
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			size := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(0, 300_000)).Draw(t, "size")
			method := rapid.SampledFrom([]string{"POST", "PUT", "GET", "PURGE"}).Draw(t, "method")
			target := "/" + rapid.StringMatching(`[a-z0-9/?&=.%]{0,1}[a-z0-9/&=.~]{0,30}`).Filter(func(s string) bool { return !strings.Contains(s, "%") }).Draw(t, "target")
			length, known, flushed := rapid.Bool().Draw(t, "length"), rapid.Bool().Draw(t, "known"), rapid.Bool().Draw(t, "flush")
			cancels := rapid.IntRange(0, 9).Draw(t, "cancels") == 0
			all.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				body := bytes.Repeat([]byte{byte(size)}, size)
				var from io.Reader = bytes.NewReader(body)
				if !known {
					from = io.MultiReader(from)
				}
				req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+target, from)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				if length {
					req.Header.Set("Length", strconv.Itoa(size))
				}
				if flushed {
					req.Header.Set("Flush", "1")
				}
				if cancels {
					time.AfterFunc(time.Duration(size)*time.Nanosecond*10, cancel)
				}
				res, err := cl.Do(req)
				if err != nil {
					if !cancels {
						t.Errorf("%v", err)
					}
					return
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if cancels {
					return
				}
				if err != nil || !bytes.Equal(got, body) || res.Header.Get("Echo-Target") != target || res.Header.Get("Echo-Method") != method {
					t.Errorf("%s %s of %d bytes: %d bytes came back, %v, %v", method, target, size, len(got), res.Header, err)
				}
			})
		}
		all.Wait()
	})
}

func TestHTTP2ServerThatIsClosedLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, err := listener.New(listener.Options{Handler: &recorder{}, HTTP1: true, H2C: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	for range 3 {
		a := attack(t, l.Addr().String())
		for i := range uint32(10) {
			_ = a.request(2*i + 1)
		}
		if status, _, _ := a.outcome(19); status != "200" {
			t.Fatal(status)
		}
		_ = a.post(101)
		defer a.Close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

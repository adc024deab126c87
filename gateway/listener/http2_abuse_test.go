package listener_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
	"golang.org/x/net/http2"
)

// goodbye is how a server ends a connection: with GOAWAY, or without a word.
type goodbye struct {
	code   http2.ErrCode
	said   bool
	resets map[http2.ErrCode]int // RST_STREAM before it
}

// farewell reads until the server ends the connection, while the test sends.
func (a *attacker) farewell() <-chan goodbye {
	done := make(chan goodbye, 1)
	go func() {
		g := goodbye{resets: map[http2.ErrCode]int{}}
		for {
			f, err := a.ReadFrame()
			if err != nil {
				if isTimeout(err) {
					a.t.Error("the server has left the connection open")
				}
				done <- g
				return
			}
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				g.code, g.said = f.ErrCode, true
			case *http2.RSTStreamFrame:
				g.resets[f.ErrCode]++
			}
		}
	}()
	return done
}

// post begins a request with a body.
func (a *attacker) post(stream uint32, more ...string) error {
	return a.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndHeaders: true,
		BlockFragment: a.block(append([]string{":method", "POST", ":scheme", "http", ":path", "/attack", ":authority", "a"}, more...)...),
	})
}

// Frames that are of no use end the connection, and few handlers have run by then.
func TestUselessFramesEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(a *attacker, i uint32) error{
		"SETTINGS": func(a *attacker, _ uint32) error { return a.WriteSettings() },
		"SETTINGS that change windows": func(a *attacker, i uint32) error {
			return a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i % 2})
		},
		"acknowledged SETTINGS": func(a *attacker, _ uint32) error { return a.WriteSettingsAck() },
		"PING":                  func(a *attacker, _ uint32) error { return a.WritePing(false, [8]byte{}) },
		"acknowledged PING":     func(a *attacker, _ uint32) error { return a.WritePing(true, [8]byte{}) },
		"PRIORITY": func(a *attacker, i uint32) error {
			return a.WritePriority(2*i+1, http2.PriorityParam{StreamDep: 0, Weight: 1})
		},
		"WINDOW_UPDATE": func(a *attacker, _ uint32) error { return a.WriteWindowUpdate(0, 1) },
		"unknown":       func(a *attacker, _ uint32) error { return a.WriteRawFrame(0xbb, 0, 0, nil) },
		"empty DATA":    func(a *attacker, _ uint32) error { return a.WriteData(1, false, nil) },
		"padding": func(a *attacker, _ uint32) error {
			return a.WriteDataPadded(1, false, nil, make([]byte, 10))
		},
		"requests that are cancelled": func(a *attacker, i uint32) error {
			if err := a.request(2*i + 3); err != nil {
				return err
			}
			return a.WriteRSTStream(2*i+3, http2.ErrCodeCancel)
		},
		"malformed requests": func(a *attacker, i uint32) error { return a.request(2*i+3, "connection", "x") },
		"requests that the server has to reset": func(a *attacker, i uint32) error { // as "MadeYouReset" does
			if err := a.post(2*i + 3); err != nil {
				return err
			}
			return a.WriteWindowUpdate(2*i+3, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var handlers atomic.Int32
			held := make(chan struct{})
			addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/alive":
				case r.Header.Get("Hold") != "":
					<-held
				default:
					handlers.Add(1)
				}
			})})
			t.Cleanup(func() { close(held) })
			a := attack(t, addr)
			if err := a.post(1, "hold", "1"); err != nil {
				t.Fatal(err)
			}
			end := a.farewell()
			for i := uint32(0); flood(a, i) == nil; i++ { // the connection has a deadline
			}
			if g := <-end; g.said && g.code != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("the connection ended with %v", g.code)
			}
			if n := handlers.Load(); n > 2000 {
				t.Errorf("%d handlers ran", n)
			}
			alive(t, addr)
		})
	}
}

func TestHeaderSectionOfTooManyFramesEndsTheConnection(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: &recorder{}})
	a := attack(t, addr)
	end := a.farewell()
	_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET")})
	for range 70 {
		_ = a.WriteContinuation(1, false, nil)
	}
	if g := <-end; g.code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection ended with %+v", g)
	}
}

// An honest client does all of that now and then.
func TestHonestClientsMayCancelAndPing(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: &recorder{}})
	a := attack(t, addr)
	for i := range uint32(100) { // a page with a hundred pictures is left
		_ = a.request(2*i + 1)
		_ = a.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		_ = a.WritePing(false, [8]byte{})
		_ = a.WritePriority(2*i+1, http2.PriorityParam{Weight: 7})
	}
	_ = a.request(1001)
	if status, reset, closed := a.outcome(1001); status != "200" || reset || closed {
		t.Errorf("status %q, reset: %v, closed: %v", status, reset, closed)
	}
}

// What a client has begun must come in the time of a header, and not be held up for as long as the connection may be silent.
func TestSlowHTTP2FramesEndTheConnection(t *testing.T) {
	t.Parallel()
	head := func(a *attacker) []byte {
		return a.block(":method", "GET", ":scheme", "http", ":path", "/attack", ":authority", "a")
	}
	for name, begin := range map[string]func(a *attacker){
		"half a preface":         nil,
		"half a frame's header":  func(a *attacker) { send(a.t, a.Conn, "\x00\x00") },
		"half a PING":            func(a *attacker) { send(a.t, a.Conn, "\x00\x00\x08\x06\x00\x00\x00\x00\x00abc") },
		"HEADERS without an end": func(a *attacker) { _ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head(a)}) },
		"half of HEADERS": func(a *attacker) {
			send(a.t, a.Conn, "\x00\x10\x00\x01\x04\x00\x00\x00\x01"+string(head(a)))
		},
		"half of DATA": func(a *attacker) {
			_ = a.post(1)
			send(a.t, a.Conn, "\x00\x00\x10\x00\x00\x00\x00\x00\x01half")
		},
	} {
		for _, dribble := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, byte by byte: %v", name, dribble), func(t *testing.T) {
				t.Parallel()
				addr, _ := start(t, listener.Options{
					HTTP1: true, H2C: true, Handler: &recorder{}, ReadHeaderTimeout: 300 * time.Millisecond, BodyGrace: 300 * time.Millisecond,
				})
				if begin == nil {
					c := dial(t, addr)
					send(t, c, http2.ClientPreface+"\x00\x00")
					if _, err := io.Copy(io.Discard, c); isTimeout(err) {
						t.Error("the server has left the connection open")
					}
					return
				}
				a := attack(t, addr)
				begin(a)
				end := a.farewell()
				if dribble {
					for range 4 {
						_, _ = a.Write([]byte("\x00"))
						time.Sleep(10 * time.Millisecond)
					}
				}
				<-end
				alive(t, addr)
			})
		}
	}
}

// Twenty connections with windows of zero would hold as many connections to app servers as they have streams, for ever.
func TestAnswersThatAreTakenByteByByteAreCutOff(t *testing.T) {
	t.Parallel()
	var serving atomic.Int32
	addr, _ := start(t, listener.Options{
		HTTP1: true, H2C: true, WriteStall: 200 * time.Millisecond, MaxStreams: 20,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/alive" {
				return
			}
			serving.Add(1)
			defer serving.Add(-1)
			_, _ = w.Write(make([]byte, 1<<20))
		}),
	})
	a := attack(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	end := a.farewell()
	for i := range uint32(20) {
		_ = a.request(2*i + 1)
	}
	eventually(t, "the handlers to run", func() bool { return serving.Load() == 20 })
	for next := uint32(0); ; next++ { // a byte for each of them, over and over
		if a.WriteWindowUpdate(2*(next%20)+1, 1) != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if g := <-end; g.said && g.code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection ended with %v", g.code)
	}
	eventually(t, "the handlers to end", func() bool { return serving.Load() == 0 })
	alive(t, addr)
}

// A cancelled request counts until its handler has returned: what the app server does for it is not over.
func TestCancelledRequestsCountAsStreams(t *testing.T) {
	t.Parallel()
	const most = 5
	release := make(chan struct{})
	var begun atomic.Int32
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, MaxStreams: most, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun.Add(1)
		<-release
	})})
	a := attack(t, addr)
	for i := range uint32(most) {
		_ = a.request(2*i + 1)
	}
	eventually(t, "the handlers to run", func() bool { return begun.Load() == most })
	for i := range uint32(most) {
		_ = a.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	_ = a.request(101)
	for {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := f.(*http2.RSTStreamFrame); ok {
			if f.StreamID != 101 || f.ErrCode != http2.ErrCodeRefusedStream {
				t.Errorf("%v", f)
			}
			break
		}
	}
	close(release)
	next := uint32(101)
	eventually(t, "a stream to be free", func() bool {
		next += 2
		if err := a.request(next); err != nil {
			t.Fatal(err)
		}
		status, _, closed := a.outcome(next)
		return closed || status == "200"
	})
}

// A body that comes in the smallest of pieces is sound, if only it comes in time.
func TestHTTP2BodyOfSmallPiecesIsSound(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: h})
	a := attack(t, addr)
	_ = a.post(1)
	for range 5000 {
		_ = a.WriteDataPadded(1, false, []byte("x"), make([]byte, 3))
	}
	_ = a.WriteData(1, true, nil)
	if status, _, _ := a.outcome(1); status != "200" || h.all()[0].Body != strings.Repeat("x", 5000) {
		t.Errorf("status %q", status)
	}
}

package listener_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

func TestSlowHeaderIsAnsweredWith408(t *testing.T) {
	t.Parallel()
	for name, beginning := range map[string]string{
		"in the request line": "GET /", // less than four bytes are idleness to net/http
		"in a header line":    "GET / HTTP/1.1\r\nHost: a\r\nX-",
		"before the end":      "GET / HTTP/1.1\r\nHost: a\r\n\r",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			var told atomic.Int32
			addr, _ := start(t, listener.Options{
				Handler: h, ReadHeaderTimeout: 100 * time.Millisecond, IdleTimeout: time.Minute,
				Refused: func(peer net.Addr, err *listener.RequestError) {
					if err.Status == 408 && peer != nil {
						told.Add(1)
					}
				},
			})
			for _, before := range []string{"", "GET /before HTTP/1.1\r\nHost: a\r\n\r\n"} {
				c := dial(t, addr)
				send(t, c, before+beginning)
				all, closed := replies(t, c)
				if len(all) == 0 || !closed {
					t.Fatalf("%d answers, closed: %v", len(all), closed)
				}
				checkProblem(t, all[len(all)-1], 408)
			}
			if len(h.targets()) != 1 || told.Load() != 2 {
				t.Errorf("the handler met %q; Refused was told %d times", h.targets(), told.Load())
			}
		})
	}
}

func TestIdleConnectionIsClosedSilently(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: &recorder{}, IdleTimeout: 50 * time.Millisecond, ReadHeaderTimeout: 50 * time.Millisecond})
	for name, text := range map[string]string{"new": "", "kept alive": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"an empty line behind": post("Content-Length: 1") + "x\r\n"} {
		c := dial(t, addr)
		send(t, c, text)
		all, closed := replies(t, c)
		if len(all) != strings.Count(text, "HTTP/1.1") || !closed {
			t.Errorf("%s: answers %v, closed: %v", name, statuses(all), closed)
		}
	}
}

func TestSlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		send   string
		unread bool // by the handler: net/http reads it then
	}{
		"of known length":        {send: post("Content-Length: 1000") + "abc"},
		"in a chunk":             {send: chunks("5\r\nabc")},
		"between chunks":         {send: chunks("3\r\nabc\r\n")},
		"in a chunk's size line": {send: chunks("3\r\nabc\r\n3")},
		"in the trailer":         {send: chunks("0\r\nX: y\r\n")},
		"never began":            {send: post("Content-Length: 1000")},
		"that nobody reads":      {send: post("Content-Length: 1000") + "abc", unread: true},
		"chunks nobody reads":    {send: chunks("5\r\nabc"), unread: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			var refusal atomic.Pointer[listener.RequestError]
			if tt.unread {
				h.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusTooManyRequests)
				}
			}
			addr, _ := start(t, listener.Options{
				BodyGrace: 100 * time.Millisecond,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(w, r)
					refusal.Store(listener.Refusal(r.Context()))
				}),
			})
			c := dial(t, addr)
			send(t, c, tt.send)
			if text, err := io.ReadAll(c); isTimeout(err) {
				t.Errorf("the connection was left open: %q", text)
			}
			eventually(t, "the handler to return", func() bool { return refusal.Load() != nil })
			if e := refusal.Load(); e.Status != 408 {
				t.Errorf("refused: %v", e)
			}
			if s := h.all(); len(s) != 1 || s[0].BodyError == nil {
				t.Errorf("the handler met %+v", s)
			}
		})
	}
}

// A body that comes steadily is cut off when its time is over, and not before it has any.
func TestBodyThatTakesTooLongInAllIsCutOff(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c":      func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		for rate, bytes := range map[string]int{"any rate": -1, "a rate": 1} {
			t.Run(name+", "+rate, func(t *testing.T) {
				t.Parallel()
				read := make(chan error, 1)
				addr, _ := start(t, listener.Options{
					HTTP1: true, H2C: true, MinBodyRate: bytes, BodyTimeout: 200 * time.Millisecond,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_, err := io.Copy(io.Discard, r.Body)
						read <- err
					}),
				})
				cl := client(set)
				defer cl.CloseIdleConnections()
				pr, pw := io.Pipe()
				defer pw.Close()
				go func() {
					for { // for as long as the client's side reads it
						if _, err := pw.Write([]byte("some")); err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				}()
				res, err := cl.Post("http://"+addr, "text/plain", pr)
				if err == nil {
					res.Body.Close()
				}
				var refused *listener.RequestError
				if err := <-read; !errors.As(err, &refused) || refused.Status != 408 {
					t.Errorf("the body ended with %v", err)
				}
			})
		}
	}
}

// Without a minimum any speed will do: the head's deadline is not the body's.
func TestBodyWithoutAMinimumRateMayTakeItsTime(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{Handler: h, MinBodyRate: -1, ReadHeaderTimeout: 50 * time.Millisecond, IdleTimeout: 50 * time.Millisecond})
	c := dial(t, addr)
	send(t, c, post("Content-Length: 3", "Connection: close"))
	time.Sleep(150 * time.Millisecond)
	send(t, c, "abc")
	if all, _ := replies(t, c); len(all) != 1 || all[0].StatusCode != 200 || h.all()[0].Body != "abc" {
		t.Errorf("answers %v", statuses(all))
	}
}

// What the gateway takes itself must not be held against the client, nor what
// comes between a request and its answer.
func TestSlowHandlerIsNotTakenForASlowClient(t *testing.T) {
	t.Parallel()
	const grace = 50 * time.Millisecond
	protocols := map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c":      func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	}
	for name, set := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := start(t, listener.Options{
				HTTP1: true, H2C: true, BodyGrace: grace, MinBodyRate: 1 << 30,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					var n int
					for range 4 {
						m, err := io.ReadFull(r.Body, make([]byte, 1000))
						if err != nil {
							t.Errorf("after %d bytes: %v", n, err)
						}
						n += m
						time.Sleep(2 * grace)
					}
					_, _ = io.Copy(w, r.Body)
				}),
			})
			cl := client(set)
			defer cl.CloseIdleConnections()
			for range 2 {
				res, err := cl.Post("http://"+addr, "text/plain", strings.NewReader(strings.Repeat("x", 5000)))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if len(body) != 1000 || err != nil {
					t.Errorf("%d bytes came back: %v", len(body), err)
				}
			}
		})
	}
}

func TestSlowBodyOfAnHTTP2StreamIsCutOff(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	addr, _ := start(t, listener.Options{
		HTTP1: true, H2C: true, BodyGrace: 50 * time.Millisecond,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Early") != "" {
				_ = http.NewResponseController(w).Flush()
			}
			_, err := io.ReadAll(r.Body)
			read <- err
		}),
	})
	cl := client(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	defer cl.CloseIdleConnections()
	post := func(header, value string) (*io.PipeWriter, chan error) {
		pr, pw := io.Pipe()
		t.Cleanup(func() { pw.Close() })
		req, err := http.NewRequest("POST", "http://"+addr, pr)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header, value)
		done := make(chan error, 1)
		go func() {
			res, err := cl.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			done <- err
		}()
		return pw, done
	}

	w, done := post("X", "y")
	go io.WriteString(w, "abc")
	var refused *listener.RequestError
	if err := <-read; !errors.As(err, &refused) || refused.Status != 408 {
		t.Errorf("the body ended with %v", err)
	}
	<-done

	// Both sides of these may pause.
	for header, value := range map[string]string{"Content-Type": "application/grpc+proto", "Early": "1"} {
		w, done := post(header, value)
		time.Sleep(200 * time.Millisecond)
		go func() {
			_, _ = io.WriteString(w, "abc")
			w.Close()
		}()
		if err := <-read; err != nil {
			t.Errorf("%s: the body ended with %v", value, err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: the answer ended with %v", value, err)
		}
	}
}

// A client that sends more than is read behind its answer still has time to
// see that there is one: a reset would take it away on many systems.
func TestRefusedUploadIsNotResetAtOnce(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})})
	c := dial(t, addr)
	send(t, c, post("Content-Length: 100000000"))
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 413 {
		t.Fatal(res, err)
	}
	begun := time.Now()
	send(t, c, strings.Repeat("x", 300<<10))
	for time.Since(begun) < 250*time.Millisecond {
		if _, err := c.Write([]byte("x")); err != nil && time.Since(begun) < 250*time.Millisecond {
			t.Fatalf("after %v: %v", time.Since(begun), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A client that takes nothing must not hold what it has asked for.
func TestClientThatTakesNothingIsCutOff(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	addr, _ := start(t, listener.Options{
		WriteStall: 100 * time.Millisecond,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			block := make([]byte, 1<<20)
			for {
				if _, err := w.Write(block); err != nil {
					ended <- err
					return
				}
			}
		}),
	})
	c := dial(t, addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the handler still writes")
	}
}

// A large write may take longer than the limit, if only the client goes on to take it.
func TestClientThatTakesALargeWriteSlowlyIsNotCutOff(t *testing.T) {
	t.Parallel()
	const size, stall = 16 << 20, 300 * time.Millisecond
	for name, before := range map[string]string{"alone": "", "behind others": "before"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			addr, _ := start(t, listener.Options{WriteStall: stall, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", itoa(len(before)+size))
				say(w, before)
				if before == "" {
					flush(w)
				}
				_, err := w.Write(make([]byte, size))
				ended <- err
			})})
			c := dial(t, addr)
			if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
				t.Fatal(err)
			}
			send(t, c, get("Connection: close"))
			buf := make([]byte, size/32)
			got := 0
			for range 33 {
				n, _ := io.ReadFull(c, buf)
				got += n
				time.Sleep(stall / 10)
			}
			if err := <-ended; err != nil || got < size {
				t.Errorf("%d bytes, %v", got, err)
			}
		})
	}
}

func TestPausesInAnAnswerAreNoStall(t *testing.T) {
	t.Parallel()
	const stall = 50 * time.Millisecond
	addr, _ := start(t, listener.Options{
		HTTP1: true, H2C: true, WriteStall: stall, BodyGrace: stall, ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 4 {
				_, _ = io.WriteString(w, "data: x\n\n")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(3 * stall)
			}
		}),
	})
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c":      func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := client(set)
			defer cl.CloseIdleConnections()
			res, err := cl.Get("http://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || strings.Count(string(body), "data") != 4 {
				t.Errorf("%q: %v", body, err)
			}
		})
	}
}

func TestUpgradedConnectionBelongsToTheHandler(t *testing.T) {
	t.Parallel()
	const grace = 50 * time.Millisecond
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{"plain": {HTTP1: true}, "TLS": {HTTP1: true, CertFile: cert, KeyFile: key}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.BodyGrace, o.WriteStall, o.ReadHeaderTimeout, o.IdleTimeout = grace, grace, time.Second, grace
			o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				_, _ = io.Copy(c, rw)
			})
			addr, s := start(t, o)
			var c net.Conn = dial(t, addr)
			if o.CertFile != "" {
				c = secure(t, addr)
			}
			send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 3\r\n\r\n")
			br := bufio.NewReader(c)
			if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
				t.Fatal(res, err)
			}
			if err := s.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown: %v", err) // upgraded connections are not its business
			}
			for _, text := range []string{"abc", "\n\x00\r", "Transfer-Encoding: x\nContent-Length: y\r\n\r\n"} {
				time.Sleep(2 * grace)
				send(t, c, text)
				got := make([]byte, len(text))
				if _, err := io.ReadFull(br, got); err != nil || string(got) != text {
					t.Fatalf("%q came back as %q: %v", text, got, err)
				}
			}
		})
	}
}

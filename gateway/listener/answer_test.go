package listener_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/listener"
)

// answers are handlers, each with a way of its own to answer.
var answers = map[string]http.HandlerFunc{
	"nothing":         func(http.ResponseWriter, *http.Request) {},
	"a status":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) },
	"no content":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	"two statuses":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
	"unknown status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) },
	"short":           func(w http.ResponseWriter, _ *http.Request) { say(w, "short") },
	"in pieces":       func(w http.ResponseWriter, _ *http.Request) { say(w, "in "); say(w, ""); say(w, "pieces") },
	"at the limit":    func(w http.ResponseWriter, _ *http.Request) { say(w, strings.Repeat("l", 2048)) },
	"long":            func(w http.ResponseWriter, _ *http.Request) { say(w, strings.Repeat("long", 5000)) },
	"long, in pieces": func(w http.ResponseWriter, _ *http.Request) { repeat(w, 3000, "piece ") },
	"flushed":         func(w http.ResponseWriter, _ *http.Request) { say(w, "now"); flush(w); say(w, "later") },
	"flushed first":   func(w http.ResponseWriter, _ *http.Request) { flush(w); say(w, "later") },
	"flushed alone":   func(w http.ResponseWriter, _ *http.Request) { flush(w) },
	"of length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		say(w, "length")
	},
	"of length, long, flushed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "30000")
		repeat(w, 3, strings.Repeat("x", 5000))
		flush(w)
		repeat(w, 3, strings.Repeat("y", 5000))
	},
	"of length zero": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") },
	"304 with a length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1")
		w.Header().Set("ETag", `"e"`)
		w.WriteHeader(304)
	},
	"closing":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close"); say(w, "bye") },
	"with Date": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "Sat, 01 Jan 2000 00:00:00 GMT") },
	"no Date":   func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil },
	"lines in a value": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X"] = []string{"a\r\nSet-Cookie: b", " two "}
		w.Header()["Bad Name"] = []string{"c"}
		w.Header()["Y\r\nZ"] = []string{"d"}
	},
	"a chunked body by itself": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		say(w, "chunked")
		flush(w)
	},
	"a trailer": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-None")
		say(w, "body")
		w.Header().Set("X-Sum", "42")
	},
	"a trailer, late": func(w http.ResponseWriter, _ *http.Request) {
		say(w, "body")
		flush(w)
		w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
	},
	"hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.Header().Set("X", "y")
		say(w, "hinted")
	},
	"half a body and a panic": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		say(w, "half")
		flush(w)
		panic(http.ErrAbortHandler)
	},
	"half a chunked body and a panic": func(w http.ResponseWriter, _ *http.Request) {
		say(w, "half")
		flush(w)
		panic(http.ErrAbortHandler)
	},
	"less than its length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		say(w, "half")
	},
	"what was read": func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", b, err)
	},
}

func say(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

func repeat(w http.ResponseWriter, n int, text string) {
	for range n {
		say(w, text)
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// answered is what a client makes of what comes back, and what the connection
// is good for after that.
type answered struct {
	Status          int
	Interim         []int
	Header, Trailer http.Header
	Length          int64
	Chunked, Close  bool
	Body            string
	BodyError       string
	Again           int // status of a second request on the connection, 0 for none
}

func ask(t *testing.T, addr, request, method string) (a answered) {
	t.Helper()
	c := dial(t, addr)
	send(t, c, request)
	br := bufio.NewReader(c)
	r := &http.Request{Method: method}
	for {
		res, err := http.ReadResponse(br, r)
		if err != nil {
			a.BodyError = "no answer"
			return a
		}
		if res.StatusCode < 200 {
			a.Interim = append(a.Interim, res.StatusCode)
			continue
		}
		body, err := io.ReadAll(res.Body)
		a.Status, a.Header, a.Trailer, a.Length, a.Close, a.Body = res.StatusCode, res.Header, res.Trailer, res.ContentLength, res.Close, string(body)
		a.Chunked = len(res.TransferEncoding) > 0
		if err != nil {
			a.BodyError = err.Error()
		}
		break
	}
	a.Header.Del("Content-Type") // guessed by net/http
	if a.Close {
		a.Header.Del("Connection") // there are several ways to say it
	}
	if d := a.Header.Get("Date"); d != "" && !strings.HasPrefix(d, "Sat, 01 Jan 2000") {
		if _, err := http.ParseTime(d); err != nil {
			t.Errorf("Date: %q", d)
		}
		a.Header.Set("Date", "now")
	}
	send(t, c, "GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, err := http.ReadResponse(br, nil); err == nil {
		a.Again = res.StatusCode
	}
	return a
}

func TestAnswersAreNetHTTPs(t *testing.T) {
	t.Parallel()
	requests := map[string]string{
		"GET":                        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD":                       "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET, closing":               "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET, 1.0":                   "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
		"GET, 1.0 keep-alive":        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
		"HEAD, 1.0":                  "HEAD / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
		"POST":                       post("Content-Length: 3") + "abc",
		"POST, chunked":              chunks("3\r\nabc\r\n0\r\n\r\n"),
		"POST, never asked for":      post("Content-Length: 3", "Expect: 100-continue"),
		"POST, large and left":       post("Content-Length: 100000") + strings.Repeat("x", 100000),
		"POST, too large to be left": post("Content-Length: 1000000"),
	}
	for name, handler := range answers {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/again" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			handler(w, r)
		})
		ours, _ := start(t, listener.Options{Handler: h})
		theirs := httptest.NewUnstartedServer(h)
		theirs.Config.ErrorLog = log.New(io.Discard, "", 0)
		theirs.Start()
		t.Cleanup(theirs.Close)
		for kind, request := range requests {
			if name == "what was read" && (strings.Contains(kind, "never") || strings.Contains(kind, "too large")) {
				continue // it waits for what does not come
			}
			if (name == "hints" || name == "a trailer" || name == "half a chunked body and a panic") && strings.Contains(kind, "1.0") {
				continue // ours are better; see below
			}
			if (strings.Contains(name, "half") || strings.Contains(name, "less")) && strings.Contains(kind, "never") {
				continue // net/http keeps the connection open, and waits for a body that is not coming
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				method, _, _ := strings.Cut(kind, ",")
				want := ask(t, theirs.Listener.Addr().String(), request, method)
				if got := ask(t, ours, request, method); !cmp.Equal(want, got) {
					t.Errorf("(-net/http +ours)\n%s", cmp.Diff(want, got))
				}
			})
		}
	}
}

// A client of HTTP/1.0 has nothing but the connection's end to tell half of an
// answer from all of it.
func TestHalfAnAnswerThatEndsWithTheConnectionIsBrokenOff(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: answers["half a chunked body and a panic"]})
	c := dial(t, addr)
	send(t, c, "GET / HTTP/1.0\r\n\r\n")
	if text, err := io.ReadAll(c); err == nil || isTimeout(err) {
		t.Errorf("%q, %v", text, err)
	}
}

// A handler that ends its goroutine, as a test's Fatal does, ends the connection.
func TestHandlerThatExits(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() })})
	c := dial(t, addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, err := io.ReadAll(c); isTimeout(err) || len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}
}

// To a handler HEAD is like GET, also when the header has been sent.
func TestAnswerToHEADMayBeWritten(t *testing.T) {
	t.Parallel()
	got := make(chan error, 1)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		flush(w)
		_, err := io.WriteString(w, "x")
		got <- err
	})})
	send(t, dial(t, addr), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// RFC 9110 section 15.2: a server must not send a 1xx response to an HTTP/1.0 client.
func TestNoInterimAnswersForHTTP10(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: answers["hints"]})
	if got := ask(t, addr, "GET / HTTP/1.0\r\n\r\n", "GET"); got.Status != 200 || len(got.Interim) > 0 || got.Body != "hinted" {
		t.Errorf("%+v", got)
	}
}

// A trailer that can't be sent to an HTTP/1.0 client costs it nothing, and one
// that would frame the body (RFC 9110 section 6.5.1) is dropped.
func TestTrailersThatCannotBeSent(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		say(w, "body")
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Content-Length", "1")
	})})
	if got := ask(t, addr, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET"); got.Length != 4 || got.Body != "body" || got.Again != 200 {
		t.Errorf("%+v", got)
	}
	if got := ask(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET"); got.Trailer.Get("X-Sum") != "42" || got.Trailer["Content-Length"] != nil {
		t.Errorf("%+v", got)
	}
}

// What an app leaves unsaid about its type is not for a gateway to guess.
func TestTypeIsNotGuessed(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{HTTP1: true, H2C: true, Handler: answers["short"]})
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2":   func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		cl := client(set)
		defer cl.CloseIdleConnections()
		res, err := cl.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if _, typed := res.Header["Content-Type"]; typed || err != nil || string(body) != "short" {
			t.Errorf("%s: %v, %q, %v", name, res.Header, body, err)
		}
	}
}

// What net/http makes two answers of, or breaks off, is framed properly here.
func TestLengthThatIsNoneIsReplaced(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "many")
		say(w, "x")
	})})
	if got := ask(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET"); got.Length != 1 || got.Body != "x" || got.Again != 200 {
		t.Errorf("%+v", got)
	}
}

// Most answers leave in one piece, though their length turns out in the end.
func TestShortAnswersAreSentInOnePiece(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pieces := make(chan int, 10)
	addr, _ := serve(t, listener.Options{Handler: answers["in pieces"]}, counting{l, pieces})
	c := dial(t, addr)
	send(t, c, get("Connection: close"))
	if all, _ := replies(t, c); len(all) != 1 || all[0].Text != "in pieces" || all[0].ContentLength != 9 {
		t.Errorf("%v", all)
	}
	if n := len(pieces); n != 1 {
		t.Errorf("sent in %d pieces", n)
	}
}

// counting is a listener that notes each write on its connections.
type counting struct {
	net.Listener
	writes chan int
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l.writes}, err
}

type countingConn struct {
	net.Conn
	writes chan int
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes <- len(p)
	return c.Conn.Write(p)
}

func TestWritesBeyondWhatWasSaidAreErrors(t *testing.T) {
	t.Parallel()
	got := make(chan error, 3)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		_, err := io.WriteString(w, "abcd")
		got <- err
		_, err = io.WriteString(w, "abc")
		got <- err
		if r.URL.Path == "/hijack" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, err = io.WriteString(w, "d")
			got <- err
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("hijacked twice: %v", err)
			}
		}
	})})
	c := dial(t, addr)
	send(t, c, "GET /hijack HTTP/1.1\r\nHost: a\r\n\r\n")
	all, _ := replies(t, c)
	if len(all) != 1 || all[0].Text != "abc" {
		t.Errorf("%v", all)
	}
	for _, want := range []error{http.ErrContentLength, nil, http.ErrHijacked} {
		if err := <-got; !errors.Is(err, want) {
			t.Errorf("%v instead of %v", err, want)
		}
	}
}

// A connection that is taken over comes with all that the client has sent,
// also what has arrived while the client was watched.
func TestHijackedConnectionLosesNothing(t *testing.T) {
	t.Parallel()
	sent := make(chan bool)
	addr, s := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.Context().Done()
		sent <- true
		<-sent
		time.Sleep(20 * time.Millisecond)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		text, err := io.ReadAll(rw)
		fmt.Fprintf(c, "%s %v", text, err)
	})})
	for _, ahead := range []string{"", "ahead "} {
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+ahead)
		<-sent
		send(t, c, "meanwhile ")
		sent <- true
		time.Sleep(50 * time.Millisecond)
		send(t, c, "later")
		_ = c.(*net.TCPConn).CloseWrite()
		if text, err := io.ReadAll(c); err != nil || string(text) != ahead+"meanwhile later <nil>" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A body that is being read elsewhere takes nothing more from a connection
// that is taken over.
func TestHijackingEndsTheBody(t *testing.T) {
	t.Parallel()
	hijacked := make(chan bool, 1)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		}()
		time.Sleep(10 * time.Millisecond) // so that the read is under way more often than not
		c, rw, err := http.NewResponseController(w).Hijack()
		hijacked <- true
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if err := <-read; err == nil {
			t.Error("the body is whole")
		}
		text, err := io.ReadAll(rw)
		fmt.Fprintf(c, "%s %v", text, err)
	})})
	for range 5 {
		c := dial(t, addr)
		send(t, c, post("Content-Length: 1000"))
		<-hijacked
		send(t, c, "mine")
		_ = c.(*net.TCPConn).CloseWrite()
		if text, err := io.ReadAll(c); err != nil || string(text) != "mine <nil>" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// There are those who, like middleware/proxy, take what is buffered from the
// reader, and read on from the connection.
func TestAllThatWasSentAheadIsBuffered(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		early, err := rw.Reader.Peek(rw.Reader.Buffered())
		if err != nil {
			t.Error(err)
		}
		late, err := io.ReadAll(c)
		fmt.Fprintf(c, "%d %v", len(early)+len(late), err)
	})})
	for _, n := range []int{0, 1, 4096, 4097, 7000} {
		c := dial(t, addr)
		send(t, c, get("X: "+strings.Repeat("x", 9000))+strings.Repeat("y", n))
		_ = c.(*net.TCPConn).CloseWrite()
		if text, err := io.ReadAll(c); err != nil || string(text) != itoa(n)+" <nil>" {
			t.Errorf("of %d bytes came %q, %v", n, text, err)
		}
	}
}

// What was written before a connection is taken over is sent.
func TestAnswerBeforeHijackingIsSent(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say(w, "before")
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "0\r\n\r\n")
	})})
	c := dial(t, addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if all, _ := replies(t, c); len(all) != 1 || all[0].Text != "before" {
		t.Errorf("%v", all)
	}
}

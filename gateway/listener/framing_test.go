package listener_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
	"pgregory.net/rapid"
)

// drawRequest makes a sound request for this target.
func drawRequest(t *rapid.T, target string) string {
	body := rapid.SampledFrom([]string{"", "x", marker, "\r\n", "0\r\n\r\n" + marker, strings.Repeat("y\r\n", 3000), chunks("1\r\nx\r\n0\r\n\r\n")}).Draw(t, "body")
	head := rapid.SampledFrom([]string{"POST", "PUT", "GET", "BREW"}).Draw(t, "method") + " " + target + " HTTP/1.1\r\nhOST: a\r\n" +
		rapid.SampledFrom([]string{"", "X: y\r\n", "X:\r\nY:  z \r\n", "Connection: keep-alive\r\n", "Accept: */*\r\nTransfer: chunked\r\nContent: 5\r\n"}).Draw(t, "header")
	switch rapid.IntRange(0, 2).Draw(t, "framing") {
	case 0:
		return head + "\r\n"
	case 1:
		return head + fmt.Sprintf("content-length: %d\r\n\r\n%s", len(body), body)
	}
	var b strings.Builder
	b.WriteString(head + "Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := rapid.IntRange(1, len(body)).Draw(t, "chunk")
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", n, rapid.SampledFrom([]string{"", ";a=b"}).Draw(t, "extension"), body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n" + rapid.SampledFrom([]string{"", "X-Sum: 1\r\n"}).Draw(t, "trailer") + "\r\n"
}

// However requests are pipelined and however their bytes arrive, all sound
// ones are served, and none behind one that is not.
func TestNoRequestIsServedBehindADoubtfulOne(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{Handler: h, MaxHeaderBytes: 8 << 10, MaxHeaderFields: 100})
	var attacks []malformed
	for _, m := range malformedRequests {
		if m.by != "" && !m.marker {
			attacks = append(attacks, m)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		h.mu.Lock()
		h.requests = nil
		h.mu.Unlock()
		var stream strings.Builder
		var want []string
		for i := range rapid.IntRange(0, 5).Draw(t, "requests") {
			target := fmt.Sprintf("/%d", i)
			stream.WriteString(drawRequest(t, target))
			want = append(want, target)
		}
		if rapid.Bool().Draw(t, "attacked") {
			a := rapid.SampledFrom(attacks).Draw(t, "attack")
			stream.WriteString(a.send)
			if a.target != "" {
				want = append(want, a.target)
			}
		} else {
			want = append(want, "/marker")
		}
		stream.WriteString(marker)

		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		for rest := stream.String(); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if _, err := io.WriteString(c, rest[:n]); err != nil {
				break // it has been refused already
			}
			rest = rest[n:]
		}
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Error("the connection was left open")
		}
		if got := h.targets(); !slices.Equal(got, want) {
			t.Errorf("of %q the handler met %q, not %q", stream.String(), got, want)
		}
	})
}

// Once the answer has begun there is no status to say it with; nothing more
// may be read from the connection all the same.
func TestMalformedChunkBehindABegunAnswerEndsTheConnection(t *testing.T) {
	t.Parallel()
	for _, fullDuplex := range []bool{false, true} {
		for _, late := range []bool{false, true} {
			for _, before := range []bool{false, true} { // the answer begins before the body is read
				t.Run(fmt.Sprintf("full duplex %v, late %v, before %v", fullDuplex, late, before), func(t *testing.T) {
					t.Parallel()
					h := &recorder{}
					h.answer = func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/marker" {
							return
						}
						if fullDuplex {
							if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
								t.Error(err)
							}
						}
						if before {
							_, _ = io.WriteString(w, "begun")
							if err := http.NewResponseController(w).Flush(); err != nil {
								t.Error(err)
							}
							return
						}
						_, err := io.Copy(io.Discard, r.Body)
						if e := listener.Refusal(r.Context()); err == nil || e == nil || e.Status != 400 {
							t.Errorf("the body ended with %v, refusal %v", err, e)
						}
						w.WriteHeader(http.StatusBadGateway)
					}
					addr, _ := start(t, listener.Options{Handler: h})
					c := dial(t, addr)
					send(t, c, chunks("3\r\nabc\r\n"))
					br := bufio.NewReader(c)
					if late && fullDuplex && before {
						if _, err := br.Peek(1); err != nil { // the answer is on its way
							t.Fatal(err)
						}
					}
					send(t, c, "zzz\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"+marker)
					res, err := http.ReadResponse(br, nil)
					if err != nil {
						t.Fatal(err)
					}
					text, _ := io.ReadAll(res.Body)
					if !before && (!res.Close || res.StatusCode != http.StatusBadGateway) {
						t.Errorf("%v %v %q", res.Status, res.Header, text)
					}
					if rest, err := io.ReadAll(br); isTimeout(err) || len(rest) > 0 {
						t.Errorf("behind the answer came %q, %v", rest, err)
					}
					if got := h.targets(); !slices.Equal(got, []string{"/attack"}) {
						t.Errorf("the handler met %q", got)
					}
				})
			}
		}
	}
}

func TestBodyThatIsExpectedToBeAskedFor(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{Handler: h})
	c := dial(t, addr)
	br := bufio.NewReader(c)
	for range 2 {
		send(t, c, post("Content-Length: 3", "Expect: 100-continue"))
		for _, want := range []int{100, 200} {
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if res.StatusCode != want {
				t.Errorf("status %d instead of %d", res.StatusCode, want)
			}
			if want == 100 {
				send(t, c, "abc")
			}
		}
	}
	for _, s := range h.all() {
		if s.Body != "abc" || s.BodyError != nil {
			t.Errorf("the handler met %+v", s)
		}
	}
}

// A client that sends the body behind the head does not wait: it is sent no 100, and
// the handler, which may be a proxy, learns of no expectation.
func TestBodyThatHasComeIsNotAskedFor(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{Handler: h})
	c := dial(t, addr)
	br := bufio.NewReader(c)
	for _, request := range []string{
		post("Content-Length: 3", "Expect: 100-continue") + "abc",
		post("Content-Length: 3", "Expect: 100-continue") + "a",
		post("Transfer-Encoding: chunked", "Expect: 100-continue") + "3\r\nabc\r\n0\r\n\r\n",
	} {
		send(t, c, request)
		if strings.HasSuffix(request, "\na") {
			send(t, c, "bc")
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	}
	for _, s := range h.all() {
		if s.Body != "abc" || s.Header["Expect"] != nil {
			t.Errorf("the handler met %+v", s)
		}
	}
}

// slowToAsk is a listener on whose connections a 100 (Continue) takes its time.
type slowToAsk struct{ net.Listener }

func (l slowToAsk) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return slowToAskConn{c}, err
}

type slowToAskConn struct{ net.Conn }

func (c slowToAskConn) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("HTTP/1.1 100 ")) {
		time.Sleep(50 * time.Millisecond)
	}
	return c.Conn.Write(p)
}

// A body that is read while the answer begins is asked for before that, or not
// at all: within the answer, 100 (Continue) would be a part of it.
func TestBodyIsNotAskedForWithinTheAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serve(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		read := make(chan bool)
		go func() {
			defer close(read)
			_, _ = r.Body.Read(make([]byte, 1))
		}()
		time.Sleep(10 * time.Millisecond)
		say(w, "answer")
		flush(w)
		<-read
	})}, slowToAsk{l})
	c := dial(t, addr)
	send(t, c, post("Content-Length: 3", "Expect: 100-continue"))
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); err != nil || bytes.LastIndex(text, []byte("HTTP/1.1 100 ")) > 0 {
		t.Errorf("%q, %v", text, err)
	}
}

func TestOptionsForTheWholeServerReachTheHandler(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	addr, _ := start(t, listener.Options{Handler: h})
	if c := dial(t, addr); true {
		send(t, c, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if all, _ := replies(t, c); len(all) != 1 || all[0].StatusCode != 200 {
			t.Errorf("answers %v", statuses(all))
		}
	}
	if got := h.targets(); !slices.Equal(got, []string{"*"}) {
		t.Errorf("the handler met %q", got)
	}
}

// An app server that agrees to speak h2c is out of the gateway's sight.
func TestUpgradeToH2CIsNotPassedOn(t *testing.T) {
	t.Parallel()
	for upgrade, kept := range map[string]bool{"h2c": false, "H2C": false, "websocket, h2c": false, "HTTP/2.0": false, "websocket": true} {
		h := &recorder{}
		addr, _ := start(t, listener.Options{Handler: h})
		c := dial(t, addr)
		send(t, c, get("Connection: Upgrade, HTTP2-Settings", "Upgrade: "+upgrade, "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")+marker)
		replies(t, c)
		got := h.all()
		if len(got) != 2 || (got[0].Header.Get("Upgrade") != "") != kept || (got[0].Header.Get("Http2-Settings") != "") != kept {
			t.Errorf("%s: the handler met %+v", upgrade, got)
		}
	}
}

func TestTrailersReachTheHandler(t *testing.T) {
	t.Parallel()
	sum := make(chan string, 1)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sum <- r.Trailer.Get("X-Sum")
	})})
	send(t, dial(t, addr), post("Transfer-Encoding: chunked", "Trailer: X-Sum")+"1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n")
	if got := <-sum; got != "42" {
		t.Errorf("trailer %q", got)
	}
}

package server_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// conversation is what a client sends on a connection, and how.
type conversation struct {
	name      string
	requests  []string // whole messages; the token replaces TOKEN
	pipelined bool     // the client waits for no answer
	expects   bool     // the client waits for 100 (Continue) before it sends a body
	breaksOff bool     // the answer is not whole: no client may be given it as a whole one
	upgrades  bool     // the client sends more, and reads what the server sends then
}

// reply is an answer as the client has read it.
type reply struct {
	interim []string
	res     *http.Response
	body    string
	err     error // why the body, or all of the answer, is not there
}

// talk has the conversation with a server, over as many connections as the server wants.
func (c *conversation) talk(t testing.TB, addr, token string) []reply {
	t.Helper()
	var replies []reply
	texts := make([]string, len(c.requests))
	for i, text := range c.requests {
		texts[i] = strings.ReplaceAll(text, "TOKEN", token)
	}
	if c.pipelined {
		l := dialLine(t, addr)
		defer l.Close()
		l.send(strings.Join(texts, ""))
		for _, text := range texts {
			replies = append(replies, l.read(method(text), nil))
		}
		return replies
	}
	var l *line
	for _, text := range texts {
		if l == nil {
			l = dialLine(t, addr)
		}
		r := c.ask(l, text)
		replies = append(replies, r)
		if r.err != nil || r.res.Close {
			l.Close()
			l = nil
		}
	}
	if l != nil {
		l.Close()
	}
	return replies
}

func (c *conversation) ask(l *line, text string) reply {
	if !c.expects {
		l.send(text)
		r := l.read(method(text), nil)
		if c.upgrades && r.err == nil {
			r.body = l.after101()
		}
		return r
	}
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	l.send(head + "\r\n\r\n")
	return l.read(method(text), func() { l.send(body) })
}

func method(text string) string {
	m, _, _ := strings.Cut(text, " ")
	return m
}

// line is a client's connection.
type line struct {
	net.Conn
	br *bufio.Reader
}

func dialLine(t testing.TB, addr string) *line {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &line{c, bufio.NewReader(c)}
}

// send does not wait: the server may answer before it has read everything.
func (l *line) send(text string) {
	go func() { _, _ = io.WriteString(l, text) }()
}

// read reads an answer. proceed is called when 100 (Continue) comes.
func (l *line) read(method string, proceed func()) (r reply) {
	for {
		r.res, r.err = http.ReadResponse(l.br, &http.Request{Method: method})
		if r.err != nil {
			return r
		}
		switch {
		case r.res.StatusCode == http.StatusContinue:
			if proceed != nil {
				proceed()
				proceed = nil
			}
			continue
		case r.res.StatusCode == http.StatusSwitchingProtocols:
			return r
		case r.res.StatusCode < 200:
			r.interim = append(r.interim, fmt.Sprint(r.res.StatusCode, " ", fields(r.res.Header)))
			continue
		}
		body, err := io.ReadAll(r.res.Body)
		r.body, r.err = string(body), err
		return r
	}
}

// after101 is what comes on an upgraded connection, the answer to a frame of the client included.
func (l *line) after101() string {
	const early, hello = "\x81\x05early", "\x81\x05hello"
	got := make([]byte, len(early)+len(hello))
	n, err := io.ReadFull(l.br, got[:len(early)])
	if err == nil {
		l.send("\x81\x85\x00\x00\x00\x00hello")
		m, _ := io.ReadFull(l.br, got[len(early):])
		n += m
	}
	return string(got[:n])
}

// hidden are the fields that hold for one connection alone, or that the gateway adds.
var hidden = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Via", "X-Request-Id"}

// fields prints a header without what is hidden, and without the time of the day.
func fields(h http.Header) string {
	var lines []string
	for name, values := range h {
		if slices.Contains(hidden, name) {
			continue
		}
		if name == "Date" {
			values = []string{"some day"}
		}
		for _, v := range values { // their order counts
			lines = append(lines, fmt.Sprintf("%s: %+q", name, v))
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		return strings.Compare(a[:strings.IndexByte(a, ':')], b[:strings.IndexByte(b, ':')])
	})
	return strings.Join(lines, "\n")
}

// text is all that the client has seen, to be compared. asOrigin is what the origin itself has answered.
func (r reply) text(asOrigin reply) string {
	if r.res == nil {
		return fmt.Sprint("no answer: ", r.err)
	}
	h := r.res.Header.Clone()
	for _, name := range []string{"Content-Length", "Date"} {
		if asOrigin.res != nil && asOrigin.res.Header[name] == nil {
			delete(h, name) // the gateway knows it, and may say so: RFC 9110 section 6.6.1
		}
	}
	body := fmt.Sprintf("%q", r.body)
	if len(body) > 300 {
		body = fmt.Sprintf("%d bytes, %x", len(r.body), sha256.Sum256([]byte(r.body)))
	}
	return fmt.Sprintf("%s\n%d\n%s\n%s\nerror: %v\n%s", strings.Join(r.interim, "\n"), r.res.StatusCode, fields(h), body, r.err, fields(r.res.Trailer))
}

// whole reports whether the client takes the answer for the app's, and complete.
func (r reply) whole() bool {
	return r.err == nil && r.res.StatusCode != http.StatusBadGateway
}

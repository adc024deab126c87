package server_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// message is a request without a body.
func message(method, target string, lines ...string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: shop.example\r\nX-Token: TOKEN\r\n" +
		strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

func withLength(method, target, body string, lines ...string) string {
	return message(method, target, append(lines, fmt.Sprint("Content-Length: ", len(body)))...) + body
}

func inChunks(method, target string, chunks ...string) string {
	text := message(method, target, "Transfer-Encoding: chunked")
	for _, c := range chunks {
		text += fmt.Sprintf("%x\r\n%s\r\n", len(c), c)
	}
	return text + "0\r\n\r\n"
}

func times(n int, text string) (all []string) {
	for range n {
		all = append(all, text)
	}
	return all
}

const wsKey = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

var large = strings.Repeat("0123456789abcdef", 256<<10/16) // more than is sent in one piece

// appConversations are those with app.mjs and app.py.
var appConversations = []conversation{
	{name: "GET", requests: times(20, message("GET", "/echo?q=a%20b;c&&"))},
	{name: "HEAD", requests: []string{message("HEAD", "/bytes/5000"), message("GET", "/echo"), message("HEAD", "/chunked/5000"), message("GET", "/echo"), message("HEAD", "/status/404"), message("GET", "/echo")}},
	{name: "POST with a length", requests: times(5, withLength("POST", "/echo", "some body"))},
	{name: "POST in chunks", requests: times(5, inChunks("POST", "/echo", "some", " ", "body", large))},
	{name: "POST, empty", requests: []string{withLength("POST", "/echo", ""), inChunks("POST", "/echo"), message("POST", "/echo")}},
	{name: "POST, large", requests: times(2, withLength("POST", "/echo", strings.Repeat(large, 6)))},
	{name: "PUT, PATCH, DELETE, OPTIONS", requests: []string{withLength("PUT", "/echo", "a"), withLength("PATCH", "/echo", "b"), message("DELETE", "/echo"),
		withLength("DELETE", "/echo", "c"), message("OPTIONS", "/echo")}},
	{name: "GET with a body", requests: times(2, withLength("GET", "/echo", "a"))},
	{name: "204, 304, 404, 500", requests: []string{message("GET", "/status/204"), message("GET", "/echo"), message("GET", "/status/304"), message("GET", "/echo"),
		message("GET", "/nowhere"), message("GET", "/status/418"), message("GET", "/status/500"), message("GET", "/status/299")}},
	{name: "redirect", requests: []string{message("GET", "/redirect")}},
	{name: "gzip", requests: []string{message("GET", "/gzip/5000", "Accept-Encoding: gzip"), message("GET", "/gzip/200000", "Accept-Encoding: gzip"), message("HEAD", "/gzip/10")}},
	{name: "ranges", requests: []string{message("GET", "/range", "Range: bytes=10-19"), message("GET", "/range", "Range: bytes=1000-1001"), message("GET", "/range")}},
	{name: "lengths", requests: []string{message("GET", "/bytes/0"), message("GET", "/bytes/1"), message("GET", "/bytes/65536"), message("GET", "/bytes/65537"), message("GET", "/bytes/3000000")}},
	{name: "chunks", requests: []string{message("GET", "/chunked/0"), message("GET", "/chunked/1"), message("GET", "/chunked/1000"), message("GET", "/chunked/300000"), message("GET", "/echo")}},
	{name: "until close", requests: []string{message("GET", "/close/0"), message("GET", "/close/70000"), message("GET", "/echo")}},
	{name: "HTTP/1.0 answers", requests: []string{message("GET", "/http10/0"), message("GET", "/http10/70000"), message("HEAD", "/http10/10"), message("GET", "/echo")}},
	{name: "trailers", requests: times(3, message("GET", "/trailers", "TE: trailers", "Connection: TE"))},
	{name: "103", requests: times(3, message("GET", "/hints"))},
	{name: "100-continue", expects: true, requests: []string{withLength("POST", "/echo", "some body", "Expect: 100-continue"),
		withLength("POST", "/echo", large, "Expect: 100-continue")}},
	{name: "many cookies", requests: times(2, message("GET", "/cookies/60"))},
	{name: "Latin-1", requests: []string{message("GET", "/latin1", "X-Given: caf\xe9 \xff")}},
	{name: "UTF-8", requests: []string{message("GET", "/latin1", "X-Given: café")}},
	{name: "huge headers", requests: []string{message("GET", "/headers/12000", "X-Long: "+strings.Repeat("x", 12000)), message("GET", "/headers/60000")}},
	{name: "slow", requests: times(2, message("GET", "/slow"))},
	{name: "early", requests: []string{withLength("POST", "/early", strings.Repeat(large, 8)), message("GET", "/echo")}},
	{name: "many in a row", requests: times(200, message("GET", "/bytes/10"))},
	{name: "pipelined", pipelined: true, requests: append(times(10, message("GET", "/echo")), withLength("POST", "/echo", "x"), message("HEAD", "/bytes/9"),
		inChunks("POST", "/echo", "a", "b"), message("GET", "/status/304"), message("GET", "/chunked/5000"), message("GET", "/echo"))},
	{name: "WebSocket", upgrades: true, requests: []string{message("GET", "/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", wsKey)}},
	{name: "short, broken off", breaksOff: true, requests: []string{message("GET", "/abort/100"), message("POST", "/abort/100", "Content-Length: 0")}},
	{name: "long, broken off", breaksOff: true, requests: []string{message("GET", "/abort/1000000")}},
	{name: "chunks, broken off", breaksOff: true, requests: []string{message("GET", "/abortchunks")}},
	{name: "head, broken off", breaksOff: true, requests: []string{message("GET", "/aborthead"), message("POST", "/aborthead", "Content-Length: 0")}},
	{name: "no answer", breaksOff: true, requests: []string{message("GET", "/silence"), message("POST", "/silence", "Content-Length: 0")}},
}

// fileConversations are those with nginx, and with HAProxy before it.
var fileConversations = []conversation{
	{name: "GET", requests: times(50, message("GET", "/small.txt"))}, // its connections end after 20
	{name: "of a program's own", requests: times(50, message("GET", "/echo"))},
	{name: "sizes", requests: []string{message("GET", "/empty.txt"), message("GET", "/large.txt"), message("HEAD", "/large.txt"), message("HEAD", "/echo"), message("GET", "/small.txt")}},
	{name: "statuses", requests: []string{message("GET", "/status/204"), message("GET", "/status/500"), message("GET", "/none"), message("GET", "/refused"), message("GET", "/redirect")}},
	{name: "304", requests: []string{message("GET", "/small.txt", "If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT"), message("GET", "/small.txt"),
		message("HEAD", "/small.txt", "If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT")}},
	{name: "ranges", requests: []string{message("GET", "/large.txt", "Range: bytes=10-19"), message("GET", "/small.txt", "Range: bytes=5000-"),
		message("GET", "/large.txt", "Range: bytes=1000000-")}},
	{name: "gzip in chunks", requests: []string{message("GET", "/gzip/large.txt", "Accept-Encoding: gzip"), message("GET", "/gzip/small.txt", "Accept-Encoding: gzip"),
		message("HEAD", "/gzip/small.txt", "Accept-Encoding: gzip"), message("GET", "/gzip/small.txt")}},
	{name: "what files do not allow", requests: []string{withLength("POST", "/small.txt", "some"), inChunks("PUT", "/small.txt", large), message("DELETE", "/small.txt")}},
	{name: "early", requests: []string{withLength("POST", "/early", strings.Repeat(large, 8)), message("GET", "/echo")}},
	{name: "pipelined", pipelined: true, requests: times(15, message("GET", "/small.txt"))},
	{name: "no answer", breaksOff: true, requests: []string{message("GET", "/gone"), withLength("POST", "/gone", "some")}},
}

func conversationsWith(origin string) []conversation {
	if origin == "node" || origin == "python" {
		return appConversations
	}
	return fileConversations
}

// A client behind the gateway is answered as one that asks the app server itself, but for fields of the connection and the gateway's own.
func TestAnswersAreTheOrigins(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(origins)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := origins[name](t)
			g := start(t, fmt.Sprintf(anyRoute, "http://"+origin))
			for _, c := range conversationsWith(name) {
				t.Run(c.name, func(t *testing.T) { c.compare(t, origin, g.Addr()) })
			}
		})
	}
}

func (c *conversation) compare(t *testing.T, origin, gateway string) {
	t.Helper()
	direct, through := c.talk(t, origin, "token"), c.talk(t, gateway, "token")
	for i := range direct {
		d, g := direct[i], through[i]
		if c.breaksOff {
			if d.whole() || g.whole() {
				t.Errorf("request %d: the answer was taken for a whole one:\n%s\n--- through the gateway ---\n%s", i, d.text(d), g.text(d))
			}
			continue
		}
		if want, got := d.text(d), g.text(d); got != want {
			t.Errorf("request %d:\n%s\n--- through the gateway ---\n%s", i, want, got)
		}
		if d.err != nil {
			t.Errorf("request %d: the origin itself gave no answer: %v", i, d.err)
		}
	}
}

// However many clients ask at once, whatever they ask for, and though some of them leave: each answer has the token of its own request.
func TestNoAnswerReachesAnotherClient(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(origins)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, fmt.Sprintf(anyRoute, "http://"+origins[name](t)))
			var clients sync.WaitGroup
			for client := range 8 {
				random := rand.New(rand.NewPCG(12, uint64(client)))
				clients.Go(func() { visit(t, g.Addr(), conversationsWith(name), client, random) })
			}
			clients.Wait()
		})
	}
}

var anyToken = regexp.MustCompile(`t-\d+-\d+-`)

// visit has conversations that are drawn by lot, and leaves some before their answer has come.
func visit(t *testing.T, addr string, all []conversation, client int, random *rand.Rand) {
	for n := range 25 {
		c := all[random.IntN(len(all))]
		if len(c.requests) > 5 && !c.pipelined {
			c.requests = c.requests[:5]
		}
		token := fmt.Sprintf("t-%d-%d-", client, n)
		if random.IntN(5) == 0 {
			l := dialLine(t, addr)
			_, _ = l.Write([]byte(strings.ReplaceAll(c.requests[0], "TOKEN", token)))
			_, _ = l.Read(make([]byte, random.IntN(2000)))
			l.Close()
			continue
		}
		for i, r := range c.talk(t, addr, token) {
			switch {
			case r.res == nil || r.res.StatusCode == http.StatusBadGateway:
				if !c.breaksOff {
					t.Errorf("%s, request %d: %s", c.name, i, r.text(r))
				}
			case r.res.Header.Get("X-Token") != token && !c.breaksOff, anyToken.MatchString(strings.ReplaceAll(r.body, token, "")):
				t.Errorf("%s, request %d of %s got another's answer:\n%s", c.name, i, token, r.text(r))
			}
		}
	}
}

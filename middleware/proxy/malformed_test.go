package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// malformedResponses is the twin of the listener's table of requests: what an app server may send, and what becomes of it.
//
// The server is sent /marker after each. It must not meet it on the connection of a response that was refused, or behind which anything was left.
type malformedResponse struct {
	name   string
	method string // GET where it is empty
	send   string
	status int    // that the client is given; 0: the response is cut off
	body   string // that the client is given; of statuses other than 502
	reused bool   // the connection may be used again
}

const ok = "HTTP/1.1 200 OK\r\n"

func withBody(lines ...string) string {
	return ok + strings.Join(append(lines, "Content-Length: 3"), "\r\n") + "\r\n\r\nhel"
}

func chunkedAnswer(body string) string { return ok + "Transfer-Encoding: chunked\r\n\r\n" + body }

const surplus = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nSMUGGLED!"

var malformedResponses = []malformedResponse{
	{name: "sound", send: withBody(), status: 200, body: "hel", reused: true},

	// Bytes beyond the message: RFC 9112 section 9.2.
	{name: "HEAD with a body", method: "HEAD", send: withBody(), status: 200},
	{name: "204 with a body", send: "HTTP/1.1 204 No Content\r\n\r\n" + surplus, status: 204},
	{name: "204 with a length", send: "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nhel", status: 204},
	{name: "304 with a body", send: "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nhel", status: 304},
	{name: "a second response", send: withBody() + surplus, status: 200, body: "hel"},
	{name: "café with 4", send: ok + "Content-Length: 4\r\n\r\ncafé", status: 200, body: "caf\xc3"},
	{name: "an empty line behind", send: withBody() + "\r\n", status: 200, body: "hel"},
	{name: "an unsolicited 408 behind", send: withBody() + "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", status: 200, body: "hel"},
	{name: "surplus behind the last chunk", send: chunkedAnswer("3\r\nhel\r\n0\r\n\r\n" + surplus), status: 200, body: "hel"},
	{name: "empty, with surplus", send: ok + "Content-Length: 0\r\n\r\n" + surplus, status: 200},

	// The status line.
	{name: "status 000", send: "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "status 099", send: "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "status 42", send: "HTTP/1.1 42 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "status 2000", send: "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "status +20", send: "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "no status", send: "HTTP/1.1\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "two spaces", send: "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "two spaces behind the status", send: "HTTP/1.1 200  OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "a tab", send: "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "bare CR in the status line", send: "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "bare LF behind the status line", send: "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "NUL in the reason", send: "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/5.6", send: "HTTP/5.6 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/2.0", send: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/1.2", send: "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "lower case", send: "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "a line before the status line", send: "\r\n" + withBody(), status: 502},
	{name: "not HTTP", send: "SSH-2.0-OpenSSH_9.2\r\n", status: 502},
	{name: "no space before the reason", send: "HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "a tab behind the status", send: "HTTP/1.1 200\tOK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "space within the status", send: "HTTP/1.1 2 0 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "space before the version", send: " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/1.10", send: "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/01.1", send: "HTTP/01.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/1", send: "HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "hTTP", send: "hTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "ICY", send: "ICY 200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "HTTP/0.9", send: "<html>\r\n\r\n", status: 502},
	{name: "two CRs", send: "HTTP/1.1 200 OK\r\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "DEL in the reason", send: "HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "status 1000", send: "HTTP/1.1 1000 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "status ²00", send: "HTTP/1.1 \xb200 OK\r\nContent-Length: 0\r\n\r\n", status: 502},
	{name: "Latin-1 in the reason", send: "HTTP/1.1 200 caf\xe9\r\nContent-Length: 3\r\n\r\nhel", status: 200, body: "hel", reused: true},
	{name: "status 600", send: "HTTP/1.1 600 OK\r\nContent-Length: 3\r\n\r\nhel", status: 600, body: "hel", reused: true},
	{name: "no reason", send: "HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nhel", status: 200, body: "hel", reused: true},
	{name: "no reason, no space", send: "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nhel", status: 200, body: "hel", reused: true},
	{name: "HTTP/1.0", send: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhel", status: 200, body: "hel"},
	{name: "HTTP/1.0 with keep-alive", send: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nhel", status: 200, body: "hel", reused: true},
	{name: "Connection: close", send: withBody("Connection: close"), status: 200, body: "hel"},
	{name: "an unasked 101", send: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", status: 502},

	// Interim responses.
	{name: "a few interim responses", send: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 30) + withBody(), status: 200, body: "hel", reused: true},
	{name: "a flood of 102", send: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 40) + withBody(), status: 502},
	{name: "a flood of 100", send: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 60_000) + withBody(), status: 502},
	{name: "an interim response with a body", send: "HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nhel" + withBody(), status: 502},
	{name: "an interim response in chunks", send: "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + withBody(), status: 502},
	{name: "a malformed interim response", send: "HTTP/1.1 103 Early Hints\r\nX : y\r\n\r\n" + withBody(), status: 502},
	{name: "an unasked 101 behind a 103", send: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", status: 502},

	// Fields.
	{name: "space before the colon", send: ok + "Content-Length : 3\r\n\r\nhel", status: 502},
	{name: "space before another colon", send: withBody("X : y"), status: 502},
	{name: "space before a name", send: withBody("A: b", " X: y"), status: 502},
	{name: "a folded line", send: withBody("X: y", "\tz"), status: 502},
	{name: "bare LF", send: withBody("X: y\nZ: a"), status: 502},
	{name: "bare CR", send: withBody("X: y\rz"), status: 502},
	{name: "bare LFs alone", send: "HTTP/1.1 200 OK\nContent-Length: 3\n\nhel", status: 502},
	{name: "NUL in a value", send: withBody("X: y\x00"), status: 502},
	{name: "space in a name", send: withBody("X Y: z"), status: 502},
	{name: "no name", send: withBody(": z"), status: 502},
	{name: "no colon", send: withBody("X"), status: 502},
	{name: "NUL in a name", send: withBody("X\x00: y"), status: 502},
	{name: "DEL in a value", send: withBody("X: y\x7f"), status: 502},
	{name: "a vertical tab before the colon", send: ok + "Content-Length\x0b: 3\r\n\r\nhel", status: 502},
	{name: "Latin-1 in a name", send: withBody("X\xe9: y"), status: 502},
	{name: "two CRs behind a field", send: "HTTP/1.1 200 OK\r\nX: y\r\r\nContent-Length: 3\r\n\r\nhel", status: 502},
	{name: "a folded length", send: ok + "Content-Length:\r\n 3\r\n\r\nhel", status: 502},
	{name: "a folded coding", send: ok + "Transfer-Encoding:\r\n chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "a folded first line", send: ok + " X: y\r\nContent-Length: 3\r\n\r\nhel", status: 502},
	{name: "a head that ends in LF CR LF", send: ok + "Content-Length: 3\n\r\nhel", status: 502},
	{name: "Latin-1 in a value", send: withBody("X: caf\xe9"), status: 200, body: "hel", reused: true},
	{name: "a head of 2 MiB", send: withBody("X: " + strings.Repeat("y", 2<<20)), status: 502},
	{name: "too many lines", send: withBody(strings.Repeat("X: y\r\n", 20000) + "Z: a"), status: 502},
	{name: "a line without end", send: ok + "X: " + strings.Repeat("y", 2<<20), status: 502},

	// Framing.
	{name: "two lengths, equal", send: withBody("Content-Length: 3"), status: 502},
	{name: "two lengths, different", send: withBody("Content-Length: 2"), status: 502},
	{name: "a list of lengths", send: ok + "Content-Length: 3, 3\r\n\r\nhel", status: 502},
	{name: "a signed length", send: ok + "Content-Length: +3\r\n\r\nhel", status: 502},
	{name: "a negative length", send: ok + "Content-Length: -3\r\n\r\nhel", status: 502},
	{name: "a hexadecimal length", send: ok + "Content-Length: 0x3\r\n\r\nhel", status: 502},
	{name: "an empty length", send: ok + "Content-Length:\r\n\r\nhel", status: 502},
	{name: "a length of 64 bits", send: ok + "Content-Length: 18446744073709551619\r\n\r\nhel", status: 502},
	{name: "a misspelt length", send: ok + "Content_Length: 3\r\n\r\nhel", status: 502},
	{name: "length and chunks", send: ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "two codings", send: ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 502},
	{name: "gzip, chunked", send: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", status: 502},
	{name: "identity", send: ok + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nhel", status: 502},
	{name: "chunked, chunked", send: ok + "Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "chunked, identity", send: ok + "Transfer-Encoding: chunked, identity\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "identity alone", send: ok + "Transfer-Encoding: identity\r\nConnection: close\r\n\r\nhel", status: 502},
	{name: "chunked and a comma", send: ok + "Transfer-Encoding: chunked,\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "a comma and chunked", send: ok + "Transfer-Encoding: ,chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "chunked with a parameter", send: ok + "Transfer-Encoding: chunked;a=b\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "chunked in quotes", send: ok + "Transfer-Encoding: \"chunked\"\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "an empty coding", send: ok + "Transfer-Encoding:\r\nContent-Length: 3\r\n\r\nhel", status: 502},
	{name: "a vertical tab before chunked", send: ok + "Transfer-Encoding: \x0bchunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "a misspelt coding", send: ok + "Transfer_Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "space before the coding's colon", send: ok + "Transfer-Encoding : chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "chunks and length", send: ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "a length, and an unknown coding", send: ok + "Transfer-Encoding: x\r\nContent-Length: 3\r\n\r\nhel", status: 502},
	{name: "a length with a space in it", send: ok + "Content-Length: 3 3\r\n\r\nhel", status: 502},
	{name: "a length and a comma", send: ok + "Content-Length: 3,\r\n\r\nhel", status: 502},
	{name: "a fraction", send: ok + "Content-Length: 3.0\r\n\r\nhel", status: 502},
	{name: "a length with an underscore", send: ok + "Content-Length: 0_3\r\n\r\nhel", status: 502},
	{name: "a length of 2^63", send: ok + "Content-Length: 9223372036854775808\r\n\r\nhel", status: 502},
	{name: "two lengths in a 204", send: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\n", status: 502},
	{name: "two lengths for a HEAD", method: "HEAD", send: ok + "Content-Length: 0\r\nContent-Length: 3\r\n\r\n", status: 502},
	{name: "204 in chunks", send: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 204},
	{name: "304 in chunks", send: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 304},
	{name: "HEAD in chunks", method: "HEAD", send: chunkedAnswer("3\r\nhel\r\n0\r\n\r\n"), status: 200},
	{name: "Chunked", send: ok + "Transfer-Encoding: \t Chunked \t\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 200, body: "hel", reused: true},
	{name: "a length with zeros before it", send: ok + "Content-Length: 003\r\n\r\nhel", status: 200, body: "hel", reused: true},
	{name: "xchunked", send: ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", status: 502},
	{name: "chunks in HTTP/1.0", send: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", status: 502},
	{name: "chunks", send: chunkedAnswer("1\r\nh\r\n2;ext=1\r\nel\r\n0\r\n\r\n"), status: 200, body: "hel", reused: true},

	// Chunks. The response has begun.
	{name: "chunk: 0x", send: chunkedAnswer("0x3\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: plus", send: chunkedAnswer("+3\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: no size", send: chunkedAnswer("\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: space behind the size", send: chunkedAnswer("3 \r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: bare LF", send: chunkedAnswer("3\nhel\r\n0\r\n\r\n")},
	{name: "chunk: bare LF behind the data", send: chunkedAnswer("3\r\nhel\n0\r\n\r\n")},
	{name: "chunk: longer than its size", send: chunkedAnswer("3\r\nhello\r\n0\r\n\r\n")},
	{name: "chunk: minus", send: chunkedAnswer("-3\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: underscore", send: chunkedAnswer("0_3\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: space before the size", send: chunkedAnswer(" 3\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: tab behind the size", send: chunkedAnswer("3\t\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: NUL behind the size", send: chunkedAnswer("3\x00\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: comma", send: chunkedAnswer("3,a\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: bare CR behind the size", send: chunkedAnswer("3\rhel\r\n0\r\n\r\n")},
	{name: "chunk: bare CR in an extension", send: chunkedAnswer("3;a\rb\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: bare LF in an extension", send: chunkedAnswer("3;a\nhel\r\n0\r\n\r\n")},
	{name: "chunk: NUL in an extension", send: chunkedAnswer("3;a\x00\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: shorter than its size", send: chunkedAnswer("5\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: bare CR behind the data", send: chunkedAnswer("3\r\nhel\rX0\r\n\r\n")},
	{name: "chunk: 2^64 + 3", send: chunkedAnswer("10000000000000003\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: a size of 1 MiB of zeros", send: chunkedAnswer(strings.Repeat("0", 1<<20) + "3\r\nhel\r\n0\r\n\r\n")},
	{name: "trailer: coding", send: chunkedAnswer("3\r\nhel\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n")},
	{name: "trailer: host", send: chunkedAnswer("3\r\nhel\r\n0\r\nHost: a\r\n\r\n")},
	{name: "trailer: misspelt framing", send: chunkedAnswer("3\r\nhel\r\n0\r\nContent_Length: 40\r\n\r\n")},
	{name: "trailer: bare LF", send: chunkedAnswer("3\r\nhel\r\n0\r\nX: y\nZ: a\r\n\r\n")},
	{name: "trailer: NUL", send: chunkedAnswer("3\r\nhel\r\n0\r\nX: y\x00\r\n\r\n")},
	{name: "trailer: ends in a bare LF", send: chunkedAnswer("3\r\nhel\r\n0\r\n\nX")},
	{name: "chunk: overflow", send: chunkedAnswer("ffffffffffffffff\r\nhel\r\n0\r\n\r\n")},
	{name: "chunk: a flood of extensions", send: chunkedAnswer(strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 40) + "0\r\n\r\n")},
	{name: "trailer: folded", send: chunkedAnswer("3\r\nhel\r\n0\r\nX: a\r\n b\r\n\r\n")},
	{name: "trailer: framing", send: chunkedAnswer("3\r\nhel\r\n0\r\nContent-Length: 40\r\n\r\n")},
	{name: "trailer: without end", send: chunkedAnswer("3\r\nhel\r\n0\r\n" + strings.Repeat("X: aaaaaaaaaaaaaaaa\r\n", 400) + "\r\n")},
}

func TestMalformedResponses(t *testing.T) { // not parallel: the process' log is watched
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(log.Default().Writer())
	for _, tc := range malformedResponses {
		t.Run(tc.name, func(t *testing.T) { tc.run(t) })
	}
	if printed.Len() > 0 {
		t.Errorf("printed: %q", printed.String())
	}
}

func (tc *malformedResponse) run(t *testing.T) {
	var reused atomic.Bool
	app := tcpServer(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for attacked := false; ; {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if attacked {
				reused.Store(true)
			}
			if r.URL.Path == "/marker" {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarker")
				continue
			}
			attacked = true
			_, _ = io.WriteString(c, tc.send)
		}
	})
	gw := gateway(t, proxy.Config{Servers: servers(app), Timeout: 10 * time.Second}, proxy.RouteOptions{})
	method := tc.method
	if method == "" {
		method = http.MethodGet
	}
	req, _ := http.NewRequest(method, gw.URL+"/attack", nil)
	got := do(t, req)
	switch {
	case tc.status == 0 && (got.err == nil || strings.Contains(fmt.Sprint(got.err), "Timeout")):
		t.Errorf("got a complete response: %d %q, %v", got.status, got.body, got.err)
	case tc.status != 0 && (got.err != nil || got.status != tc.status || tc.status != 502 && got.body != tc.body):
		t.Errorf("got %d %q, %v; want %d %q", got.status, got.body, got.err, tc.status, tc.body)
	}
	for range 3 {
		if got := get(t, gw.URL+"/marker"); got.status != 200 || got.body != "marker" {
			t.Errorf("the next request: %d %q, %v", got.status, got.body, got.err)
		}
	}
	if reused.Load() != tc.reused {
		t.Errorf("the connection was used again: %t", reused.Load())
	}
}

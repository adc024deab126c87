package listener_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/listener"
)

// Who would see to what: in "net/http" rows, net/http's server would keep the
// handler from meeting more than it should, too; in "listener" rows it would not. In the other
// rows there is nothing to be refused.
//
// marker follows each attack on the same connection. The handler must never
// meet it behind a request that was refused.
const marker = "GET /marker HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

type malformed struct {
	name   string
	by     string // "listener", "net/http"; "" where it is passed on
	send   string
	status int    // of the answer to it
	target string // what the handler meets of it; "" nothing
	marker bool   // the request is sound: what follows it is a request of its own
}

var malformedRequests = []malformed{
	// Two ways to tell where the request ends.
	{"CL.TE", "listener", post("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG", 400, "", false},
	{"TE.CL", "listener", post("Transfer-Encoding: chunked", "Content-Length: 4") + "5c\r\nGPOST / HTTP/1.1\r\n", 400, "", false},
	{"TE and CL agree", "listener", post("Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE and CL: 0", "listener", post("Transfer-Encoding: chunked", "Content-Length: 0") + "0\r\n\r\n", 400, "", false},
	{"two TE lines", "net/http", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"two TE lines, one identity", "net/http", post("Transfer-Encoding: identity", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: chunked, identity", "net/http", post("Transfer-Encoding: chunked, identity") + "0\r\n\r\n", 400, "", false},
	{"TE: identity, chunked", "net/http", post("Transfer-Encoding: identity, chunked") + "0\r\n\r\n", 501, "", false},
	{"TE: gzip, chunked", "net/http", post("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n", 501, "", false},
	{"TE: chunked, chunked", "net/http", post("Transfer-Encoding: chunked, chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: identity", "net/http", post("Transfer-Encoding: identity", "Content-Length: 1") + "x", 400, "", false},
	{"TE: chunKed with a Kelvin sign", "net/http", post("Transfer-Encoding: chun\u212aed") + "0\r\n\r\n", 400, "", false},
	{"TE: xchunked", "net/http", post("Transfer-Encoding: xchunked") + "0\r\n\r\n", 400, "", false},
	{"TE: quoted", "net/http", post(`Transfer-Encoding: "chunked"`) + "0\r\n\r\n", 400, "", false},
	{"TE with a parameter", "net/http", post("Transfer-Encoding: chunked;a=b") + "0\r\n\r\n", 400, "", false},
	{"TE: empty", "net/http", post("Transfer-Encoding:") + "0\r\n\r\n", 400, "", false},
	{"TE: vertical tab", "net/http", post("Transfer-Encoding: \x0bchunked") + "0\r\n\r\n", 400, "", false},
	{"TE: form feed behind", "net/http", post("Transfer-Encoding: chunked\x0c") + "0\r\n\r\n", 400, "", false},
	{"TE: NUL", "net/http", post("Transfer-Encoding: chunked\x00") + "0\r\n\r\n", 400, "", false},
	{"TE: no-break space", "net/http", post("Transfer-Encoding: \xa0chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: space before the colon", "net/http", post("Transfer-Encoding : chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: tab before the colon", "net/http", post("Transfer-Encoding\t: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: space before the name", "listener", post("X: y", " Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: folded", "listener", post("Transfer-Encoding:", " chunked") + "0\r\n\r\n", 400, "", false},
	{"TE: folded with a tab", "listener", post("Transfer-Encoding:", "\tchunked") + "0\r\n\r\n", 400, "", false},
	{"TE: folded behind", "net/http", post("Transfer-Encoding: chunked", " ") + "0\r\n\r\n", 400, "", false},
	{"TE: folded to nonsense", "net/http", post("Transfer-Encoding: chunked", " identity") + "0\r\n\r\n", 400, "", false},
	{"TE behind a folded line", "listener", post("X: a", " b", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE behind a bare CR", "net/http", post("X: a\rTransfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE behind a bare LF", "listener", post("X: a\nTransfer-Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE with underscore", "listener", post("Transfer_Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE with a dot", "listener", post("Transfer.Encoding: chunked") + "0\r\n\r\n", 400, "", false},
	{"TE in odd case", "", post("tRANSFER-eNCODING: CHUNKED") + "1\r\nx\r\n0\r\n\r\n", 200, "/attack", true},
	{"TE with blanks around", "", post("Transfer-Encoding: \t chunked \t") + "0\r\n\r\n", 200, "/attack", true},
	{"TE in HTTP/1.0", "listener", "POST /attack HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "", false},
	{"TE and CL in HTTP/1.0", "listener", "POST /attack HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "", false},

	// Content-Length.
	{"two CLs, equal", "listener", post("Content-Length: 1", "Content-Length: 1") + "x", 400, "", false},
	{"two CLs, different", "net/http", post("Content-Length: 1", "Content-Length: 0") + "x", 400, "", false},
	{"two CLs in one line", "net/http", post("Content-Length: 1, 1") + "x", 400, "", false},
	{"CL: plus", "net/http", post("Content-Length: +1") + "x", 400, "", false},
	{"CL: minus", "net/http", post("Content-Length: -1") + "x", 400, "", false},
	{"CL: minus zero", "net/http", post("Content-Length: -0"), 400, "", false},
	{"CL: hexadecimal", "net/http", post("Content-Length: 0x1") + "x", 400, "", false},
	{"CL: underscore", "net/http", post("Content-Length: 1_0") + "0123456789", 400, "", false},
	{"CL: exponent", "net/http", post("Content-Length: 1e1") + "0123456789", 400, "", false},
	{"CL: space within", "net/http", post("Content-Length: 1 0") + "x", 400, "", false},
	{"CL: empty", "net/http", post("Content-Length:"), 400, "", false},
	{"CL: huge", "net/http", post("Content-Length: 9223372036854775808"), 400, "", false},
	{"CL: huger", "net/http", post("Content-Length: 99999999999999999999999999999999"), 400, "", false},
	{"CL: wraps around at 64 bits", "net/http", post("Content-Length: 18446744073709551617") + "x", 400, "", false},
	{"CL: space before the colon", "net/http", post("Content-Length : 1") + "x", 400, "", false},
	{"CL: folded", "listener", post("Content-Length:", " 1") + "x", 400, "", false},
	{"CL: folded to more digits", "net/http", post("Content-Length: 1", " 0") + "x", 400, "", false},
	{"CL: misspelt", "listener", post("Content_Length: 1") + "x", 400, "", false},
	{"CL: a control character behind", "net/http", post("Content-Length: 1\x0b") + "x", 400, "", false},
	{"CL: leading zeros", "", post("Content-Length: 0001") + "x", 200, "/attack", true},
	{"a GET with a body", "", "GET /attack HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n" + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"[:34], 200, "/attack", true},

	// Chunks. The handler meets the request, reads a malformed body, and answers 400.
	{"chunk: 0x", "net/http", chunks("0x1\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: plus", "net/http", chunks("+1\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: minus", "net/http", chunks("-1\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: empty size", "net/http", chunks("\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: space before the size", "net/http", chunks(" 1\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: space behind the size", "listener", chunks("1 \r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: tab before the extension", "net/http", chunks("1\t;a\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: letters behind the size", "net/http", chunks("1g\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: too many digits", "net/http", chunks("00000000000000001\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: overflow", "net/http", chunks("10000000000000001\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: size of 64 bits", "net/http", chunks("ffffffffffffffff\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: bare LF behind the size", "net/http", chunks("1\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: bare CR behind the size", "net/http", chunks("1\rx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: no CRLF behind the data", "net/http", chunks("1\r\nx0\r\n\r\n"), 400, "/attack", false},
	{"chunk: bare LF behind the data", "net/http", chunks("1\r\nx\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: longer than its size", "net/http", chunks("1\r\nxyz\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: bare LF in an extension", "net/http", chunks("1;a\nb\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: NUL in an extension", "listener", chunks("1;a\x00b\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: bare CR in an extension", "net/http", chunks("1;a\rb\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: size line without end", "net/http", chunks("1;" + strings.Repeat("a", 8000) + "\r\nx\r\n0\r\n\r\n"), 400, "/attack", false},
	{"chunk: flood of extensions", "net/http", chunks(strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 40) + "0\r\n\r\n"), 400, "/attack", false},
	{"chunk: bare LF at the end", "listener", chunks("1\r\nx\r\n0\r\n\n"), 400, "/attack", false},
	{"chunk: extension", "", chunks("1;name=value\r\nx\r\n0;last\r\n\r\n"), 200, "/attack", true},
	{"chunk: leading zeros, upper case", "", chunks("00A\r\n0123456789\r\n000\r\n\r\n"), 200, "/attack", true},
	{"trailer: folded", "listener", chunks("0\r\nX: a\r\n b\r\n\r\n"), 400, "/attack", false},
	{"trailer: no colon", "net/http", chunks("0\r\nGET /smuggled HTTP/1.1\r\n\r\n"), 400, "/attack", false},
	{"trailer: bare LF", "listener", chunks("0\r\nX: a\n\r\n\r\n"), 400, "/attack", false},
	{"trailer: framing", "listener", chunks("0\r\nContent-Length: 40\r\n\r\n"), 400, "/attack", false},
	{"trailer: host", "listener", chunks("0\r\nHost: b\r\n\r\n"), 400, "/attack", false},
	{"trailer: space in the name", "listener", chunks("0\r\nTransfer-Encoding : chunked\r\n\r\n"), 400, "/attack", false},
	{"trailer: control character", "net/http", chunks("0\r\nX: a\x00\r\n\r\n"), 400, "/attack", false},
	{"trailer: without end", "net/http", chunks("0\r\n" + strings.Repeat("X: aaaaaaaaaaaaaaaa\r\n", 400) + "\r\n"), 400, "/attack", false},
	{"trailer", "", chunks("0\r\nX-Sum: 1\r\n\r\n"), 200, "/attack", true},
	{"trailer that is announced and must not be", "net/http", post("Transfer-Encoding: chunked", "Trailer: Content-Length") + "0\r\n\r\n", 400, "", false},

	// Lines.
	{"bare LF in the header", "listener", "GET /attack HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "", false},
	{"bare LF behind the request line", "listener", "GET /attack HTTP/1.1\nHost: a\r\n\r\n", 400, "", false},
	{"bare LFs alone", "listener", "GET /attack HTTP/1.1\nHost: a\n\n", 400, "", false},
	{"bare LF ends the header", "listener", "GET /attack HTTP/1.1\r\nHost: a\r\n\n", 400, "", false},
	{"bare CR in a value", "net/http", get("X: a\rb"), 400, "", false},
	{"two CRs before an LF", "net/http", get("X: a\r"), 400, "", false},
	{"bare CR ends the header", "net/http", "GET /attack HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", 400, "", false},
	{"NUL in a value", "net/http", get("X: a\x00b"), 400, "", false},
	{"NUL in a name", "net/http", get("X\x00: a"), 400, "", false},
	{"control character in a value", "net/http", get("X: a\x1bb"), 400, "", false},
	{"DEL in a value", "net/http", get("X: a\x7fb"), 400, "", false},
	{"control character in a name", "net/http", get("X\x01: a"), 400, "", false},
	{"space in a name", "net/http", get("X Y: a"), 400, "", false},
	{"space before a colon", "net/http", get("X : a"), 400, "", false},
	{"empty name", "net/http", get(": a"), 400, "", false},
	{"no colon", "net/http", get("X"), 400, "", false},
	{"non-ASCII name", "net/http", get("X\xc3\xa9: a"), 400, "", false},
	{"non-ASCII value", "", get("X: \xc3\xa9"), 200, "/attack", true},
	{"parenthesis in a name", "net/http", get("X(: a"), 400, "", false},
	{"first line is folded", "net/http", "GET /attack HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400, "", false},
	{"folded line", "listener", get("X: a", " b"), 400, "", false},
	{"folded line with a colon", "listener", get("X: a", " b: c"), 400, "", false},
	{"line of blanks", "net/http", get("   "), 400, "", false},

	// The request line.
	{"HTTP/0.9", "net/http", "GET /attack\r\n\r\n", 400, "", false},
	{"HTTP/0.9 with a version", "net/http", "GET /attack HTTP/0.9\r\n\r\n", 505, "", false},
	{"HTTP/2.0 in a line", "net/http", "GET /attack HTTP/2.0\r\nHost: a\r\n\r\n", 505, "", false},
	{"HTTP/3.7", "net/http", "GET /attack HTTP/3.7\r\nHost: a\r\n\r\n", 505, "", false},
	{"HTTP/1.10", "net/http", "GET /attack HTTP/1.10\r\nHost: a\r\n\r\n", 400, "", false},
	{"http/1.1", "net/http", "GET /attack http/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"HTTP/1.1 and a blank", "net/http", "GET /attack HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "", false},
	{"two versions", "net/http", "GET /attack HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"two blanks", "net/http", "GET  /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"tab for a blank", "net/http", "GET\t/attack\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"blank in the target", "net/http", "GET /att ack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"control character in the target", "net/http", "GET /att\x01ack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"tab in the query", "net/http", "GET /attack?a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"NUL in the target", "net/http", "GET /att\x00ack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"target without slash", "net/http", "GET attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"method with a colon", "net/http", "GE:T /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"no method", "net/http", " /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"blank before the method", "net/http", " GET /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"unknown method", "", "BREW /attack HTTP/1.1\r\nHost: a\r\n\r\n", 200, "/attack", true},
	{"an empty line before", "listener", "\r\nGET /attack HTTP/1.1\r\nHost: a\r\n\r\n", 200, "/attack", true},
	{"two empty lines before", "net/http", "\r\n\r\nGET /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"a bare LF before", "net/http", "\nGET /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"a bare CR before", "net/http", "\rGET /attack HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"garbage", "net/http", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xaa\xbb\r\n\r\n", 400, "", false},
	{"a response", "net/http", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, "", false},
	{"HTTP/2 preface without h2c", "listener", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "", false},

	// Host.
	{"no Host", "net/http", "GET /attack HTTP/1.1\r\n\r\n", 400, "", false},
	{"two Hosts", "net/http", get("Host: b"), 400, "", false},
	{"two Hosts, equal", "net/http", get("Host: a"), 400, "", false},
	{"Host with a slash", "net/http", "GET /attack HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400, "", false},
	{"Host with a blank", "net/http", "GET /attack HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "", false},
	{"Host with a control character", "net/http", "GET /attack HTTP/1.1\r\nHost: a\x01\r\n\r\n", 400, "", false},
	{"no Host in HTTP/1.0", "", "GET /attack HTTP/1.0\r\n\r\n", 200, "/attack", false},
	{"absolute form, other Host", "", "GET http://b/attack HTTP/1.1\r\nHost: a\r\n\r\n", 200, "http://b/attack", true},

	// RFC 9112 section 3.2: a target has no fragment.
	{"fragment", "listener", "GET /attack#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"fragment in the query", "listener", "GET /attack?a#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"fragment in absolute form", "listener", "GET http://a/attack#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},
	{"nothing but a fragment", "", "GET # HTTP/1.1\r\nHost: a\r\n\r\n", 400, "", false},

	// Sizes. The limits of this test are 8 KiB and 100 lines.
	{"long request line", "net/http", "GET /attack" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "", false},
	{"endless request line", "net/http", "GET /attack" + strings.Repeat("a", 100_000), 414, "", false},
	{"long header line", "net/http", get("X: " + strings.Repeat("a", 9000)), 431, "", false},
	{"long header name", "net/http", get(strings.Repeat("X", 9000) + ": a"), 431, "", false},
	{"long header together", "net/http", get(strings.Repeat("X: "+strings.Repeat("a", 100)+"\r\n", 90) + "Y: z"), 431, "", false},
	{"many header lines", "listener", get(strings.Repeat("X:\r\n", 100) + "Y: z"), 431, "", false},
	{"as many header lines as allowed", "", get(strings.Repeat("X:\r\n", 98) + "Y: z"), 200, "/attack", true},
	{"Expect: nonsense", "net/http", get("Expect: the worst"), 417, "", false},
}

func get(lines ...string) string {
	return "GET /attack HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func post(lines ...string) string {
	return "POST /attack HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func chunks(body string) string { return post("Transfer-Encoding: chunked") + body }

// cuts are ways in which a stream may arrive.
var cuts = map[string]func(t *testing.T, c interface{ Write([]byte) (int, error) }, s string){
	"at once": func(t *testing.T, c interface{ Write([]byte) (int, error) }, s string) { send(t, c, s) },
	"line by line": func(t *testing.T, c interface{ Write([]byte) (int, error) }, s string) {
		for line := range strings.SplitAfterSeq(s, "\n") {
			if _, err := c.Write([]byte(line)); err != nil {
				return
			}
			if len(s) < 1000 {
				time.Sleep(200 * time.Microsecond) // so that most lines arrive by themselves
			}
		}
	},
	"between CR and LF": func(t *testing.T, c interface{ Write([]byte) (int, error) }, s string) {
		for part := range strings.SplitAfterSeq(s, "\r") {
			if _, err := c.Write([]byte(part)); err != nil {
				return
			}
			if len(s) < 1000 {
				time.Sleep(200 * time.Microsecond)
			}
		}
	},
}

func TestMalformedRequestsAreRefusedOrPassedOnInOneForm(t *testing.T) {
	t.Parallel()
	for _, tt := range malformedRequests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for cut, write := range cuts {
				// A sound request before it, pipelined, is answered as if nothing were.
				for _, before := range []string{"", "GET /before HTTP/1.1\r\nHost: a\r\n\r\n"} {
					if before != "" && strings.Contains(tt.name, "preface") {
						continue
					}
					h := &recorder{}
					addr, _ := start(t, listener.Options{Handler: h, MaxHeaderBytes: 8 << 10, MaxHeaderFields: 100})
					c := dial(t, addr)
					write(t, c, before+tt.send+marker)
					all, closed := replies(t, c)

					var wantStatus []int
					var wantTargets []string
					if before != "" {
						wantStatus, wantTargets = append(wantStatus, 200), append(wantTargets, "/before")
					}
					wantStatus = append(wantStatus, tt.status)
					if tt.target != "" {
						wantTargets = append(wantTargets, tt.target)
					}
					if tt.marker {
						wantStatus, wantTargets = append(wantStatus, 200), append(wantTargets, "/marker")
					}
					where := fmt.Sprintf("%s, before %q", cut, before)
					if diff := cmp.Diff(wantTargets, h.targets()); diff != "" {
						t.Errorf("%s: the handler met (-want +got):\n%s", where, diff)
					}
					if diff := cmp.Diff(wantStatus, statuses(all)); diff != "" {
						t.Errorf("%s: answers (-want +got):\n%s", where, diff)
						continue
					}
					last := all[len(all)-1] // it is the end in any case: the marker asks for it
					if !closed || !last.Close {
						t.Errorf("%s: the connection was left open", where)
					}
					if tt.status != 200 && tt.target == "" {
						checkProblem(t, last, tt.status)
					}
				}
			}
		})
	}
}

func checkProblem(t *testing.T, r reply, status int) {
	t.Helper()
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("the refusal is %q and not problem details", ct)
	}
	var problem struct {
		Status int
		Title  string
	}
	if err := json.Unmarshal([]byte(r.Text), &problem); err != nil {
		t.Errorf("%v in %q", err, r.Text)
	}
	if problem.Status != status || problem.Title != http.StatusText(status) {
		t.Errorf("problem: %q", r.Text)
	}
	if r.Header.Get("Cache-Control") != "no-store" || !slices.Equal(r.TransferEncoding, nil) {
		t.Errorf("header: %v", r.Header)
	}
}

// TestTheTableSaysRightlyWhoRefuses runs the table against net/http alone, so
// that a change there, for better or worse, does not go unnoticed.
func TestTheTableSaysRightlyWhoRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range malformedRequests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			s := httptest.NewUnstartedServer(h)
			s.Config.MaxHeaderBytes = 8<<10 - 4096 // which is what it adds
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.Start()
			t.Cleanup(s.Close)
			c := dial(t, s.Listener.Addr().String())
			send(t, c, tt.send+marker)
			_ = c.(*net.TCPConn).CloseWrite() // it might wait for more of the attack
			_, _ = io.Copy(io.Discard, c)

			got, want := h.targets(), []string(nil)
			if tt.target != "" {
				want = append(want, tt.target)
			}
			if tt.marker {
				want = append(want, "/marker")
			}
			if same := slices.Equal(got, want); same != (tt.by != "listener") {
				t.Errorf("the handler behind net/http met %q; the table says that %q sees to it that it is %q", got, tt.by, want)
			}
		})
	}
}

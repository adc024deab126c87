package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/headgate/headgate/internal/http1"
)

var limits = http1.Limits{Head: 8 << 10, Fields: 100}

// received is a response as a client has it.
type received struct {
	status  int
	header  http.Header
	body    string
	trailer http.Header
	close   bool
	surplus string
}

// receive reads a response to the method, with its body.
func receive(src io.Reader, method string) (got received, err error) {
	r := http1.NewReader(src, limits)
	var h http1.ResponseHead
	if err := r.ReadResponse(&h, method, nil); err != nil {
		return got, err
	}
	got = received{status: h.Status, header: h.Header, close: h.Close}
	body := http1.NewBody(h.Body)
	for buf := make([]byte, 3); err == nil; {
		var n int
		n, err = body.Read(r, buf)
		got.body += string(buf[:n])
	}
	if err == io.EOF {
		err = nil
	}
	got.trailer, got.surplus = body.Trailer(), string(r.Buffered())
	return got, err
}

const ok = "HTTP/1.1 200 OK\r\n"

func TestResponsesAreReadByTheirFraming(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, text string
		status             int
		body, surplus      string
		close              bool
	}{
		{"length", "GET", ok + "Content-Length: 3\r\n\r\nabcHTTP", 200, "abc", "HTTP", false},
		{"length zero", "GET", ok + "Content-Length: 0\r\n\r\n", 200, "", "", false},
		{"chunks", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=\"y\"\r\ndefg\r\n0\r\n\r\nH", 200, "abcdefg", "H", false},
		{"until the end", "GET", ok + "\r\nabc", 200, "abc", "", true},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", "", true},
		{"HTTP/1.0, kept", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\na", 200, "a", "", false},
		{"close", "GET", ok + "Connection: x, Close\r\nContent-Length: 1\r\n\r\na", 200, "a", "", true},
		{"no reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, "", "", false},
		{"no space behind the status", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", "", false},
		{"HEAD", "HEAD", ok + "Content-Length: 3\r\n\r\nabc", 200, "", "abc", false},
		{"HEAD of chunks", "HEAD", ok + "Transfer-Encoding: chunked\r\n\r\n", 200, "", "", false},
		{"204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", 204, "", "abc", false},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", 304, "", "", false},
		{"304 of chunks", "GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 304, "", "0\r\n\r\n", false},
		{"CONNECT", "CONNECT", ok + "Content-Length: 1\r\n\r\nabc", 200, "abc", "", true},
		{"CONNECT refused", "CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nabc", 403, "a", "bc", false},
		{"101 is final", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nabc", 101, "", "abc", false},
		{"interim ones", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na", 200, "a", "", false},
		{"a high status", "GET", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999, "", "", false},
	} {
		for name, src := range map[string]io.Reader{"at once": strings.NewReader(tt.text), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.text))} {
			got, err := receive(src, tt.method)
			if err != nil || got.status != tt.status || got.body != tt.body || got.close != tt.close {
				t.Errorf("%s, %s: %+v, %v", tt.name, name, got, err)
			}
			if name == "at once" && got.surplus != tt.surplus {
				t.Errorf("%s: surplus %q, want %q", tt.name, got.surplus, tt.surplus)
			}
		}
	}
}

func TestTrailersOfAResponse(t *testing.T) {
	t.Parallel()
	got, err := receive(strings.NewReader(ok+"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nx-sum: 8\r\n\r\n"), "GET")
	if err != nil || strings.Join(got.trailer["X-Sum"], ",") != "7,8" || got.header["Trailer"] != nil || got.header["Transfer-Encoding"] != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMalformedResponsesAreRefused(t *testing.T) {
	t.Parallel()
	chunked := ok + "Transfer-Encoding: chunked\r\n\r\n"
	for name, text := range map[string]string{
		"nothing but a line end":        "\r\n" + ok + "\r\n",
		"two spaces before the status":  "HTTP/1.1  200 OK\r\n\r\n",
		"two spaces behind the status":  "HTTP/1.1 200  OK\r\n\r\n",
		"a tab":                         "HTTP/1.1\t200 OK\r\n\r\n",
		"a space in front":              " HTTP/1.1 200 OK\r\n\r\n",
		"lower case":                    "http/1.1 200 OK\r\n\r\n",
		"HTTP/5.6":                      "HTTP/5.6 200 OK\r\n\r\n",
		"HTTP/1.2":                      "HTTP/1.2 200 OK\r\n\r\n",
		"HTTP/1.10":                     "HTTP/1.10 200 OK\r\n\r\n",
		"HTTP/0.9":                      "<html>\r\n\r\n",
		"another protocol":              "SSH-2.0-OpenSSH_9.6\r\n",
		"status 000":                    "HTTP/1.1 000 OK\r\n\r\n",
		"status 099":                    "HTTP/1.1 099 OK\r\n\r\n",
		"two digits":                    "HTTP/1.1 20 OK\r\n\r\n",
		"four digits":                   "HTTP/1.1 2000 OK\r\n\r\n",
		"a signed status":               "HTTP/1.1 +20 OK\r\n\r\n",
		"no status":                     "HTTP/1.1 \r\n\r\n",
		"NUL in the reason":             "HTTP/1.1 200 O\x00K\r\n\r\n",
		"a bare CR in the reason":       "HTTP/1.1 200 O\rK\r\n\r\n",
		"a bare CR in a value":          ok + "A: b\rC: d\r\n\r\n",
		"a bare LF":                     "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
		"a bare LF behind a field":      ok + "A: b\nContent-Length: 0\r\n\r\n",
		"a bare LF for the empty line":  ok + "A: b\r\n\n",
		"a folded line":                 ok + "A: b\r\n c\r\n\r\n",
		"a line that begins with a tab": ok + "\tA: b\r\n\r\n",
		"NUL in a value":                ok + "A: \x00\r\n\r\n",
		"a space before the colon":      ok + "Content-Length : 3\r\n\r\nabc",
		"no colon":                      ok + "Content-Length\r\n\r\n",
		"no name":                       ok + ": a\r\n\r\n",
		"CL as a list":                  ok + "Content-Length: 3, 3\r\n\r\nabc",
		"CL twice":                      ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"CL twice, differing":           ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"CL with a sign":                ok + "Content-Length: +3\r\n\r\nabc",
		"CL that is empty":              ok + "Content-Length:\r\n\r\nabc",
		"CL beyond measure":             ok + "Content-Length: 9223372036854775808\r\n\r\n",
		"CL misspelt":                   ok + "Content_Length: 3\r\n\r\nabc",
		"CL malformed on 204":           "HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n",
		"TE and CL":                     ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
		"CL and TE":                     ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE in HTTP/1.0":                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE: gzip, chunked":             ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"TE: identity":                  ok + "Transfer-Encoding: identity\r\n\r\n",
		"TE: chunked, gzip":             ok + "Transfer-Encoding: chunked, gzip\r\n\r\n",
		"TE twice":                      ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE misspelt":                   ok + "Transfer Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Trailer announces a length":    ok + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
		"a head too large":              ok + "A: " + strings.Repeat("x", limits.Head) + "\r\n\r\n",
		"a status line too large":       "HTTP/1.1 200 " + strings.Repeat("x", limits.Head),
		"too many lines":                ok + strings.Repeat("A: b\r\n", limits.Fields+1) + "\r\n",
		"endless interim responses":     strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", limits.Head),
		"a malformed interim response":  "HTTP/1.1 103 \r\nA : b\r\n\r\n" + ok + "\r\n",
		"a chunk without a size":        chunked + "\r\nabc\r\n0\r\n\r\n",
		"a chunk's size with 0x":        chunked + "0x1\r\na\r\n0\r\n\r\n",
		"a chunk's size with a space":   chunked + "1 \r\na\r\n0\r\n\r\n",
		"a chunk's size with a sign":    chunked + "+1\r\na\r\n0\r\n\r\n",
		"a chunk's size beyond measure": chunked + "fffffffffffffffff\r\n",
		"a chunk longer than its size":  chunked + "1\r\nab\r\n0\r\n\r\n",
		"a chunk's size line ends bare": chunked + "1\na\r\n0\r\n\r\n",
		"a chunk's data ends bare":      chunked + "1\r\na\n0\r\n\r\n",
		"a chunk with a bare CR":        chunked + "1;\ra\r\na\r\n0\r\n\r\n",
		"a chunk extension too long":    chunked + "1;" + strings.Repeat("x", 5000) + "\r\na\r\n0\r\n\r\n",
		"more framing than data":        chunked + strings.Repeat("1;"+strings.Repeat("x", 400)+"\r\na\r\n", 100) + "0\r\n\r\n",
		"a trailer that frames":         chunked + "0\r\nContent-Length: 3\r\n\r\n",
		"a trailer line that is folded": chunked + "0\r\nA: b\r\n c\r\n\r\n",
		"a trailer without a colon":     chunked + "0\r\nA\r\n\r\n",
		"a trailer that is too long":    chunked + "0\r\nA: " + strings.Repeat("x", 5000) + "\r\n\r\n",
		"a trailer ends bare":           chunked + "0\r\nA: b\n\r\n",
	} {
		var offence *http1.Error
		if got, err := receive(strings.NewReader(text), "GET"); !errors.As(err, &offence) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestResponsesThatBreakOff(t *testing.T) {
	t.Parallel()
	whole := "HTTP/1.1 100 \r\n\r\n" + ok + "Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n"
	firstByte := len("HTTP/1.1 100 \r\n\r\n")
	for cut := range whole {
		want := io.ErrUnexpectedEOF
		if cut == 0 || cut == firstByte {
			want = io.EOF // between two heads
		}
		if _, err := receive(strings.NewReader(whole[:cut]), "GET"); err != want {
			t.Errorf("%q: %v, want %v", whole[:cut], err, want)
		}
	}
	if got, err := receive(strings.NewReader(ok+"Content-Length: 3\r\n\r\nab"), "GET"); err != io.ErrUnexpectedEOF || got.body != "ab" {
		t.Errorf("%+v, %v", got, err)
	}
	boom := errors.New("reset")
	if got, err := receive(io.MultiReader(strings.NewReader(ok+"\r\nab"), iotest.ErrReader(boom)), "GET"); err != boom || got.body != "ab" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestInterimResponsesAreHandedOn(t *testing.T) {
	t.Parallel()
	r := http1.NewReader(strings.NewReader("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n"+ok+"\r\n"), limits)
	var links []string
	var h http1.ResponseHead
	err := r.ReadResponse(&h, "GET", func(h *http1.ResponseHead) error {
		links = append(links, strconv.Itoa(h.Status)+h.Header.Get("Link"))
		return nil
	})
	if err != nil || h.Status != 200 || h.Header.Get("Link") != "" || strings.Join(links, " ") != "103a 103b" {
		t.Errorf("%v, %+v, %v", links, h, err)
	}
	enough := errors.New("enough")
	r = http1.NewReader(strings.NewReader("HTTP/1.1 100 Continue\r\n\r\n"), limits)
	if err := r.ReadResponse(&h, "GET", func(*http1.ResponseHead) error { return enough }); err != enough {
		t.Error(err)
	}
}

// FuzzResponses: what is accepted, net/http reads alike: status, header, body, trailer, and where the next response begins.
func FuzzResponses(f *testing.F) {
	for _, text := range []string{
		ok + "Content-Length: 3\r\n\r\nabcd", ok + "Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\nd", ok + "\r\nabc",
		"HTTP/1.0 304 X\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 204\r\na:b\r\na: c\r\n\r\n",
		"HTTP/1.1 100 \r\n\r\n" + ok + "Pragma: no-cache\r\n\r\n", ok + "Connection: close\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			f.Add([]byte(text), method == "HEAD")
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, head bool) {
		method := map[bool]string{false: "GET", true: "HEAD"}[head]
		got, err := receive(bytes.NewReader(text), method)
		if err != nil {
			return
		}
		buffered := bufio.NewReader(bytes.NewReader(text))
		var want *http.Response
		for want == nil || want.StatusCode < 200 && want.StatusCode != 101 {
			if want, err = http.ReadResponse(buffered, &http.Request{Method: method}); err != nil {
				t.Fatalf("net/http refuses it: %v", err)
			}
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatalf("net/http refuses the body: %v", err)
		}
		if got.status != want.StatusCode || got.body != string(body) {
			t.Fatalf("%d %q, net/http has %d %q", got.status, got.body, want.StatusCode, body)
		}
		if want.StatusCode != 101 && got.close != want.Close && want.ContentLength >= 0 {
			t.Fatalf("close is %v, net/http has %v", got.close, want.Close)
		}
		rest, _ := io.ReadAll(buffered)
		// net/http leaves alone what Connection: close makes irrelevant.
		if left := got.surplus; !strings.HasPrefix(string(rest), left) {
			t.Fatalf("%q is left, net/http has %q", left, rest)
		}
		if want.Close { // net/http has dropped Connection
			delete(got.header, "Connection")
			delete(want.Header, "Connection")
		}
		if !sameFields(got.header, want.Header) || !sameFields(got.trailer, want.Trailer) {
			t.Fatalf("%v and %v, net/http has %v and %v", got.header, got.trailer, want.Header, want.Trailer)
		}
	})
}

func sameFields(a, b http.Header) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	for _, h := range []http.Header{a, b} {
		maps.DeleteFunc(h, func(_ string, values []string) bool { return values == nil })
	}
	return maps.EqualFunc(a, b, func(x, y []string) bool { return strings.Join(x, "\n") == strings.Join(y, "\n") })
}

func TestAResponseCostsNoAllocationBeyondItsHead(t *testing.T) {
	text := ok + "Content-Type: text/html\r\nContent-Length: 3\r\nCache-Control: no-store\r\n\r\nabc"
	src := &endless{text: text}
	r := http1.NewReader(src, limits)
	buf := make([]byte, 64)
	var h http1.ResponseHead
	if n := testing.AllocsPerRun(100, func() {
		h = http1.ResponseHead{}
		if err := r.ReadResponse(&h, "GET", nil); err != nil {
			t.Fatal(err)
		}
		body := http1.NewBody(h.Body)
		if n, err := body.Read(r, buf); n != 3 || err != io.EOF {
			t.Fatal(n, err)
		}
	}); n > 3 { // the head's text, and its map
		t.Errorf("%v allocations", n)
	}
}

// endless sends one response over and over.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

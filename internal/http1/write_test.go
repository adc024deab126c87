package http1_test

import (
	"net/http"
	"testing"

	"github.com/headgate/headgate/internal/http1"
)

func TestWhatIsWrittenCannotBecomeTwoFields(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"B": {"1\r\nX: 2", " \t3\x00\x7f "}, "A": {"ä\t"}, "A b": {"x"}, "C:": {"x"}, "": {"x"}, "D\r\nE": {"x"}, "F": nil,
		"Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}, "Connection": {"close"},
	}
	if got, want := string(http1.AppendFields(nil, h)), "A: ä\r\nB: 1  X: 2\r\nB: 3  \r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(http1.AppendField(http1.AppendField(nil, "X y", "z"), "Host", "a\nb")); got != "Host: a b\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(http1.AppendFields(nil, http.Header{"Connection": {"Upgrade"}})); got != "Connection: Upgrade\r\n" {
		t.Errorf("%q", got)
	}
}

func TestRequestLines(t *testing.T) {
	t.Parallel()
	if b, err := http1.AppendRequestLine(nil, "GET", "/a?b=c"); err != nil || string(b) != "GET /a?b=c HTTP/1.1\r\n" {
		t.Errorf("%q, %v", b, err)
	}
	for _, tt := range []struct{ method, target string }{{"", "/"}, {"GET /", "/"}, {"GET", ""}, {"GET", "/ HTTP/1.1\r\n"}, {"GET", "/a b"}, {"GET", "/a\tb"}, {"GET", "/\x7f"}} {
		if b, err := http1.AppendRequestLine([]byte("x"), tt.method, tt.target); err != http1.ErrRequestLine || string(b) != "x" {
			t.Errorf("%q: %q, %v", tt, b, err)
		}
	}
}

func TestStatusLinesFramingAndChunks(t *testing.T) {
	t.Parallel()
	b := http1.AppendStatusLine(nil, 0, 404)
	b = http1.AppendStatusLine(b, 1, 599)
	b = http1.AppendFraming(b, 12)
	b = http1.AppendFraming(b, http1.Chunked)
	b = http1.AppendFraming(b, http1.UntilClose)
	b = append(http1.AppendChunkSize(b, 26), http1.ChunkEnd...)
	b = http1.AppendLastChunk(b, http.Header{"X": {"y"}})
	const want = "HTTP/1.0 404 Not Found\r\nHTTP/1.1 599 \r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n1a\r\n\r\n0\r\nX: y\r\n\r\n"
	if string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

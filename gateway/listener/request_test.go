package listener

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// said is a connection whose client has said all that it will, in pieces.
type said struct {
	pieces [][]byte
}

func (s *said) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 {
		if len(s.pieces[0]) == 0 {
			s.pieces = s.pieces[1:]
			continue
		}
		n := copy(p, s.pieces[0])
		s.pieces[0] = s.pieces[0][n:]
		return n, nil
	}
	return 0, io.EOF
}

func (s *said) Write(p []byte) (int, error)      { return len(p), nil }
func (s *said) Close() error                     { return nil }
func (s *said) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *said) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *said) SetDeadline(time.Time) error      { return nil }
func (s *said) SetReadDeadline(time.Time) error  { return nil }
func (s *said) SetWriteDeadline(time.Time) error { return nil }

// heard is one request as a handler meets it.
type heard struct {
	Method, Target, Host, Proto, Path, RawPath, Query string
	Length                                            int64
	Header, Trailer                                   http.Header
	Body                                              string
	Whole                                             bool // the body has come to its end
}

func hear(r *http.Request) heard {
	body, err := io.ReadAll(r.Body)
	return heard{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto,
		Path: r.URL.Path, RawPath: r.URL.RawPath, Query: r.URL.RawQuery,
		Length: r.ContentLength, Header: r.Header, Trailer: r.Trailer, Body: string(body), Whole: err == nil,
	}
}

// outcome is what a connection came to.
type outcome struct {
	requests []heard
	refused  *RequestError
}

// listen lets the server make of a stream what it will.
func listen(t interface{ Fatalf(string, ...any) }, pieces [][]byte) (o outcome) {
	s, err := New(Options{
		HTTP1: true, H2C: true, MaxHeaderBytes: 4096, MaxHeaderFields: 50, MinBodyRate: -1, WriteStall: -1,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { o.requests = append(o.requests, hear(r)) }),
		Refused: func(_ net.Addr, err *RequestError) { o.refused = err },
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	c := &said{pieces: pieces}
	_ = newHTTP1Conn(c, &socket{Conn: c, stall: -1, release: func() {}}, s).serve()
	return o
}

// pieces cuts a stream up.
func pieces(stream []byte, cut func(most int) int) (all [][]byte) {
	stream = slices.Clone(stream)
	for len(stream) > 0 {
		n := cut(len(stream))
		all, stream = append(all, stream[:n]), stream[n:]
	}
	return all
}

// readByNetHTTP is what net/http makes of a stream.
func readByNetHTTP(stream []byte) (all []heard) {
	br := bufio.NewReader(bytes.NewReader(stream))
	for {
		for range 2 { // its server skips that, too, if only behind POST
			if b, err := br.Peek(1); err == nil && (b[0] == '\r' || b[0] == '\n') {
				_, _ = br.Discard(1)
			}
		}
		r, err := http.ReadRequest(br)
		if err != nil {
			return all
		}
		h := hear(r)
		delete(h.Header, "Host")
		all = append(all, h)
		if !h.Whole {
			return all
		}
	}
}

// check holds the server against net/http, and against itself for another way
// of cutting the stream.
func check(t interface{ Fatalf(string, ...any) }, stream []byte, cut func(int) int) {
	whole := listen(t, [][]byte{slices.Clone(stream)})
	inPieces := listen(t, pieces(stream, cut))
	if diff := cmp.Diff(whole.requests, inPieces.requests); diff != "" {
		t.Fatalf("%q at once and in pieces: %s", stream, diff)
	}
	if diff := cmp.Diff(whole.refused, inPieces.refused); diff != "" {
		t.Fatalf("%q at once and in pieces: %s", stream, diff)
	}
	theirs := readByNetHTTP(stream)
	for i, ours := range whole.requests {
		if i >= len(theirs) {
			t.Fatalf("of %q, net/http reads %d requests, we %d", stream, len(theirs), len(whole.requests))
		}
		if !ours.Whole { // then what there is of it must do, and nothing may follow
			if i != len(whole.requests)-1 {
				t.Fatalf("of %q, request %d was not whole, and others followed", stream, i)
			}
			ours.Body, theirs[i].Body, ours.Trailer, theirs[i].Trailer, theirs[i].Whole = "", "", nil, nil, false
		}
		if diff := cmp.Diff(theirs[i], ours); diff != "" {
			t.Fatalf("of %q, request %d (-net/http +ours): %s", stream, i, diff)
		}
	}
}

// fragments are what streams are made of by chance.
var fragments = []string{
	"GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "POST /y HTTP/1.0\r\n", "PRI * HTTP/2.0\r\n", "SM\r\n\r\n", "BREW / HTTP/1.2\r\n",
	"Host: a\r\n", "Content-Length: 5\r\n", "content-length:  0\r\n", "Content-Length: 12\r\n", "Transfer-Encoding: chunked\r\n",
	"TRANSFER-ENCODING:\tchunked \r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding:\r\n", " chunked\r\n", "X: y\r\n",
	"GET /a?b=c HTTP/1.1\r\n", "GET http://b/%41?c HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "GET /?", "?", "#", "%", " HTTP/1.1\r\n",
	"Host: \r\n", "Connection: keep-alive\r\n", "Pragma: no-cache\r\n", "Trailer: Host\r\n",
	"Connection: close\r\n", "Expect: 100-continue\r\n", "Trailer: X\r\n", "Transfer_Encoding: chunked\r\n",
	"\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", "\x00", ":", ";", "0\r\n", "0\r\n\r\n", "5\r\nabcde\r\n", "5;x=y\r\nabcde\r\n", "a\r\n", "abcde", "abcdefghijkl",
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX: y\r\n\r\n",
	"1;" + strings.Repeat("e", 4000) + "\r\nx\r\n", "X: " + strings.Repeat("v", 1500) + "\r\n",
}

func TestAnyStreamIsReadAsNetHTTPReadsIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom(fragments), 1, 12).Draw(t, "parts")
		stream := []byte(strings.Join(parts, ""))
		for range rapid.IntRange(0, 2).Draw(t, "mutations") {
			at := rapid.IntRange(0, len(stream)-1).Draw(t, "at")
			switch b := rapid.Byte().Draw(t, "byte"); rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				stream[at] = b
			case 1:
				stream = slices.Insert(stream, at, b)
			default:
				if len(stream) > 1 {
					stream = slices.Delete(stream, at, at+1)
				}
			}
		}
		check(t, stream, func(most int) int { return rapid.IntRange(1, min(most, 40)).Draw(t, "cut") })
	})
}

func FuzzRequests(f *testing.F) {
	for i, fragment := range fragments {
		f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+fragment), uint64(i))
		f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\n"+fragment+"\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		check(t, stream, func(most int) int { return 1 + r.IntN(most) })
	})
}

func TestOneEmptyLineBeforeARequestIsSkipped(t *testing.T) {
	t.Parallel()
	const request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
	for size := range 5 {
		o := listen(t, pieces([]byte("\r\n"+request+"\r\n"+request), func(most int) int { return min(most, size+1) }))
		if o.refused != nil || len(o.requests) != 2 {
			t.Errorf("in pieces of %d: %v, %v", size+1, o.refused, o.requests)
		}
	}
	if o := listen(t, [][]byte{[]byte("\r\n\r\n" + request)}); o.refused == nil {
		t.Error("two empty lines were skipped")
	}
}

package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// followed is what a framer makes of a stream.
type followed struct {
	passed  []byte
	heads   []framing
	offence *RequestError
	state   state
}

// follow scans a stream that arrives in pieces, whose sizes cut decides.
func follow(stream []byte, cut func(most int) int) followed {
	var r followed
	f := newFramer(limits{header: 4096, fields: 50, h2c: true})
	stream = slices.Clone(stream) // scan may cut something out
	for len(stream) > 0 && r.offence == nil {
		n := cut(len(stream))
		piece := stream[:n]
		stream = stream[n:]
		passed, err := f.scan(piece)
		r.passed = append(r.passed, piece[:passed]...)
		r.offence = err
	}
	r.heads, r.state = f.heads, f.state
	return r
}

// read lets net/http read what the framer has passed on. It returns the
// framings of the requests that net/http makes of it, up to and
// including one whose body it cannot read.
func (r followed) read() (heads []framing, bodyError error) {
	stream := r.passed
	if r.offence != nil {
		f := framer{state: r.state}
		if f.inMessage() {
			stream = append(stream, endOfBody...)
		} else {
			stream = append(stream, endOfHead...)
		}
	}
	br := bufio.NewReader(bytes.NewReader(stream))
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return heads, nil
		}
		heads = append(heads, framing(req.ContentLength))
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return heads, err
		}
	}
}

// check holds the framer against net/http, and against itself for another way
// of cutting the stream.
func check(t interface{ Fatalf(string, ...any) }, stream []byte, cut func(int) int) {
	whole := follow(stream, func(most int) int { return most })
	pieces := follow(stream, cut)
	if !bytes.Equal(whole.passed, pieces.passed) && whole.offence == nil {
		t.Fatalf("passed %q, and in pieces %q", whole.passed, pieces.passed)
	}
	if !slices.Equal(whole.heads, pieces.heads) || whole.state != pieces.state || (whole.offence == nil) != (pieces.offence == nil) ||
		whole.offence != nil && *whole.offence != *pieces.offence {
		t.Fatalf("at once %v %v %v, in pieces %v %v %v", whole.heads, whole.state, whole.offence, pieces.heads, pieces.state, pieces.offence)
	}
	if whole.state == opaque || whole.state == inPreface {
		return // HTTP/2, or a request PRI that the handler refuses
	}
	for _, r := range []followed{whole, pieces} {
		heads, bodyError := r.read()
		if len(heads) > len(r.heads) || !slices.Equal(heads, r.heads[:len(heads)]) {
			t.Fatalf("net/http finds %v in %q, where the framer found %v", heads, r.passed, r.heads)
		}
		// What net/http does after a body that it gives up on must not matter.
		if bodyError != nil && len(heads) < len(r.heads) {
			t.Fatalf("net/http gives up on body %d (%v), where the framer went on: %v in %q", len(heads), bodyError, r.heads, r.passed)
		}
		if r.offence != nil && (&framer{state: r.state}).inMessage() && len(heads) == len(r.heads) {
			if bodyError == nil || errors.Is(bodyError, io.ErrUnexpectedEOF) {
				t.Fatalf("the body that was refused (%v) looks to net/http as %v: %q", r.offence, bodyError, r.passed)
			}
		}
	}
}

// fragments are what streams are made of by chance.
var fragments = []string{
	"GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "POST /y HTTP/1.0\r\n", "PRI * HTTP/2.0\r\n", "SM\r\n\r\n", "BREW / HTTP/1.2\r\n",
	"Host: a\r\n", "Content-Length: 5\r\n", "content-length:  0\r\n", "Content-Length: 12\r\n", "Transfer-Encoding: chunked\r\n",
	"TRANSFER-ENCODING:\tchunked \r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding:\r\n", " chunked\r\n", "X: y\r\n",
	"Connection: close\r\n", "Expect: 100-continue\r\n", "Trailer: X\r\n", "Transfer_Encoding: chunked\r\n",
	"\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", "\x00", ":", ";", "0\r\n", "0\r\n\r\n", "5\r\nabcde\r\n", "5;x=y\r\nabcde\r\n", "a\r\n", "abcde", "abcdefghijkl",
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX: y\r\n\r\n",
	"1;" + strings.Repeat("e", 4000) + "\r\nx\r\n", "X: " + strings.Repeat("v", 1500) + "\r\n",
}

func TestFramerAndNetHTTPReadAnyStreamAlike(t *testing.T) {
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

func FuzzFramer(f *testing.F) {
	for i, fragment := range fragments {
		f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+fragment), uint64(i))
		f.Add([]byte("POST / HTTP/1.1\r\n"+fragment+"\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		check(t, stream, func(most int) int { return 1 + r.IntN(most) })
	})
}

func TestFramerCutsOutOneEmptyLineBeforeARequest(t *testing.T) {
	t.Parallel()
	const request = "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"
	for size := range 5 {
		r := follow([]byte("\r\n"+request+"\r\n"+request), func(most int) int { return min(most, size+1) })
		if r.offence != nil || string(r.passed) != request+request {
			t.Errorf("in pieces of %d: %v, %q", size+1, r.offence, r.passed)
		}
	}
}

func BenchmarkFramer(b *testing.B) {
	head := "GET /api/products/42?page=7 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\nSec-Fetch-Site: same-origin\r\n\r\n"
	data := make([]byte, 32<<10)
	for name, stream := range map[string][]byte{
		"header of 9 lines":       []byte(head),
		"header of 1 line":        []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"body, 32 KiB in a chunk": append([]byte("8000\r\n"), append(data, "\r\n"...)...),
		"body, 32 KiB of length":  data,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			f := newFramer(limits{header: 64 << 10, fields: 256})
			begin := atStart
			switch {
			case strings.HasSuffix(name, "chunk"):
				begin = inChunkLine
			case strings.HasSuffix(name, "length"):
				begin = inBody
			}
			for b.Loop() {
				f.state, f.left, f.heads = begin, 1<<40, f.heads[:0]
				if n, err := f.scan(stream); n != len(stream) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

package wire

import (
	"bytes"
	"math"
	"net/http"
)

// framer follows the framing of the HTTP/1 requests on one connection (RFC
// 9112), over the very bytes that net/http is about to read. It knows
// at any byte whether it belongs to a header, a chunk's size, a body or a trailer,
// however the stream is cut into reads, and finds the first byte that makes
// a request ambiguous.
//
// It has to be at least as strict as net/http in all that comes after a
// header: were net/http to give up on a body that the framer deems sound, it
// might take the rest of that body for a request. (FuzzFramer holds
// the two against each other.) Within a header it may leave to
// net/http what does not touch framing, because net/http ends a connection
// whose header it cannot read.
//
// The zero value is not ready; see newFramer.
type framer struct {
	limits limits

	state state
	// line is the beginning of a line whose end has not arrived. It is no
	// longer than limits.header.
	line []byte
	// heads are the framings of the requests whose header is complete. The
	// caller takes them away.
	heads []framing

	// Of the header or trailer that is being read:
	size   int // bytes
	fields int // lines
	minor  byte
	te     bool
	cl     bool
	now    framing

	left   int64 // of the body or chunk
	excess int64 // of a chunked body: what is not data, see chunkLine
}

// framing is how long a request's body is: a number of bytes, or chunked.
type framing int64

const chunked framing = -1

type limits struct {
	header int  // bytes of request line and header
	fields int  // header lines
	h2c    bool // the connection may begin with the HTTP/2 preface
}

// Limits of net/http for what follows a header. They are not options there.
const (
	maxChunkLine = 4096 // exclusive, without CRLF
	maxTrailer   = 4096 // inclusive, with the empty line
	maxExcess    = 16 << 10
)

type state uint8

const (
	atStart    state = iota // before a request line, or one empty line
	atStartLF               // within that empty line
	afterEmpty              // after it
	inRequestLine
	inField
	inBody
	inChunkLine
	inChunk
	inChunkCR // after a chunk's data
	inChunkLF
	inTrailer
	inPreface // after PRI * HTTP/2.0
	opaque    // not HTTP/1: all of it passes
)

// preface follows the request line of HTTP/2's connection preface, RFC 9113 section 3.4.
const preface = "\r\nSM\r\n\r\n"

func newFramer(l limits) framer { return framer{limits: l} }

// inMessage reports whether a request's header is complete, and more of the
// request is to come.
func (f *framer) inMessage() bool { return f.state >= inBody && f.state <= inTrailer }

// inHead reports whether a header has begun, and is not complete.
func (f *framer) inHead() bool {
	return f.state == inRequestLine || f.state == inField || len(f.line) > 0
}

// scan takes the next bytes of the stream and returns how many of them may be
// passed on; they are then at the front of p. These are all of them, unless there is an empty line
// before a request, which is cut out, or an offence. With an offence it is
// the bytes before the offending line, and scan must not be called again.
func (f *framer) scan(p []byte) (int, *RequestError) {
	for i := 0; i < len(p); {
		switch f.state {
		case atStart, afterEmpty:
			// RFC 9112 section 2.2: at least one empty line is to be ignored. It is
			// cut out, so that net/http need not have an opinion about it.
			if p[i] == '\r' && f.state == atStart {
				f.state = atStartLF
				p = cut(p, i)
				continue
			}
			f.begin()
		case atStartLF:
			if p[i] != '\n' {
				return i, bad("a carriage return stands alone before the request line")
			}
			f.state = afterEmpty
			p = cut(p, i)
		case inBody, inChunk:
			n := min(f.left, int64(len(p)-i))
			i += int(n)
			if f.left -= n; f.left == 0 {
				if f.state == inBody {
					f.state = atStart
				} else {
					f.state = inChunkCR
				}
			}
		case inChunkCR, inChunkLF:
			if p[i] != "\r\n"[f.state-inChunkCR] {
				return i, bad("a chunk is longer than its size says")
			}
			if i++; f.state == inChunkCR {
				f.state = inChunkLF
			} else {
				f.state = inChunkLine
			}
		case inPreface:
			if p[i] != preface[f.left] {
				return i, bad("the HTTP/2 connection preface is malformed")
			}
			i++
			if f.left++; int(f.left) == len(preface) {
				f.state = opaque
			}
		case opaque:
			return len(p), nil
		default:
			end := bytes.IndexByte(p[i:], '\n')
			if end < 0 {
				if err := f.grow(len(p) - i); err != nil {
					return i, err
				}
				f.line = append(f.line, p[i:]...)
				return len(p), nil
			}
			end += i + 1
			if err := f.grow(end - i); err != nil {
				return i, err
			}
			line := p[i:end]
			if len(f.line) > 0 {
				f.line = append(f.line, line...)
				line = f.line
			}
			if err := f.endOfLine(line); err != nil {
				return i, err
			}
			f.line = f.line[:0]
			if cap(f.line) > 4096 {
				f.line = nil // not for as long as an idle connection lasts
			}
			i = end
		}
	}
	return len(p), nil
}

// cut removes the byte at i.
func cut(p []byte, i int) []byte {
	return p[:i+copy(p[i:], p[i+1:])]
}

// begin makes ready for a request line.
func (f *framer) begin() {
	f.state = inRequestLine
	f.size, f.fields = 0, 0
	f.te, f.cl, f.now = false, false, 0
}

// grow accounts for n more bytes of a header, chunk line or trailer.
func (f *framer) grow(n int) *RequestError {
	f.size += n
	switch f.state {
	case inChunkLine:
		if f.size >= maxChunkLine+2 {
			return bad("a chunk's size line is longer than 4 KiB")
		}
	case inTrailer:
		if f.size > maxTrailer {
			return &RequestError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "the trailer is longer than 4 KiB"}
		}
	default:
		if f.size > f.limits.header {
			return tooLarge(f.limits.header)
		}
	}
	return nil
}

// endOfLine takes a whole line with its LF.
func (f *framer) endOfLine(line []byte) *RequestError {
	n := len(line)
	if n < 2 || line[n-2] != '\r' {
		return bad("a line ends with a bare line feed")
	}
	line = line[:n-2]
	if bytes.IndexByte(line, '\r') >= 0 {
		return bad("a carriage return stands alone")
	}
	switch f.state {
	case inRequestLine:
		return f.requestLine(line)
	case inField:
		return f.field(line)
	case inChunkLine:
		return f.chunkLine(line)
	default:
		return f.trailer(line)
	}
}

// requestLine looks for the version alone. Whether method and target are any
// good is for net/http to say.
func (f *framer) requestLine(line []byte) *RequestError {
	const version = " HTTP/1.1"
	at := len(line) - len(version)
	if at < 0 || string(line[at:at+6]) != " HTTP/" || !isDigit(line[at+6]) || line[at+7] != '.' || !isDigit(line[at+8]) {
		return bad("the request line is malformed")
	}
	if f.limits.h2c && string(line) == "PRI * HTTP/2.0" {
		f.state, f.left = inPreface, 0
		return nil
	}
	if line[at+6] != '1' {
		return &RequestError{Status: http.StatusHTTPVersionNotSupported, Reason: "this version of HTTP is not served here"}
	}
	f.minor = line[at+8] - '0'
	f.limits.h2c = false // only a connection's first line can be the preface
	f.state = inField
	return nil
}

// field takes a line of the header, or its end.
func (f *framer) field(line []byte) *RequestError {
	if len(line) == 0 {
		return f.endOfHead()
	}
	if line[0] == ' ' || line[0] == '\t' {
		return bad("a header line is folded")
	}
	if f.fields++; f.fields > f.limits.fields {
		return &RequestError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "there are too many header lines"}
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return bad("a header line has no colon")
	}
	switch {
	case resembles(name, "transfer-encoding"):
		if !equalFold(name, "transfer-encoding") {
			return bad("Transfer-Encoding is misspelt")
		}
		if f.te {
			return bad("there are two Transfer-Encoding lines")
		}
		f.te, f.now = true, chunked
		return transferEncoding(trim(value))
	case resembles(name, "content-length"):
		if !equalFold(name, "content-length") {
			return bad("Content-Length is misspelt")
		}
		if f.cl {
			return bad("there are two Content-Length lines")
		}
		f.cl = true
		n, ok := parseLength(trim(value))
		if !ok {
			return bad("Content-Length is not a number")
		}
		if !f.te {
			f.now = n
		}
	}
	return nil
}

// endOfHead decides what follows a header.
func (f *framer) endOfHead() *RequestError {
	switch {
	case f.te && f.cl:
		return bad("there are both Content-Length and Transfer-Encoding")
	case f.te && f.minor == 0:
		return bad("there is a Transfer-Encoding in an HTTP/1.0 request")
	case f.te:
		f.state, f.size, f.excess = inChunkLine, 0, 0
	case f.now > 0:
		f.state, f.left = inBody, int64(f.now)
	default:
		f.state = atStart
	}
	f.heads = append(f.heads, f.now)
	return nil
}

// chunkLine takes a chunk's size. Extensions are ignored, as RFC 9112 section 7.1.1 has it.
func (f *framer) chunkLine(line []byte) *RequestError {
	size, _, _ := bytes.Cut(line, []byte(";"))
	if len(size) == 0 || len(size) > 16 {
		return bad("a chunk's size is malformed")
	}
	var n uint64
	for _, c := range size {
		d, ok := unhex(c)
		if !ok {
			return bad("a chunk's size is malformed")
		}
		n = n<<4 | uint64(d)
	}
	if n > math.MaxInt64/4 { // so that the sums below cannot overflow
		return bad("a chunk's size is beyond measure")
	}
	// net/http refuses a body that has more framing than data by this
	// reckoning, which allows for single bytes in chunks of their own.
	f.excess = max(0, f.excess+int64(len(line))+2-16-2*int64(n))
	if f.excess > maxExcess {
		return bad("the chunks hold too little data for their size lines")
	}
	f.size = 0
	if f.left = int64(n); n == 0 {
		f.state = inTrailer
	} else {
		f.state = inChunk
	}
	return nil
}

// trailer takes a line of a chunked body's trailer, or its end.
func (f *framer) trailer(line []byte) *RequestError {
	if len(line) == 0 {
		f.state = atStart
		return nil
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return bad("a trailer line is malformed")
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return bad("a trailer line has a control character")
		}
	}
	// RFC 9110 section 6.5.1: a trailer must not have a say in framing or routing.
	for _, forbidden := range []string{"transfer-encoding", "content-length", "host", "trailer"} {
		if resembles(name, forbidden) {
			return bad("a trailer line would change how the request is framed or routed")
		}
	}
	return nil
}

// transferEncoding judges the value of the only Transfer-Encoding line.
func transferEncoding(value []byte) *RequestError {
	if equalFold(value, "chunked") {
		return nil
	}
	// RFC 9112 section 6.1: codings that we do not know are 501 as long as the body
	// has an end, which is to say that chunked is the last one and not used twice.
	codings := bytes.Split(value, []byte(","))
	for i, c := range codings {
		if c = trim(c); !isToken(c) || equalFold(c, "chunked") != (i == len(codings)-1) {
			return bad("Transfer-Encoding is not \"chunked\"")
		}
	}
	return &RequestError{Status: http.StatusNotImplemented, Reason: "of the transfer codings, only \"chunked\" is supported"}
}

package http1

import (
	"math"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// chunks follows the framing of a chunked body, RFC 9112 section 7.1. It is as
// strict as the grammar, but for extensions, which it ignores, and at least as strict as net/http.
// The zero value begins a body.
type chunks struct {
	left   int64 // of the chunk's data
	excess int64 // framing that no data stands against, see sizeLine
	state  chunkState
	size   int // of the trailer so far
	fields http.Header
}

type chunkState uint8

const (
	atSize    chunkState = iota // a size line comes next
	inData                      // left bytes of data
	afterData                   // the line end behind the data
	inTrailer
	atEnd
)

// Bounds on what is not data. They are net/http's.
const (
	maxChunkLine = 4096 // exclusive, without CRLF
	maxTrailer   = 4096 // inclusive, with the empty line
	maxExcess    = 16 << 10
)

// most is how long the line that comes next may be, with its end.
func (c *chunks) most() int {
	switch c.state {
	case atSize:
		return maxChunkLine + 1
	case afterData:
		return len("\r\n")
	default:
		return maxTrailer - c.size
	}
}

// tooLong is why a line longer than that is refused.
func (c *chunks) tooLong() *Error {
	switch c.state {
	case atSize:
		return malformed("a chunk's size line is longer than 4 KiB")
	case afterData:
		return malformed("a chunk is longer than its size says")
	default:
		return tooLarge("the trailer is longer than 4 KiB")
	}
}

// line takes a line with its end, which is a line feed.
func (c *chunks) line(line []byte) *Error {
	n := len(line)
	if c.state == afterData {
		if string(line) != "\r\n" {
			return c.tooLong()
		}
		c.state = atSize
		return nil
	}
	if n < 2 || line[n-2] != '\r' {
		return malformed("a line ends with a bare line feed")
	}
	text := string(line[:n-2])
	if strings.IndexByte(text, '\r') >= 0 {
		return errBareCR
	}
	if c.state == atSize {
		return c.sizeLine(text)
	}
	c.size += n
	return c.trailerLine(text)
}

// sizeLine takes a chunk's size.
func (c *chunks) sizeLine(line string) *Error {
	size, extension, _ := strings.Cut(line, ";")
	if len(size) == 0 || len(size) > 16 || !IsClean(extension) {
		return malformed("a chunk's size is malformed")
	}
	var n uint64
	for i := range len(size) {
		d, ok := httpx.Unhex(size[i])
		if !ok {
			return malformed("a chunk's size is malformed")
		}
		n = n<<4 | uint64(d)
	}
	if n > math.MaxInt64/4 { // so that the sums below cannot overflow
		return malformed("a chunk's size is beyond measure")
	}
	// A body must not have more framing than data. The reckoning allows for
	// single bytes in chunks of their own.
	c.excess = max(0, c.excess+int64(len(line))+2-16-2*int64(n))
	if c.excess > maxExcess {
		return malformed("the chunks hold too little data for their size lines")
	}
	if c.left = int64(n); n == 0 {
		c.state = inTrailer
	} else {
		c.state = inData
	}
	return nil
}

// trailerLine takes a line of the trailer, or its end.
func (c *chunks) trailerLine(line string) *Error {
	if line == "" {
		c.state = atEnd
		return nil
	}
	name, value, err := splitField(line)
	if err != nil {
		return malformed("a trailer line is malformed")
	}
	if !TrailerAllowed(name) {
		return malformed("a trailer line would change how the message is framed or routed")
	}
	if c.fields == nil {
		c.fields = http.Header{}
	}
	key := textproto.CanonicalMIMEHeaderKey(name)
	c.fields[key] = append(c.fields[key], value)
	return nil
}

// took accounts for data that has been read.
func (c *chunks) took(n int) {
	if c.left -= int64(n); c.left == 0 {
		c.state = afterData
	}
}

package listener

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// responseWriter is what a handler writes to. To what the handler says it adds Date, and
// what frames the body (RFC 9112 section 6); it guesses no type.
//
// The head goes into a buffer as soon as it is known, and the body behind it,
// so that most answers leave in one piece. One without a Content-Length is held back
// until it has ended, and then gets one, or has become too long for that, and
// goes out in chunks.
type responseWriter struct {
	x      *servedRequest
	conn   *http1Conn
	header http.Header

	toHEAD     bool
	minor      int  // of the version that the client speaks: 0 or 1
	close      bool // the connection ends with this answer
	fullDuplex bool
	timed      bool // the handler has set a deadline

	status   int // zero until the final one is written
	mode     bodyMode
	open     bool  // the head has no end yet
	length   int64 // of the body, by length
	written  int64 // of the body, by the handler
	trailers trailerNames
	out      *[]byte // what is to be sent next
	held     *[]byte // what comes behind that, of a body that is undecided, or of a chunk
	err      error   // of a write
}

// bodyMode is how the end of the body is told.
type bodyMode uint8

const (
	undecided bodyMode = iota
	byLength           // Content-Length
	byChunks           // Transfer-Encoding: chunked
	byClose            // the connection's end, for HTTP/1.0
	withoutBody
)

// heldMost is how long a body without a Content-Length may be to be given one,
// and how much of a chunk is collected.
const heldMost = 2 << 10

var errShort = errors.New("listener: the handler has written less than its Content-Length")

// Header implements http.ResponseWriter.
func (a *responseWriter) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter. Of final statuses the first
// counts. Interim ones (1xx) are sent at once, with the header as it is.
func (a *responseWriter) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("listener: there is no status " + strconv.Itoa(status))
	case a.conn.watch.hijacked.Load() || a.status != 0:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		a.interim(status)
		return
	}
	a.status = status
	a.endRequestBody()
	a.out = getBuffer()
	*a.out = a.appendHead((*a.out)[:0])
	a.open = true
	if httpx.HasToken(a.header["Connection"], "close") {
		a.close = true
	}
	a.trailers.announce(a.header["Trailer"])
	switch {
	case !bodyAllowed(status):
		a.decide(withoutBody)
	default:
		if lengths := a.header["Content-Length"]; len(lengths) > 0 {
			if n, ok := http1.ParseLength(lengths[0]); ok {
				a.length = n
				a.decide(byLength)
			}
		}
	}
}

// bodyAllowed reports whether answers of this status have a body, RFC 9110
// section 6.4.1.
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified && status != http.StatusSwitchingProtocols
}

// endRequestBody sees to what has not been read of the request when the answer begins.
func (a *responseWriter) endRequestBody() {
	b := a.x.body
	if b == nil {
		return
	}
	if b.neverAsk() {
		a.close = true // the client may send the body now or never
	}
	if !a.fullDuplex && !a.close && !b.drainEarly() { // there are clients that read only when all is sent
		a.close = true
	}
	if b.refusal.Load() != nil {
		a.close = true
	}
}

// decide says how the body's end is told, and ends the head with that.
func (a *responseWriter) decide(mode bodyMode) {
	a.mode, a.open = mode, false
	out := *a.out
	switch mode {
	case byLength:
		out = http1.AppendFraming(out, http1.Framing(a.length))
	case byChunks:
		out = http1.AppendFraming(out, http1.Chunked)
	case byClose:
		a.close = true
	}
	switch {
	case a.close && a.minor > 0: // there it is the default
		out = append(out, "Connection: close\r\n"...)
	case !a.close && a.minor == 0:
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	*a.out = append(out, "\r\n"...)
}

// Write implements http.ResponseWriter.
func (a *responseWriter) Write(p []byte) (int, error) { return write(a, p) }

// WriteString implements io.StringWriter.
func (a *responseWriter) WriteString(s string) (int, error) { return write(a, s) }

func write[T string | []byte](a *responseWriter, p T) (int, error) {
	if a.conn.watch.hijacked.Load() {
		return 0, http.ErrHijacked
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, a.err
	case a.mode == withoutBody && !bodyAllowed(a.status):
		return 0, http.ErrBodyNotAllowed
	case a.mode == byLength && a.written+int64(len(p)) > a.length:
		return 0, http.ErrContentLength
	}
	a.written += int64(len(p))
	switch {
	case a.toHEAD:
		return len(p), nil
	case a.mode == byLength || a.mode == byClose:
		send(a, p)
	case a.heldLen()+len(p) <= heldMost:
		if a.held == nil {
			a.held = getBuffer()
		}
		*a.held = append(*a.held, p...)
	default:
		if a.open {
			a.decideUnknown()
		}
		sendHeld(a, p)
	}
	if a.err != nil {
		return 0, a.err
	}
	return len(p), nil
}

func (a *responseWriter) heldLen() int {
	if a.held == nil {
		return 0
	}
	return len(*a.held)
}

// decideUnknown decides on a body that is sent before its length is known.
func (a *responseWriter) decideUnknown() {
	switch {
	case a.toHEAD:
		a.decide(withoutBody)
	case a.minor == 0:
		a.decide(byClose)
	default:
		a.decide(byChunks)
	}
}

// sendHeld sends what was held, and p behind it, in one chunk where there are chunks.
func sendHeld[T string | []byte](a *responseWriter, p T) {
	n := a.heldLen() + len(p)
	if n == 0 {
		return
	}
	if a.mode == byChunks {
		*a.out = http1.AppendChunkSize(*a.out, int64(n))
	}
	if a.held != nil {
		send(a, *a.held)
		*a.held = (*a.held)[:0]
	}
	send(a, p)
	if a.mode == byChunks {
		send(a, http1.ChunkEnd)
	}
}

// send puts p into the buffer, or sends it with what is there if it is too long for that.
func send[T string | []byte](a *responseWriter, p T) {
	if len(*a.out)+len(p) <= cap(*a.out) {
		*a.out = append(*a.out, p...)
		return
	}
	if len(p) < cap(*a.out) {
		a.flush()
		*a.out = append(*a.out, p...)
		return
	}
	if a.err == nil {
		a.fail(a.conn.writeBoth(*a.out, []byte(p)))
	}
	*a.out = (*a.out)[:0]
}

// flush sends what is in the buffer.
func (a *responseWriter) flush() {
	if len(*a.out) > 0 && a.err == nil {
		_, err := a.conn.Conn.Write(*a.out)
		a.fail(err)
	}
	*a.out = (*a.out)[:0]
}

// fail keeps a write's error: the client is gone.
func (a *responseWriter) fail(err error) {
	if err != nil {
		a.err, a.close = err, true
		a.x.ctx.end()
	}
}

// Flush implements http.Flusher.
func (a *responseWriter) Flush() { _ = a.FlushError() }

// FlushError sends what has been written; http.ResponseController calls it.
func (a *responseWriter) FlushError() error {
	if a.conn.watch.hijacked.Load() {
		return http.ErrHijacked
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	a.sendAll()
	return a.err
}

// sendAll sends what has been written so far.
func (a *responseWriter) sendAll() {
	if a.open {
		a.decideUnknown()
	}
	sendHeld(a, "")
	a.flush()
}

// finish sends what is left. Its error says that the answer is not whole.
func (a *responseWriter) finish() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.open && a.toHEAD && (a.written == 0 || a.written > heldMost):
		a.decide(withoutBody) // what GET would get is not known, or has no length either
	case a.open && (a.minor == 0 || !a.trailers.expected(a.header)):
		a.length = a.written
		a.decide(byLength)
	case a.open:
		a.decideUnknown()
	}
	sendHeld(a, "")
	if a.mode == byChunks {
		*a.out = http1.AppendLastChunk(*a.out, a.trailers.section(a.header))
	}
	a.flush()
	putBuffer(a.out)
	putBuffer(a.held)
	a.out, a.held = nil, nil
	if a.mode == byLength && !a.toHEAD && a.written != a.length {
		return errShort
	}
	return a.err
}

// interim sends a 1xx response. HTTP/1.0 knows none.
func (a *responseWriter) interim(status int) {
	if a.minor == 0 {
		return
	}
	if status != http.StatusContinue || a.x.body == nil {
		a.sendInterim(status)
		return
	}
	a.x.body.ask(func() { a.sendInterim(status) }) // unless it is not waited for
}

func (a *responseWriter) sendInterim(status int) {
	buf := getBuffer()
	defer putBuffer(buf)
	*buf = append(http1.AppendFields(http1.AppendStatusLine((*buf)[:0], a.minor, status), a.header), "\r\n"...)
	_, err := a.conn.Conn.Write(*buf)
	a.fail(err)
}

// SetReadDeadline is for http.ResponseController.
func (a *responseWriter) SetReadDeadline(t time.Time) error {
	a.timed = true
	return a.conn.deadline.setUser(t)
}

// SetWriteDeadline is for http.ResponseController.
func (a *responseWriter) SetWriteDeadline(t time.Time) error {
	a.timed = true
	return a.conn.Conn.SetWriteDeadline(t)
}

// EnableFullDuplex is for http.ResponseController: the request's body is left
// alone when the answer begins.
func (a *responseWriter) EnableFullDuplex() error {
	a.fullDuplex = true
	return nil
}

// Hijack implements http.Hijacker. The reader holds what the client has sent
// ahead. From here on the connection is the caller's to close.
func (a *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := a.conn
	if !c.watch.hijack() {
		return nil, nil, http.ErrHijacked
	}
	if a.status != 0 {
		a.sendAll()
	}
	c.deadline.abort()
	if n, _, was := c.watch.await(); was {
		c.w += n
	}
	if a.x.body != nil {
		a.x.body.abandon()
	}
	c.deadline.reset()
	c.server.conns.remove(c)
	if err := c.Conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	ahead := c.buf[c.r:c.w]
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), c.Conn), max(readBuffer, len(ahead)))
	_, _ = r.Peek(len(ahead)) // so that Buffered tells of all of it
	return c.Conn, bufio.NewReadWriter(r, bufio.NewWriter(c.Conn)), nil
}

package listener

import (
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// http2Response is what a handler of an HTTP/2 request writes to. Header and body are held until the answer has
// ended, is flushed, or has become too long for that, so that most answers leave in one piece.
type http2Response struct {
	x      *http2Stream
	header http.Header

	toHEAD   bool
	status   int     // zero until the final one is written
	length   int64   // of the body; -1: it is not known
	written  int64   // of the body, by the handler
	section  *[]byte // the header in HPACK; nil: it is sent, or there is none yet
	held     *[]byte // what comes behind it
	trailers trailerNames
}

// Header implements http.ResponseWriter.
func (a *http2Response) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter. Of final statuses the first
// counts. Interim ones (1xx) are sent at once, with the header as it is; 101 does not exist in HTTP/2.
func (a *http2Response) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic("listener: there is no status " + strconv.Itoa(status))
	case a.status != 0 || status == http.StatusSwitchingProtocols:
		return
	case status < 200:
		a.x.conn.mu.Lock()
		defer a.x.conn.mu.Unlock()
		a.x.interim(status, a.header)
		return
	}
	a.status, a.length = status, -1
	a.section = getBuffer()
	b := appendStatus((*a.section)[:0], status)
	if _, set := a.header["Date"]; !set { // RFC 9110 section 6.6.1; nil is a handler's way to have none
		var text [len(http.TimeFormat)]byte
		b = tableNames["Date"].append(b, string(a.x.conn.server.date.append(text[:0])))
	}
	b = appendHeader(b, a.header)
	if lengths := a.header["Content-Length"]; len(lengths) > 0 && bodyAllowed(status) {
		if n, ok := http1.ParseLength(lengths[0]); ok {
			a.length = n
			b = appendContentLength(b, n)
		}
	}
	*a.section = b
	a.trailers.announce(a.header["Trailer"])
}

// Write implements http.ResponseWriter.
func (a *http2Response) Write(p []byte) (int, error) { return writeHTTP2(a, p) }

// WriteString implements io.StringWriter.
func (a *http2Response) WriteString(s string) (int, error) { return writeHTTP2(a, s) }

func writeHTTP2[T string | []byte](a *http2Response, p T) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !bodyAllowed(a.status):
		return 0, http.ErrBodyNotAllowed
	case a.length >= 0 && a.written+int64(len(p)) > a.length:
		return 0, http.ErrContentLength
	}
	a.written += int64(len(p))
	if a.toHEAD {
		return len(p), nil
	}
	if a.held == nil {
		a.held = getBuffer()
	}
	if len(*a.held)+len(p) <= bufferSize {
		*a.held = append(*a.held, p...)
		return len(p), nil
	}
	c := a.x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	err := a.push()
	if err == nil {
		err = a.sendMost([]byte(p))
	}
	c.flush()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// sendMost sends p, but for the last few bytes that would make one more record of TLS: they go with what comes next. c.mu is held.
func (a *http2Response) sendMost(p []byte) error {
	n := len(p)
	if first := a.x.conn.room(); n > first && a.written != a.length {
		if rest := (n - first) % (tlsRecord - frameHeader); rest <= bufferSize/2 {
			n -= rest
		}
	}
	if err := a.x.send(p[:n], false); err != nil {
		return err
	}
	*a.held = append(*a.held, p[n:]...)
	return nil
}

// Flush implements http.Flusher.
func (a *http2Response) Flush() { _ = a.FlushError() }

// FlushError sends what has been written; http.ResponseController calls it.
func (a *http2Response) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	c := a.x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	err := a.push()
	c.flush()
	return err
}

// push sends what is held. c.mu is held.
func (a *http2Response) push() error {
	if err := a.sendHeader(false); err != nil || a.held == nil {
		return err
	}
	err := a.x.send(*a.held, false)
	*a.held = (*a.held)[:0]
	return err
}

// sendHeader sends the header, if that has not been done. c.mu is held.
func (a *http2Response) sendHeader(ends bool) error {
	x := a.x
	if x.failure != nil {
		return x.failure
	}
	if a.section == nil {
		return nil
	}
	x.conn.appendSection(x.id, *a.section, ends)
	putBuffer(a.section)
	a.section, x.begun, x.ended = nil, true, ends
	return nil
}

// finish sends what is left, and ends the stream if the answer is whole. c.mu is held.
func (a *http2Response) finish() {
	defer a.release()
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.length >= 0 && a.written != a.length && !a.toHEAD {
		return
	}
	trailers := bodyAllowed(a.status) && !a.toHEAD && a.trailers.expected(a.header)
	if a.section != nil && a.length < 0 && bodyAllowed(a.status) && !trailers && a.lengthKnown() {
		*a.section = appendContentLength(*a.section, a.written)
	}
	var body []byte
	if a.held != nil {
		body = *a.held
	}
	if len(body) == 0 && !trailers && a.section != nil {
		_ = a.sendHeader(true) // an error is the stream's, and it has ended
		return
	}
	if a.sendHeader(false) != nil {
		return
	}
	if err := a.x.send(body, !trailers); err != nil || !trailers {
		return
	}
	a.sendTrailer()
}

// lengthKnown reports whether all of the body was held. What GET would get is not known of an answer to HEAD that has no body.
func (a *http2Response) lengthKnown() bool {
	return !a.toHEAD || a.written > 0 && a.written <= bufferSize
}

func (a *http2Response) sendTrailer() {
	section := getBuffer()
	defer putBuffer(section)
	*section = appendHeader((*section)[:0], a.trailers.section(a.header))
	if len(*section) == 0 { // announced, and not there
		_ = a.x.send(nil, true)
		return
	}
	a.x.conn.appendSection(a.x.id, *section, true)
	a.x.ended = true
}

// release gives up what is held.
func (a *http2Response) release() {
	putBuffer(a.section)
	putBuffer(a.held)
	a.section, a.held = nil, nil
}

// interim sends a 1xx response. c.mu is held, and released meanwhile.
func (x *http2Stream) interim(status int, h http.Header) {
	if x.failure != nil || x.begun {
		return
	}
	if status == http.StatusContinue && x.body != nil {
		x.body.asks = false
	}
	section := getBuffer()
	defer putBuffer(section)
	*section = appendHeader(appendStatus((*section)[:0], status), h)
	x.conn.appendSection(x.id, *section, false)
	x.conn.flush()
}

// refuse answers a request that the handler does not see.
func (a *http2Response) refuse(err *RequestError) {
	if !httpx.IsGRPC(a.x.request.Header) {
		httpx.WriteProblem(a, a.x.request, err.problem())
		return
	}
	a.header["Content-Type"] = []string{"application/grpc"}
	a.header["Grpc-Status"] = []string{strconv.Itoa(httpx.GRPCStatus(err.Status))}
	a.header["Grpc-Message"] = []string{httpx.GRPCMessage(err.Reason)}
	a.WriteHeader(http.StatusOK)
}

// SetReadDeadline is for http.ResponseController.
func (a *http2Response) SetReadDeadline(t time.Time) error {
	x := a.x
	x.conn.mu.Lock()
	defer x.conn.mu.Unlock()
	if x.readBy = t; x.body != nil {
		x.body.readable.raise()
	}
	return nil
}

// SetWriteDeadline is for http.ResponseController.
func (a *http2Response) SetWriteDeadline(t time.Time) error {
	x := a.x
	x.conn.mu.Lock()
	defer x.conn.mu.Unlock()
	x.writeBy = t
	x.sendable.raise()
	return nil
}

// EnableFullDuplex is for http.ResponseController: the request's body can always be read.
func (a *http2Response) EnableFullDuplex() error { return nil }

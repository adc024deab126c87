package listener

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// serveHTTP2 serves one stream of an HTTP/2 connection. net/http has its
// framing in hand; a stream can still be slow where its connection is not.
func (h *http2Handler) serveHTTP2(w http.ResponseWriter, r *http.Request) {
	if err := h.checkHTTP2(r); err != nil {
		h.refuse(w, r, err)
		return
	}
	s := &stream{ResponseWriter: w, control: http.NewResponseController(w), stall: h.options.WriteStall}
	s.writing.onTimeout = func() { _ = s.control.SetWriteDeadline(longAgo) }
	defer s.end()
	if rate := newBodyRate(h.options); r.ContentLength != 0 && !rate.off() && !IsGRPC(r) {
		b := &streamBody{ReadCloser: r.Body, stream: s, rate: rate}
		b.reading.onTimeout = func() { _ = s.control.SetReadDeadline(longAgo) }
		s.body = b
		r.Body = b
	}
	h.next.ServeHTTP(s, r)
}

// checkHTTP2 does for HTTP/2 what net/http does for HTTP/1 alone. What it lets
// pass could become another request where the request goes on over HTTP/1 (RFC 9113
// section 10.3).
func (h *http2Handler) checkHTTP2(r *http.Request) *RequestError {
	if headerSize(r) > h.options.MaxHeaderBytes {
		return refusalOf(http1.HeadTooLarge(h.options.MaxHeaderBytes))
	}
	if !httpx.IsToken(r.Method) {
		return bad("the method is malformed")
	}
	if !httpguts.ValidHostHeader(r.Host) {
		return bad("the authority is malformed")
	}
	for _, host := range r.Header["Host"] {
		if !strings.EqualFold(host, r.Host) {
			return bad("Host differs from the authority")
		}
	}
	delete(r.Header, "Host") // as over HTTP/1
	if lengths := r.Header["Content-Length"]; len(lengths) > 0 {
		n, ok := http1.ParseLength(lengths[0])
		if len(lengths) > 1 || !ok || n != r.ContentLength {
			return bad("Content-Length is not the body's")
		}
	}
	return nil
}

// longAgo as a deadline ends whatever waits.
var longAgo = time.Unix(1, 0)

// headerSize reckons the header as HTTP/1 would have it.
func headerSize(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host) + len("  HTTP/1.1\r\nHost: \r\n\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// IsGRPC reports whether a request is gRPC's: both sides may be silent in the
// middle of a message exchange, and the client reads the outcome from
// grpc-status. gRPC-Web is neither: there the trailers are part of the body.
func IsGRPC(r *http.Request) bool {
	if r.ProtoMajor < 2 {
		return false
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// stream is the answer on an HTTP/2 stream. A client can keep the connection
// alive and still take nothing from a stream, by its flow-control window; a
// write that waits too long for it resets the stream.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration // negative: no limit
	body    *streamBody   // nil where it is not guarded

	writing  watchdog
	begun    atomic.Bool
	buffered bool // something was written since the last flush
}

// Unwrap is for http.ResponseController.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *stream) WriteHeader(status int) {
	if status >= 200 {
		s.begun.Store(true)
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *stream) Write(p []byte) (int, error) {
	s.begun.Store(true)
	s.buffered = true
	s.writing.start(s.stall)
	defer s.writing.stop()
	return s.ResponseWriter.Write(p)
}

// Flush is for those who ask for an http.Flusher.
func (s *stream) Flush() { _ = s.FlushError() }

// FlushError sends what has been written.
func (s *stream) FlushError() error {
	s.begun.Store(true)
	s.buffered = false
	s.writing.start(s.stall)
	defer s.writing.stop()
	return s.control.Flush()
}

// end is called when the handler returns. What it has left in the buffer is
// sent by net/http after that, within a deadline of the stream's own.
func (s *stream) end() {
	s.writing.end()
	if s.body != nil {
		s.body.reading.end()
	}
	if s.buffered && s.stall > 0 {
		_ = s.control.SetWriteDeadline(time.Now().Add(s.stall))
	}
}

// streamBody is a request's body on an HTTP/2 stream, which must come in time
// until the answer begins.
type streamBody struct {
	io.ReadCloser
	stream  *stream
	rate    bodyRate
	reading watchdog
}

func (b *streamBody) Read(p []byte) (int, error) {
	if b.stream.begun.Load() {
		return b.ReadCloser.Read(p)
	}
	patience := b.rate.patience()
	if patience <= 0 {
		return 0, tooSlow("body")
	}
	start := time.Now()
	b.reading.start(patience)
	n, err := b.ReadCloser.Read(p)
	b.reading.stop()
	b.rate.spend(time.Since(start), n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = tooSlow("body")
	}
	return n, err
}

// watchdog calls onTimeout when something takes too long.
type watchdog struct {
	onTimeout func()

	mu    sync.Mutex
	timer *time.Timer
	armed bool
	ended bool
}

// start begins to watch, for as long as d. Not positive means for ever.
func (w *watchdog) start(d time.Duration) {
	if d <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.expire)
	} else {
		w.timer.Reset(d)
	}
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if w.timer != nil {
		w.timer.Stop()
	}
}

// end stops for good. When it has returned, onTimeout is not running and will not
// be called any more: net/http's writer panics when it is used after the handler.
func (w *watchdog) end() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

func (w *watchdog) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed && !w.ended {
		w.armed = false
		w.onTimeout()
	}
}

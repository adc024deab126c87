package compress

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/headgate/headgate/internal/httpx"
)

// Writer is the http.ResponseWriter that a handler writes to. It is for one response, and one goroutine at a time.
// [Writer.End] or [Writer.Abort] must follow, and then [Writer.Release].
type Writer struct {
	inner    http.ResponseWriter
	rule     *Rule
	coding   httpx.Coding // that the client would have
	identity bool         // the client takes a response that is not encoded
	exempt   bool         // the request may be about secrets, or says no-transform
	head     bool         // the method is HEAD
	asked    []asked      // the marks of the request's If-None-Match

	knows, gains bool // a cache has said of a 304 whether its 200 would be compressed

	state   state
	status  int
	held    []byte // of a body whose length is not known, until it is long enough
	encoder encoder
	dirty   bool  // something has been written since the last flush
	before  int64 // bytes of the body that the handler has written, or a cache stands for
	sent    int64 // bytes of it that have been sent
	used    httpx.Coding
}

type state uint8

const (
	headless state = iota // the head has not been written
	holding               // it is held back with the beginning of a body of unknown length
	passing               // the body is passed on as it is written
	encoding              // it passes the encoder
)

var writers = sync.Pool{New: func() any { return new(Writer) }}

// NewWriter returns a Writer for the response to a request. secret says that the request may be about a user's secrets.
func (r *Rule) NewWriter(inner http.ResponseWriter, req *http.Request, secret bool) *Writer {
	w := writers.Get().(*Writer)
	*w = Writer{inner: inner, rule: r, head: req.Method == http.MethodHead, asked: w.asked[:0], held: w.held[:0]}
	w.coding, w.identity = Negotiate(req.Header["Accept-Encoding"])
	w.exempt = secret && !r.private || hasDirective(req.Header["Cache-Control"], "no-transform")
	return w
}

// Release gives the Writer's memory to the next response. It must not be used any more.
func (w *Writer) Release() {
	w.inner, w.rule = nil, nil
	if cap(w.held) > 64<<10 {
		w.held = nil
	}
	writers.Put(w)
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.inner }

// Header implements http.ResponseWriter.
func (w *Writer) Header() http.Header { return w.inner.Header() }

// Used is the coding that the response has got from the Writer or from a cache by it; before and sent are the bytes of its
// body before and after that.
func (w *Writer) Used() (c httpx.Coding, before, sent int64) { return w.used, w.before, w.sent }

// WriteHeader implements http.ResponseWriter, and decides whether the body is compressed.
func (w *Writer) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols || w.state != headless {
		if w.state != holding {
			w.inner.WriteHeader(status)
		}
		return
	}
	h := w.inner.Header()
	switch {
	case status == http.StatusNotModified:
		w.notModified(h)
	case !w.rule.eligible(status, h, !w.identity):
		w.markIdentity(h)
	case w.coding == httpx.Identity || w.exempt:
		addVary(h)
		w.markIdentity(h)
	default:
		w.begin(status, h)
		return
	}
	w.pass(status)
}

// begin begins a response that is to be compressed, at once if it is known to be long enough.
func (w *Writer) begin(status int, h http.Header) {
	_, known := contentLength(h)
	if known || w.head || !w.identity {
		w.encode(status)
		return
	}
	w.state, w.status = holding, status
}

func (w *Writer) pass(status int) {
	w.state = passing
	w.inner.WriteHeader(status)
}

// encode sends the head of a compressed response, or of the same as it is where all encoders are at work.
func (w *Writer) encode(status int) {
	h := w.inner.Header()
	if !w.head {
		if w.encoder = w.rule.encoders.borrow(w.coding, Fast, (*output)(w)); w.encoder == nil {
			w.sendIdentity(h)
			w.pass(status)
			return
		}
	}
	w.state, w.used = encoding, w.coding
	describe(h, w.coding, -1)
	w.inner.WriteHeader(status)
}

func (w *Writer) sendIdentity(h http.Header) {
	addVary(h)
	w.markIdentity(h)
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(p []byte) (int, error) {
	if w.state == headless {
		w.WriteHeader(http.StatusOK)
	}
	if w.state == holding {
		if int64(len(w.held)+len(p)) < w.rule.min {
			w.held = append(w.held, p...)
			return len(p), nil
		}
		if err := w.letGo(); err != nil {
			return 0, err
		}
	}
	return w.write(p)
}

func (w *Writer) write(p []byte) (int, error) {
	if w.state == encoding {
		w.before += int64(len(p))
		if w.encoder == nil { // HEAD
			return len(p), nil
		}
		w.dirty = true
		return w.encoder.Write(p)
	}
	n, err := w.inner.Write(p)
	if w.used == httpx.Identity {
		w.before += int64(n)
	}
	w.sent += int64(n)
	return n, err
}

// letGo begins to compress what is held.
func (w *Writer) letGo() error {
	w.encode(w.status)
	if len(w.held) == 0 {
		return nil
	}
	_, err := w.write(w.held)
	return err
}

// output is where the encoder writes to.
type output Writer

func (o *output) Write(p []byte) (int, error) {
	n, err := o.inner.Write(p)
	o.sent += int64(n)
	return n, err
}

// FlushError sends what the handler has written, as http.ResponseController has it.
func (w *Writer) FlushError() error {
	if w.state == headless {
		w.WriteHeader(http.StatusOK)
	}
	if w.state == holding {
		if err := w.letGo(); err != nil {
			return err
		}
	}
	if w.encoder != nil && w.dirty {
		w.dirty = false
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.inner).Flush()
}

// Flush implements http.Flusher.
func (w *Writer) Flush() { _ = w.FlushError() }

// End completes the response.
func (w *Writer) End() error {
	if w.state == holding {
		h := w.inner.Header()
		w.sendIdentity(h) // a longer one would be compressed
		if len(h["Trailer"]) == 0 {
			h["Content-Length"] = []string{strconv.Itoa(len(w.held))}
		}
		w.pass(w.status)
		_, err := w.write(w.held)
		return err
	}
	if w.encoder == nil {
		return nil
	}
	err := w.encoder.Close()
	w.giveBack()
	return err
}

// Abort gives the encoder back without completing the response, which the caller breaks off.
func (w *Writer) Abort() {
	if w.state == holding {
		w.pass(w.status)
		_, _ = w.write(w.held)
	}
	w.giveBack()
}

func (w *Writer) giveBack() {
	if enc := w.encoder; enc != nil {
		w.encoder = nil
		w.rule.encoders.giveBack(w.coding, Fast, enc)
	}
}

// Of returns the Writer that a handler writes to, or nil where it writes to none.
func Of(w http.ResponseWriter) *Writer {
	writer, _ := w.(*Writer)
	return writer
}

// Wants returns the coding that the client would have of a stored response with this head, Identity for none. It is for
// caches, before WriteHeader: one that has the response in this coding sends it by SendEncoded.
func (w *Writer) Wants(status int, h http.Header) httpx.Coding {
	if w.coding == httpx.Identity || w.exempt || !w.rule.eligible(status, h, !w.identity) {
		return httpx.Identity
	}
	return w.coding
}

// SendEncoded says that what is written from here on is the body in a coding, of size bytes, in the place of one of before bytes.
func (w *Writer) SendEncoded(c httpx.Coding, size, before int64) {
	describe(w.inner.Header(), c, size)
	w.state, w.used, w.before = passing, c, before
}

// SendIdentity has a response passed on as it is that the client would have in a coding, if it takes that.
func (w *Writer) SendIdentity() {
	if w.identity {
		w.coding = httpx.Identity
	}
}

// NotModified says of a 304 that is about to be written what the head of its 200 is.
func (w *Writer) NotModified(status int, h http.Header) {
	w.knows, w.gains = true, w.rule.eligible(status, h, !w.identity)
}

// Encoders are what copies are made by.
func (w *Writer) Encoders() *Encoders { return w.rule.encoders }

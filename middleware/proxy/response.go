package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy/internal/spool"
)

// respond passes a server's response on to the client. A failure means that nothing has been written.
func (tx *transaction) respond(res *http.Response) *Error {
	httpx.RemoveHopByHop(res.Header)
	appendVia(res.Header, res.ProtoMajor, res.ProtoMinor, defaultPseudonym, &tx.values.viaBack)
	if tx.route.ModifyResponse != nil {
		if failure := tx.modifyResponse(res); failure != nil {
			return failure
		}
	}
	tx.stick(res)
	if tx.body.source != nil {
		tx.closeAfterUpload()
	}
	announced := tx.writeHeader(res)
	switch {
	case res.Body == http.NoBody:
	case res.Body == io.ReadCloser(&tx.held):
		_, tx.writeErr = tx.w.Write(tx.held.rest())
	case streams(res):
		tx.copyStream(res)
	default:
		tx.copyBody(res)
	}
	if tx.readErr != nil || tx.writeErr != nil {
		// The client must not take a part of the response for the whole.
		panic(http.ErrAbortHandler)
	}
	res.Body.Close()
	if len(res.Trailer) > 0 {
		tx.passTrailer(res, announced)
	}
	return nil
}

// modifyResponse has the route's hook change or refuse the response.
func (tx *transaction) modifyResponse(res *http.Response) *Error {
	err := tx.route.ModifyResponse(res)
	if err == nil {
		return nil
	}
	tx.current.kind = KindRefused
	var failure *Error
	if errors.As(err, &failure) {
		refusal := *failure
		refusal.Kind, refusal.Upstream, refusal.Server = KindRefused, tx.up.name, tx.current.server.name
		return &refusal
	}
	return tx.newError(KindRefused, http.StatusBadGateway, err)
}

// writeHeader passes the header on, and returns how many fields of a trailer it has announced.
func (tx *transaction) writeHeader(res *http.Response) (announced int) {
	h := tx.w.Header()
	addFields(h, res.Header)
	if len(res.Trailer) > 0 {
		tx.cleanTrailer(res.Trailer)
		names := slices.Collect(maps.Keys(res.Trailer))
		if len(names) > 0 {
			h.Add("Trailer", strings.Join(names, ", "))
		}
		announced = len(names)
	}
	tx.w.WriteHeader(res.StatusCode)
	return announced
}

// addFields adds fields to those that are there already.
func addFields(dst, src http.Header) {
	for name, values := range src {
		if already := dst[name]; len(already) > 0 {
			dst[name] = append(already, values...)
		} else {
			dst[name] = values[:len(values):len(values)]
		}
	}
}

// copyStream is copyBody for a body that may last.
func (tx *transaction) copyStream(res *http.Response) {
	if tx.route.OnStream != nil {
		tx.stream = &Stream{attempt: tx.current, body: &tx.body, read: tx.body.read.Load()}
		defer tx.follow(res.Header, tx.stream)()
	}
	tx.copyBody(res)
}

// copyBody copies the response's body, and notes where it broke off.
func (tx *transaction) copyBody(res *http.Response) {
	flush := func() error { return nil }
	if streams(res) {
		flush = http.NewResponseController(tx.w).Flush
		if !ready(res.Body) {
			_ = flush() // the header must not wait for the body
		}
	}
	var body io.Reader = res.Body
	if tx.readsAnswerAhead(res) {
		tx.readAnswer(res)
		body = tx.answer
	}
	buf := tx.up.buffers.Get()
	defer tx.up.buffers.Put(buf)
	for {
		n, err := body.Read(buf)
		if tx.stream != nil && tx.stream.cut.Load() {
			tx.readErr = errCut
			return
		}
		if n > 0 {
			if _, tx.writeErr = tx.w.Write(buf[:n]); tx.writeErr != nil {
				return
			}
		}
		if err == io.EOF {
			return
		}
		if tx.readErr = err; err != nil {
			return
		}
		if n > 0 {
			_ = flush() // the next write reports what is wrong
		}
	}
}

// readsAnswerAhead reports whether a response's body is read ahead of a slow client.
// One of up to smallAnswer bytes fits into the connections' own buffers.
func (tx *transaction) readsAnswerAhead(res *http.Response) bool {
	return tx.pool.cfg.Buffer.Answers > 0 && !tx.route.Unbuffered && tx.held.buf == nil &&
		(res.ContentLength < 0 || res.ContentLength > smallAnswer) &&
		!strings.EqualFold(res.Header.Get("X-Accel-Buffering"), "no") &&
		!isEventStream(res.Header) && !isGRPC(res.Header)
}

const smallAnswer = 16 << 10

// readAnswer makes a response's body one that is read ahead while the client is slow.
func (tx *transaction) readAnswer(res *http.Response) {
	a := tx.current
	o := tx.bodyOptions(tx.pool.cfg.Buffer.Answers, res.ContentLength)
	o.WhenSlow = true
	o.Ended = func(error) { a.leave() }
	o.Interrupt = a.interrupt
	tx.answer = spool.NewBody(res.Body, o)
}

// passTrailer passes the trailer on. Fields that were not announced go by net/http's prefix.
func (tx *transaction) passTrailer(res *http.Response, announced int) {
	tx.cleanTrailer(res.Trailer)
	// net/http would give a short body a length, and leave no room for a trailer.
	_ = http.NewResponseController(tx.w).Flush()
	h := tx.w.Header()
	if len(res.Trailer) == announced {
		addFields(h, res.Trailer)
		return
	}
	for name, values := range res.Trailer {
		for _, v := range values {
			h.Add(http.TrailerPrefix+name, v)
		}
	}
}

// writeInterim sends a 1xx response with its own header fields and none of
// those that are set for the final one. It calls the innermost writer: others,
// Echo's among them, take the first WriteHeader for the final response's.
func (tx *transaction) writeInterim(code int, header http.Header) {
	inner := tx.w
	for {
		u, ok := inner.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		inner = u.Unwrap()
	}
	httpx.RemoveHopByHop(header)
	delete(header, "Content-Length")
	delete(header, "Host")
	tx.filter(header)

	h := inner.Header()
	final := make(http.Header, len(h))
	for name, values := range h {
		final[name] = values
	}
	clear(h)
	for name, values := range header {
		h[name] = values
	}
	inner.WriteHeader(code)
	clear(h)
	for name, values := range final {
		h[name] = values
	}
}

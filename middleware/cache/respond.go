package cache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
	"github.com/headgate/headgate/middleware/compress"
)

// serveEntry answers from a complete entry: 304 to a condition that holds, a
// part to a range, else all of it. age is the entry's, at x.now.
func (x *request) serveEntry(e *entry, age time.Duration, status outcomeStatus) error {
	req, res := x.c.Request(), x.c.Response()
	h := res.Header()
	status.hasTTL, status.ttl = true, e.Lifetime-age
	if x.form != formWhole && e.Status == http.StatusOK && e.NotModified(req.Header, x.now) {
		x.writeNotModified(e, age, &status)
		return nil
	}
	addFields(h, e.Header)
	status.describe(h, age, x.cache.name)

	code, part := e.Status, rfc9111.ByteRange{Length: e.body.size}
	if x.form == formRange && e.Status == http.StatusOK && !x.head && e.IfRangeHolds(req.Header, x.now) {
		code, part = rangeHeader(h, req.Header["Range"], e)
	}
	if code == http.StatusRequestedRangeNotSatisfiable {
		res.WriteHeader(code)
		return nil
	}
	content := &e.body
	if code == e.Status {
		if copied := x.inCoding(e); copied != nil {
			content, part.Length = copied, copied.size
		}
	}
	res.WriteHeader(code)
	if x.head || code == http.StatusNoContent {
		return nil
	}
	writePart(res, content, part)
	return nil
}

// rangeHeader sets the fields of an answer to a Range, and gives its status and
// the part of the body to send.
func rangeHeader(h http.Header, lines []string, e *entry) (code int, part rfc9111.ByteRange) {
	size := e.body.size
	part = rfc9111.ByteRange{Length: size}
	if len(lines) != 1 {
		return e.Status, part
	}
	asked, kind := rfc9111.ParseRange(lines[0], size)
	if kind == rfc9111.RangeIgnored {
		return e.Status, part
	}
	delete(h, "Content-Digest") // of this message's content (RFC 9530 section 2)
	if kind == rfc9111.RangeUnsatisfiable {
		h["Content-Range"] = []string{fmt.Sprintf("bytes */%d", size)}
		h["Content-Length"] = []string{"0"}
		return http.StatusRequestedRangeNotSatisfiable, rfc9111.ByteRange{}
	}
	h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", asked.Start, asked.Start+asked.Length-1, size)}
	h["Content-Length"] = []string{strconv.FormatInt(asked.Length, 10)}
	return http.StatusPartialContent, asked
}

// writePart writes a part of a body. It stops when the client has left.
func writePart(w io.Writer, b *body, part rfc9111.ByteRange) {
	for _, chunk := range b.chunks {
		size := int64(len(chunk))
		if part.Start >= size {
			part.Start -= size
			continue
		}
		piece := chunk[part.Start:min(size, part.Start+part.Length)]
		part.Start, part.Length = 0, part.Length-int64(len(piece))
		if _, err := w.Write(piece); err != nil || part.Length == 0 {
			return
		}
	}
}

// addFields puts stored fields beside those that other middleware has set. The
// values are shared with the entry; their slices are clipped, so that an
// append makes a copy.
func addFields(h http.Header, stored http.Header) {
	for name, values := range stored {
		addField(h, name, values)
	}
}

func addField(h http.Header, name string, values []string) {
	if old, ok := h[name]; ok {
		h[name] = append(old[:len(old):len(old)], values...)
		return
	}
	h[name] = values[:len(values):len(values)]
}

// writeNotModified answers 304 with the fields that RFC 9110 section 15.4.5
// wants, and without those that describe a body.
func (x *request) writeNotModified(e *entry, age time.Duration, status *outcomeStatus) {
	res := x.c.Response()
	h := res.Header()
	for name, values := range e.Header {
		if strings.HasPrefix(name, "Content-") && name != "Content-Location" && name != "Content-Security-Policy" {
			continue
		}
		if name == "Last-Modified" && e.ETag != "" {
			continue
		}
		addField(h, name, values)
	}
	status.describe(h, age, x.cache.name)
	if w := compress.Of(res.Writer); w != nil {
		w.NotModified(e.Status, e.Header)
	}
	res.WriteHeader(http.StatusNotModified)
}

// serveLeader passes a response under way on to the request that it answers.
func (x *request) serveLeader(o *outcome) error {
	defer o.leader.Leave()
	res := x.c.Response()
	if o.kind == responseShared && x.form != formWhole && o.arrival.Status == http.StatusOK &&
		o.entry.NotModified(x.c.Request().Header, x.now) {
		x.writeNotModified(o.entry, o.entry.Age(x.now), &o.status)
		return nil
	}
	addFields(res.Header(), o.arrival.Header)
	status := o.status
	if o.entry != nil {
		status.hasTTL, status.ttl = true, o.entry.FreshFor(x.now)
	}
	status.set(res.Header(), x.cache.name)
	res.WriteHeader(o.arrival.Status)
	if x.copyBody(o.leader) {
		for name, values := range o.stream.Trailer() {
			res.Header()[http.TrailerPrefix+name] = values
		}
	}
	return nil
}

// serveFollower answers from a response that is under way for another request.
// Its trailers are for the request that the origin answered alone: they are not
// among what is stored, and no check has seen them.
func (x *request) serveFollower(e *entry, r *collapse.Reader, status outcomeStatus) error {
	defer r.Leave()
	res := x.c.Response()
	h := res.Header()
	age := e.Age(x.now)
	status.hasTTL, status.ttl = true, e.Lifetime-age
	if x.form != formWhole && e.Status == http.StatusOK && e.NotModified(x.c.Request().Header, x.now) {
		x.writeNotModified(e, age, &status)
		return nil
	}
	addFields(h, e.Header)
	status.describe(h, age, x.cache.name)
	res.WriteHeader(e.Status)
	x.copyBody(r)
	return nil
}

// copyBody writes a response under way to the client, and reports whether all
// of it was written. If it ends early, so does the client's: a client must
// never take a part for the whole.
func (x *request) copyBody(r *collapse.Reader) (completed bool) {
	if x.head {
		return false
	}
	ctx, res := x.c.Request().Context(), x.c.Response()
	for {
		p, event := r.Next(ctx)
		switch event {
		case collapse.BrokenOff:
			panic(http.ErrAbortHandler)
		case collapse.Completed:
			return true
		case collapse.FlushNow:
			// The error is that of a client that has left, which the next
			// write finds out too.
			_ = http.NewResponseController(res).Flush()
			continue
		}
		if _, err := res.Write(p); err != nil {
			return false
		}
		r.Progress()
	}
}

// passInterim sends a 1xx response on. It does not go through echo.Response,
// which would take it for the final one.
func (x *request) passInterim(i collapse.Interim) {
	w := x.c.Response().Writer
	h := w.Header()
	saved := make(http.Header, len(i.Header))
	for name, values := range i.Header {
		saved[name] = h[name]
		h[name] = values
	}
	w.WriteHeader(i.Status)
	for name, values := range saved {
		if values == nil {
			delete(h, name)
		} else {
			h[name] = values
		}
	}
}

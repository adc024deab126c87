package cache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// serveEntry answers from a whole entry: 304 to a condition that holds, a part
// to a range, else all of it.
func (x *exchange) serveEntry(e *entry, status outcomeStatus) error {
	req, res := x.c.Request(), x.c.Response()
	h := res.Header()
	status.hasTTL, status.ttl = true, e.FreshFor(x.now)
	if x.conditional && e.Status == http.StatusOK && e.NotModified(req.Header, x.now) {
		x.writeNotModified(e, &status)
		return nil
	}
	addFields(h, e.Header)
	x.describe(h, e, &status)

	code, part := e.Status, rfc9111.ByteRange{Length: e.body.size}
	if x.ranged && e.Status == http.StatusOK && !x.head && e.IfRangeHolds(req.Header, x.now) {
		if lines := req.Header["Range"]; len(lines) == 1 {
			r, answer := rfc9111.ParseRange(lines[0], e.body.size)
			if answer != rfc9111.RangeIgnored {
				delete(h, "Content-Digest") // of this message's content (RFC 9530 section 2)
			}
			switch answer {
			case rfc9111.RangePartial:
				code, part = http.StatusPartialContent, r
				h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", r.Start, r.Start+r.Length-1, e.body.size)}
				h["Content-Length"] = []string{strconv.FormatInt(r.Length, 10)}
			case rfc9111.RangeUnsatisfiable:
				h["Content-Range"] = []string{fmt.Sprintf("bytes */%d", e.body.size)}
				h["Content-Length"] = []string{"0"}
				res.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return nil
			}
		}
	}
	res.WriteHeader(code)
	if x.head || code == http.StatusNoContent {
		return nil
	}
	for _, chunk := range e.body.chunks {
		size := int64(len(chunk))
		if part.Start >= size {
			part.Start -= size
			continue
		}
		piece := chunk[part.Start:min(size, part.Start+part.Length)]
		part.Start, part.Length = 0, part.Length-int64(len(piece))
		if _, err := res.Write(piece); err != nil {
			return nil // the client has left
		}
		if part.Length == 0 {
			break
		}
	}
	return nil
}

// addFields puts stored fields beside those that other middleware has set. The
// values are shared with the entry; their slices are clipped, so that whoever
// appends gets a copy.
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

// describe says of a stored answer how old it is, and what the cache made of
// the request. The texts of both fields are one allocation, and so are the
// slices that an http.Header wants around them.
func (x *exchange) describe(h http.Header, e *entry, status *outcomeStatus) {
	var buf [128]byte
	text := strconv.AppendInt(buf[:0], int64(e.Age(x.now)/time.Second), 10)
	age := len(text)
	both := string(status.append(text, x.m.cache.name))
	values := [2]string{both[:age], both[age:]}
	h["Age"] = values[0:1:1]
	if old := h["Cache-Status"]; len(old) > 0 {
		h["Cache-Status"] = append(old[:len(old):len(old)], values[1])
		return
	}
	h["Cache-Status"] = values[1:2:2]
}

// writeNotModified answers 304 with the fields that RFC 9110 section 15.4.5
// wants, and without those that describe a body.
func (x *exchange) writeNotModified(e *entry, status *outcomeStatus) {
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
	x.describe(h, e, status)
	res.WriteHeader(http.StatusNotModified)
}

// serveOwn passes the origin's answer on to the request that it is for.
func (x *exchange) serveOwn(o *outcome) error {
	defer o.leader.leave()
	res := x.c.Response()
	if !o.bare && x.conditional && o.shared != nil && o.arrival.Status == http.StatusOK &&
		o.shared.NotModified(x.c.Request().Header, x.now) {
		x.writeNotModified(o.shared, &o.status)
		return nil
	}
	addFields(res.Header(), o.arrival.Header)
	status := o.status
	if o.shared != nil {
		status.hasTTL, status.ttl = true, o.shared.FreshFor(x.now)
	}
	status.set(res.Header(), x.m.cache.name)
	res.WriteHeader(o.arrival.Status)
	x.copyBody(o.stream, o.leader, true)
	return nil
}

// serveShared answers from a response that is still under way for another.
func (x *exchange) serveShared(e *entry, s *stream, r *reader, status outcomeStatus) error {
	defer r.leave()
	res := x.c.Response()
	h := res.Header()
	status.hasTTL, status.ttl = true, e.FreshFor(x.now)
	if x.conditional && e.Status == http.StatusOK && e.NotModified(x.c.Request().Header, x.now) {
		x.writeNotModified(e, &status)
		return nil
	}
	addFields(h, e.Header)
	x.describe(h, e, &status)
	res.WriteHeader(e.Status)
	x.copyBody(s, r, false)
	return nil
}

// copyBody writes a response under way to the client. If it ends early, so
// does the client's: it must never take a part for the whole. Trailers are for
// the request that the origin answered: they are not among what is stored, and
// no check has seen them.
func (x *exchange) copyBody(s *stream, r *reader, own bool) {
	if x.head {
		return
	}
	ctx, res := x.c.Request().Context(), x.c.Response()
	for {
		p, flush, end, err := r.next(ctx)
		switch {
		case end && err != nil:
			panic(http.ErrAbortHandler)
		case end && !own:
			return
		case end:
			for name, values := range s.trailer {
				res.Header()[http.TrailerPrefix+name] = values
			}
			return
		case flush:
			// The error is that of a client that has left, which the next
			// write finds out too.
			_ = http.NewResponseController(res).Flush()
			continue
		}
		if _, err := res.Write(p); err != nil {
			return
		}
		r.progress()
	}
}

// passInterim sends a 1xx response on. It does not go through echo.Response,
// which would take it for the final one.
func (x *exchange) passInterim(i interim) {
	w := x.c.Response().Writer
	h := w.Header()
	saved := make(http.Header, len(i.header))
	for name, values := range i.header {
		saved[name] = h[name]
		h[name] = values
	}
	w.WriteHeader(i.status)
	for name, values := range saved {
		if values == nil {
			delete(h, name)
		} else {
			h[name] = values
		}
	}
}

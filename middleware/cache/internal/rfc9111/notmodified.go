package rfc9111

import (
	"maps"
	"net/http"
)

// notUpdated are the fields of a stored response that a 304 does not replace,
// RFC 9111 section 3.2: the length, what the stored bytes could not be read
// without, and what describes the 304's own, empty, content.
var notUpdated = map[string]bool{
	"Content-Length": true, "Content-Encoding": true, "Content-Range": true,
	"Content-Digest": true, "Etag": true,
}

// ConfirmedBy reports whether a 304 that answers a validation with r's
// validators is about r, RFC 9111 section 4.3.4.
func (r *Response) ConfirmedBy(h http.Header) bool {
	etag := h.Get("Etag")
	switch {
	case StrongETag(etag):
		return r.ETag == etag
	case etag != "":
		return r.ETag == etag || r.ETag == etag[len("W/"):]
	}
	return true // it answers the gateway's conditional request and names no other
}

// MergeNotModified gives the head that a 304 makes of a stored response: the
// stored fields updated, to be passed through NewResponse again as everything
// that follows from them is computed anew. It is nil, with the reason, if the
// 304 itself must not be stored.
func (s *Storing) MergeNotModified(r *Response, a *Arrival) (*Arrival, Reason) {
	// The 304's own directives are judged as if it were the 200 it stands for.
	d, _ := ResponseDirectives(a.Header)
	check := *a
	check.Status = http.StatusOK
	if why := s.forbidden(&check, &d); why != "" {
		return nil, why
	}
	merged := r.Header.Clone()
	for name, values := range storedHeader(a.Header, &Directives{}, s.Unstored) {
		if !notUpdated[name] && name != "Set-Cookie" {
			merged[name] = values
		}
	}
	if _, ok := a.Header["Date"]; !ok {
		delete(merged, "Date") // the time it was received stands in for it
	}
	// Without Age on the 304, that of the stored response is long past.
	delete(merged, "Age")
	if age, ok := a.Header["Age"]; ok {
		merged["Age"] = age
	}
	return &Arrival{Status: r.Status, Header: merged, Requested: a.Requested, Received: a.Received}, ""
}

// UpdatedFor gives the stored response with a 304's fields for the one request
// that the 304 answers: nothing of it is stored.
func (r *Response) UpdatedFor(a *Arrival) *Response {
	updated := *r
	updated.Header = maps.Clone(r.Header)
	for name, values := range a.Header {
		if !neverStored[name] && !notUpdated[name] {
			updated.Header[name] = values
		}
	}
	updated.Received, updated.InitialAge = a.Received, InitialAge(a)
	return &updated
}

// UpdatedByHead reports whether the response to a HEAD describes the stored
// one (RFC 9111 section 4.3.5): where it does not, the stored one is invalid.
func (r *Response) UpdatedByHead(a *Arrival) bool {
	if a.Status != r.Status {
		return false
	}
	for _, name := range []string{"Etag", "Last-Modified", "Content-Length"} {
		if v := a.Header.Get(name); v != "" && v != r.Header.Get(name) {
			return false
		}
	}
	return true
}

// Personal reports whether the reason why a 304 is not stored lies with the
// request that it answers: it then says nothing against what is stored for
// other requests.
func (why Reason) Personal() bool {
	switch why {
	case ReasonSetCookie, ReasonControl, ReasonRequestNoStore, ReasonAuthorization, ReasonSession, ReasonCookie:
		return true
	}
	return false
}

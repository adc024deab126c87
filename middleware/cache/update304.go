package cache

import "net/http"

// notUpdated are the fields of a stored response that a 304 does not replace,
// RFC 9111 section 3.2: the length, what the stored bytes could not be read
// without, and what describes the 304's own, empty, content.
var notUpdated = map[string]bool{
	"Content-Length": true, "Content-Encoding": true, "Content-Range": true,
	"Content-Digest": true, "Etag": true,
}

// selectedBy reports whether a 304 that came for a validation with e's
// validators is about e, RFC 9111 section 4.3.4.
func (e *entry) selectedBy(h http.Header) bool {
	etag := h.Get("Etag")
	switch {
	case strongETag(etag):
		return e.etag == etag
	case etag != "":
		return e.etag == etag || e.etag == etag[len("W/"):]
	}
	return true // it answers our conditional request and names no other
}

// freshened is the entry that a 304 makes of e: the stored fields updated, and
// everything that follows from them computed anew. It is nil, with the reason,
// if what results must not be stored. own says that e is the entry that was
// validated, and not another one with the same strong validator: then the
// validating request is one that selects it, under the Vary of the 304 as well.
func (s *storing) freshened(e *entry, a *arrival, own bool) (*entry, string) {
	merged := e.header.Clone()
	updates := storedHeader(a.header, &directives{}, s.unstored)
	for name, values := range updates {
		if !notUpdated[name] && name != "Set-Cookie" {
			merged[name] = values
		}
	}
	if _, ok := a.header["Date"]; !ok {
		delete(merged, "Date") // the time it was received stands in for it
	}
	// Without Age on the 304, that of the stored response is long past.
	delete(merged, "Age")
	if age, ok := a.header["Age"]; ok {
		merged["Age"] = age
	}
	if why := s.forbiddenUpdate(a); why != "" {
		return nil, why
	}
	fresh, why := s.newEntry(&arrival{status: e.status, header: merged, requested: a.requested, received: a.received})
	if fresh == nil {
		return nil, why
	}
	if !own {
		fresh.vary, fresh.variant = e.vary, e.variant
		fresh.header["Vary"] = e.header["Vary"]
	}
	fresh.body, fresh.bodyID = e.body, e.bodyID
	return fresh, ""
}

// forbiddenUpdate gives the reason why a 304 itself is one user's alone.
func (s *storing) forbiddenUpdate(a *arrival) string {
	d, _ := responseDirectives(a.header)
	check := *a
	check.status = http.StatusOK
	return s.forbidden(&check, &d)
}

// personalUpdate reports whether the reason why a 304 is not stored lies with
// the one who asked: it then says nothing against what is stored for others.
func personalUpdate(why string) bool {
	switch why {
	case whySetCookie, whyControl, whyRequestNoStore, whyAuthorization, whySession, whyCookie:
		return true
	}
	return false
}

package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Why a response was not stored: the "detail" of Cache-Status.
const (
	whyNoStore        = "no-store"
	whyPrivate        = "private"
	whySetCookie      = "set-cookie"
	whyVary           = "vary"
	whyPartial        = "partial"
	whyStatus         = "status"
	whyNotUnderstood  = "not-understood"
	whyRequestNoStore = "request-no-store"
	whyAuthorization  = "authorization"
	whySession        = "session"
	whyCookie         = "cookie"
	whyNoFreshness    = "no-freshness"
	whyControl        = "control-field"
	whyTooLarge       = "too-large"
	whyTags           = "too-many-tags"
	whyHeader         = "header-too-large"
)

// arrival is a response's head as the origin sent it, and when.
type arrival struct {
	status              int
	header              http.Header
	requested, received time.Time
}

// storing is what of the request bears on whether its response may be stored.
type storing struct {
	rule     *rule
	class    class
	noStore  bool // the request's Cache-Control said so
	keyText  string
	tags     []tag // of the target
	origin   string
	stamp    stamp
	field    func(name string) []string
	unstored globs // response fields that are never stored, as foldName spells them
	control  globs // response fields that make a response one user's
}

// newEntry decides whether a response may be stored by a shared cache, RFC 9111
// section 3, and makes the entry, still without a body. Otherwise it says why not.
func (s *storing) newEntry(a *arrival) (e *entry, why string) {
	d, targeted := responseDirectives(a.header)
	if why := s.forbidden(a, &d); why != "" {
		return nil, why
	}
	names, ok := varyNames(a.header)
	if !ok {
		return nil, whyVary
	}
	tags, err := responseTags(a.header, s.origin)
	if err != nil {
		return nil, whyTags
	}

	date := responseDate(a.header, a.received)
	lifetime, source := freshnessLifetime(s.rule, a.status, a.header, &d, targeted, date, a.received)
	e = &entry{
		keyText: s.keyText, vary: selectorsOf(names, s.field),
		status: a.status, date: date, received: a.received,
		initialAge: initialAge(a.header, date, a.requested, a.received),
		lifetime:   lifetime, source: source,
		noCache: d.noCache && s.rule.ForceTTL == 0,
		stamp:   s.stamp,
	}
	if source == lifetimeAssigned {
		e.lifetime += e.initialAge // the rule counts from when we received it
	}
	e.variant = variantOf(e.vary)
	e.tags = append(append(append(e.tags, s.tags...), s.rule.tags...), tags...)
	e.setStale(s.rule, &d)
	e.admits = admitted(&d, source)
	if s.class&^e.admits != 0 {
		return nil, whyClass(s.class &^ e.admits)
	}

	e.header = storedHeader(a.header, &d, s.unstored)
	e.header["Date"] = []string{formatDate(date)}
	e.setValidators(a.received)

	if source == lifetimeNone && !d.public && !heuristicStatus(a.status) {
		return nil, whyNoFreshness
	}
	// What is stale at once and can never be validated is of no use.
	if (e.lifetime <= e.initialAge || e.noCache) && !e.canValidate() && e.staleWhileRevalidate == 0 && e.staleIfError == 0 {
		return nil, whyNoFreshness
	}
	if headerSize(e.header) > maxStoredHeader || selectingSize(e.vary) > maxSelecting {
		return nil, whyHeader
	}
	return e, ""
}

// maxStoredHeader bounds the fields of one entry, in bytes.
const maxStoredHeader = 64 << 10

func headerSize(h http.Header) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// maxSelecting bounds the selecting fields of one entry, in bytes. They are the
// client's to make long, and every look for the resource in Redis reads those
// of all its variants.
const maxSelecting = 8 << 10

func selectingSize(selectors []selector) (n int) {
	for i := range selectors {
		n += len(selectors[i].value)
	}
	return n
}

// forbidden gives the reason why a response must not be stored, whatever its
// freshness.
func (s *storing) forbidden(a *arrival, d *directives) string {
	switch {
	case a.status < 200 || a.status > 599:
		return whyStatus
	case a.status == 206 || a.status == 416:
		return whyPartial
	case a.status == 304 || a.status == 412:
		return whyStatus // answers to this request's own preconditions
	case s.noStore:
		return whyRequestNoStore
	case d.mustUnderstand && !understood(a.status):
		return whyNotUnderstood
	case d.noStore && !d.mustUnderstand: // section 5.2.2.3: it overrides no-store
		return whyNoStore
	case d.private:
		return whyPrivate
	case len(a.header["Set-Cookie"]) > 0: // Set-Cookie2 is nobody's any more (RFC 6265)
		return whySetCookie
	}
	for name := range a.header {
		if len(s.control) > 0 && s.control.match(foldName(name)) {
			return whyControl
		}
	}
	return ""
}

// admitted is who may share a response, by its own words.
func admitted(d *directives, source lifetimeSource) class {
	var c class
	if d.public {
		c |= withSession
	}
	if d.public || d.sMaxAge.present || d.mustRevalidate {
		c |= withAuthorization
	}
	// The rule's TTL is a guess about an app that may have sessions of its
	// own; only the origin's word is good enough for requests with cookies.
	// What has no freshness is validated with the request's own cookies.
	if source == lifetimeExplicit || source == lifetimeNone || d.public {
		c |= withCookie
	}
	return c
}

func whyClass(c class) string {
	switch {
	case c&withSession != 0:
		return whySession
	case c&withAuthorization != 0:
		return whyAuthorization
	}
	return whyCookie
}

// setStale sets what RFC 5861 and RFC 9111 section 4.2.4 say about serving the
// entry stale: the response's word before the rule's.
func (e *entry) setStale(r *rule, d *directives) {
	e.neverStale = d.mustRevalidate || d.proxyRevalidate || d.sMaxAge.present
	if e.source == lifetimeNone {
		e.neverStale = e.neverStale || (!d.staleWhileRevalidate.valid && !d.staleIfError.valid)
	} else {
		e.staleWhileRevalidate, e.staleIfError = r.StaleWhileRevalidate, r.StaleIfError
	}
	if d.staleWhileRevalidate.valid {
		e.staleWhileRevalidate = d.staleWhileRevalidate.d
	}
	if d.staleIfError.valid {
		e.staleIfError = d.staleIfError.d
	}
	if e.neverStale || e.noCache {
		e.staleWhileRevalidate, e.staleIfError = 0, 0
	}
}

func (e *entry) setValidators(now time.Time) {
	e.etag, e.lastModified = "", time.Time{}
	if tags := e.header["Etag"]; len(tags) == 1 && validETag(tags[0]) {
		e.etag = tags[0]
	}
	if modified := e.header["Last-Modified"]; len(modified) == 1 {
		if t, ok := parseDate(modified[0], now); ok {
			e.lastModified = t
		}
	}
}

func (e *entry) canValidate() bool { return e.etag != "" || !e.lastModified.IsZero() }

// understood are the statuses whose caching requirements this cache knows and
// follows, for must-understand (RFC 9111 section 5.2.2.3).
func understood(status int) bool {
	switch status {
	case 200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426, 429, 451,
		500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}

// neverStored are the fields of one connection, one proxy or one delivery (RFC
// 9111 section 3.1; Warning, section 5.5). Age is computed anew for each use.
// Trailers are not stored, so nor is the field that announces them.
var neverStored = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Transfer-Encoding": true,
	"Upgrade": true, "Trailer": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Authentication-Info": true, "Age": true, "Warning": true,
	"X-Request-Id": true, "Ratelimit": true, "Ratelimit-Policy": true,
}

// storedHeader copies the fields of a response that may be stored.
func storedHeader(h http.Header, d *directives, unstored globs) http.Header {
	stored := make(http.Header, len(h)+2)
	for name, values := range h {
		if neverStored[name] || strings.HasPrefix(name, "X-Ratelimit-") || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		if len(unstored) > 0 && unstored.match(foldName(name)) {
			continue
		}
		stored[name] = values
	}
	dropNominated(stored, h["Connection"])
	dropFields(stored, d.noCacheFields)
	dropFields(stored, d.privateFields)
	return stored.Clone()
}

// dropNominated removes the fields that Connection names, RFC 9110 section 7.6.1.
func dropNominated(h http.Header, connection []string) {
	for _, line := range connection {
		for name := range strings.SplitSeq(line, ",") {
			delete(h, http.CanonicalHeaderKey(trimOWS(name)))
		}
	}
}

func dropFields(h http.Header, names []string) {
	for _, name := range names {
		delete(h, name)
	}
}

// foldName spells a field name the way that lax app servers read it: lower
// case, with every other character than a letter or digit as "-".
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, name)
}

// declaredLength is the Content-Length of a response; -1 if it has none.
func declaredLength(h http.Header) int64 {
	lines := h["Content-Length"]
	if len(lines) == 0 {
		return -1
	}
	n, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

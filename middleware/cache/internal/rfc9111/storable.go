package rfc9111

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// Reason says why a response was not stored: the "detail" of Cache-Status. The
// empty Reason: it may be stored.
type Reason string

const (
	ReasonNoStore        Reason = "no-store"
	ReasonPrivate        Reason = "private"
	ReasonSetCookie      Reason = "set-cookie"
	ReasonVary           Reason = "vary"
	ReasonPartial        Reason = "partial"
	ReasonStatus         Reason = "status"
	ReasonNotUnderstood  Reason = "not-understood"
	ReasonRequestNoStore Reason = "request-no-store"
	ReasonAuthorization  Reason = "authorization"
	ReasonSession        Reason = "session"
	ReasonCookie         Reason = "cookie"
	ReasonNoFreshness    Reason = "no-freshness"
	ReasonControl        Reason = "control-field"
	ReasonHeader         Reason = "header-too-large"
	ReasonStream         Reason = "stream"
)

// Storing is what of the request and of the operator's policy bears on whether
// its response may be stored.
type Storing struct {
	Policy  *Policy
	Class   Class
	NoStore bool                       // the request's Cache-Control has no-store
	Field   func(name string) []string // the request's fields, as the origin sees them

	// Unstored reports whether a response field, spelt as [FoldName] does, is
	// never stored; Control whether one makes a response one user's. Nil: none.
	Unstored, Control func(name string) bool
}

// NewResponse decides whether a response may be stored by a shared cache (RFC
// 9111 section 3) and makes what is stored of its head. Otherwise it says why not.
func (s *Storing) NewResponse(a *Arrival) (*Response, Reason) {
	d, targeted := ResponseDirectives(a.Header)
	if why := s.forbidden(a, &d); why != "" {
		return nil, why
	}
	names, ok := VaryNames(a.Header)
	if !ok {
		return nil, ReasonVary
	}
	date := responseDate(a)
	lifetime, source := s.Policy.lifetime(a, &d, targeted, date)
	r := &Response{
		Vary: SelectorsOf(names, s.Field), Status: a.Status, Date: date, Received: a.Received,
		InitialAge: initialAge(a, date), Lifetime: lifetime, Source: source,
		NoCache: d.NoCache && s.Policy.ForceTTL == 0,
	}
	compareAsText(r.Vary, s.Field, a.Header["Content-Encoding"])
	if source == LifetimeAssigned {
		r.Lifetime += r.InitialAge // the policy counts from when the gateway received it
	}
	r.Variant = VariantOf(r.Vary)
	r.allowStale(s.Policy, &d)
	r.Admits = admitted(&d, source)
	if s.Class&^r.Admits != 0 {
		return nil, classReason(s.Class &^ r.Admits)
	}
	r.Header = storedHeader(a.Header, &d, s.Unstored)
	r.Header["Date"] = []string{FormatDate(date)}
	r.SetValidators(a.Received)

	if source == LifetimeNone && !d.Public && !heuristicStatus(a.Status) {
		return nil, ReasonNoFreshness
	}
	// What is stale at once and can never be validated is of no use.
	if (r.Lifetime <= r.InitialAge || r.NoCache) && !r.CanValidate() && r.Stale.WhileRevalidate == 0 && r.Stale.IfError == 0 {
		return nil, ReasonNoFreshness
	}
	if headerSize(r.Header) > maxStoredHeader || selectingSize(r.Vary) > maxSelecting {
		return nil, ReasonHeader
	}
	return r, ""
}

// maxStoredHeader bounds the fields of one stored response, in bytes.
const maxStoredHeader = 64 << 10

func headerSize(h http.Header) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// maxSelecting bounds the selecting fields of one stored response, in bytes.
// Clients decide on their length, and every look for the resource in Redis
// reads those of all its variants.
const maxSelecting = 8 << 10

func selectingSize(selectors []Selector) (n int) {
	for i := range selectors {
		n += len(selectors[i].Value)
	}
	return n
}

// forbidden gives the reason why a response must not be stored, whatever its
// freshness.
func (s *Storing) forbidden(a *Arrival, d *Directives) Reason {
	switch {
	case a.Status < 200 || a.Status > 599:
		return ReasonStatus
	case a.Status == 206 || a.Status == 416:
		return ReasonPartial
	case a.Status == 304 || a.Status == 412:
		return ReasonStatus // they answer this request's own preconditions
	case s.NoStore:
		return ReasonRequestNoStore
	case d.MustUnderstand && !understood(a.Status):
		return ReasonNotUnderstood
	case d.NoStore && !d.MustUnderstand: // section 5.2.2.3: must-understand overrides no-store
		return ReasonNoStore
	case d.Private:
		return ReasonPrivate
	case len(a.Header["Set-Cookie"]) > 0: // Set-Cookie2 is obsolete (RFC 6265)
		return ReasonSetCookie
	case endless(a.Header):
		return ReasonStream
	}
	if s.Control != nil {
		for name := range a.Header {
			if s.Control(FoldName(name)) {
				return ReasonControl
			}
		}
	}
	return ""
}

// endless reports whether a response is of a type that goes on until one side ends it: what
// comes first is of no use to a client that comes later.
func endless(h http.Header) bool {
	lines := h["Content-Type"]
	if len(lines) == 0 {
		return false
	}
	mediaType, _, _ := strings.Cut(lines[0], ";")
	mediaType = httpx.TrimOWS(mediaType)
	return strings.EqualFold(mediaType, "text/event-stream") || strings.EqualFold(mediaType, "multipart/x-mixed-replace")
}

// admitted is the classes of requests that may share a response, by its own
// directives.
func admitted(d *Directives, source LifetimeSource) Class {
	var c Class
	if d.Public {
		c |= WithSession
	}
	if d.Public || d.SMaxAge.Present || d.MustRevalidate {
		c |= WithAuthorization
	}
	// The policy's TTL is a guess about an app that may have sessions of its
	// own; only the origin's word is good enough for requests with cookies.
	// What has no freshness is validated with the request's own cookies.
	if source == LifetimeExplicit || source == LifetimeNone || d.Public {
		c |= WithCookie
	}
	return c
}

func classReason(c Class) Reason {
	switch {
	case c&WithSession != 0:
		return ReasonSession
	case c&WithAuthorization != 0:
		return ReasonAuthorization
	}
	return ReasonCookie
}

// allowStale sets what RFC 5861 and RFC 9111 section 4.2.4 say about serving
// the response stale: the response's word before the policy's.
func (r *Response) allowStale(p *Policy, d *Directives) {
	r.NeverStale = d.MustRevalidate || d.ProxyRevalidate || d.SMaxAge.Present
	if r.Source == LifetimeNone {
		r.NeverStale = r.NeverStale || (!d.Stale.WhileRevalidate.Valid && !d.Stale.IfError.Valid)
	} else {
		r.Stale = p.Stale
	}
	if d.Stale.WhileRevalidate.Valid {
		r.Stale.WhileRevalidate = d.Stale.WhileRevalidate.Value
	}
	if d.Stale.IfError.Valid {
		r.Stale.IfError = d.Stale.IfError.Value
	}
	if r.NeverStale || r.NoCache {
		r.Stale = Stale[time.Duration]{}
	}
}

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

// NeverStored reports whether a response field belongs to one connection, one
// proxy or one delivery (RFC 9111 section 3.1; Warning, section 5.5). Age is
// computed anew for each use. Trailers are not stored, so neither is the field
// that announces them.
func NeverStored(name string) bool { return neverStored[name] }

var neverStored = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Transfer-Encoding": true,
	"Upgrade": true, "Trailer": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Authentication-Info": true, "Age": true, "Warning": true,
	"X-Request-Id": true, "Ratelimit": true, "Ratelimit-Policy": true,
}

// storedHeader copies the fields of a response that may be stored.
func storedHeader(h http.Header, d *Directives, unstored func(name string) bool) http.Header {
	stored := make(http.Header, len(h)+2)
	for name, values := range h {
		if neverStored[name] || strings.HasPrefix(name, "X-Ratelimit-") || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		if unstored != nil && unstored(FoldName(name)) {
			continue
		}
		stored[name] = values
	}
	dropNominated(stored, h["Connection"])
	dropFields(stored, d.NoCacheFields)
	dropFields(stored, d.PrivateFields)
	return stored.Clone()
}

// dropNominated removes the fields that Connection names, RFC 9110 section 7.6.1.
func dropNominated(h http.Header, connection []string) {
	for name := range httpx.Tokens(connection) {
		delete(h, http.CanonicalHeaderKey(name))
	}
}

func dropFields(h http.Header, names []string) {
	for _, name := range names {
		delete(h, name)
	}
}

// FoldName spells a field name the way that lax app servers read it: lower
// case, with every other character than a letter or digit as "-".
func FoldName(name string) string {
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

// DeclaredLength is the Content-Length of a response in bytes; -1 if it has
// none that can be read.
func DeclaredLength(h http.Header) int64 {
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

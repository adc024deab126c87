package listener

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// http2Head collects the fields of one header section (HEADERS and its CONTINUATIONs), and makes a request of them.
// A connection has one, for one section after the other.
type http2Head struct {
	limits http1.Limits

	stream  uint32
	use     headUse
	ends    bool // it ends the stream, too
	selfish bool // the stream is to depend on itself
	open    bool // there is more of it to come
	frames  int
	bytes   int // compressed

	size       int // as HTTP/1 would have it
	over       bool
	longTarget bool
	mediaType  string // of the body, also where it is over: gRPC clients are answered in their own way
	fields     []hpack.HeaderField
	regular    int // fields in fields that are no pseudo-header fields
}

// headUse is what a header section is for.
type headUse uint8

const (
	forRequest headUse = iota
	forTrailer
	forNothing // the stream is gone; the section is read for the table's sake
)

// A section's bounds beside Limits. Compressed, it may be twice as long, since it need not be compressed well.
const (
	mostContinuations = 64
	mostPinnedFields  = 64 // for how many fields the room is kept for the next section
)

func (h *http2Head) begin(stream uint32, use headUse, ends bool) {
	*h = http2Head{limits: h.limits, stream: stream, use: use, ends: ends, fields: h.fields[:0]}
}

// forget drops the section's fields.
func (h *http2Head) forget() {
	clear(h.fields)
	if cap(h.fields) > mostPinnedFields {
		h.fields = nil
	}
}

// fragment notes a piece of the section, and reports whether it is within its bounds.
func (h *http2Head) fragment(n int) bool {
	h.frames++
	h.bytes += n
	return h.frames <= mostContinuations && h.bytes <= 2*h.limits.Head
}

// emit takes a field from the decoder.
func (h *http2Head) emit(f hpack.HeaderField) {
	h.size += len(f.Name) + len(f.Value) + len(": \r\n")
	if f.Name != "cookie" && !f.IsPseudo() { // browsers send each cookie in a field of its own
		h.regular++
	}
	if f.Name == "content-type" && len(f.Value) < 1<<8 {
		h.mediaType = f.Value
	}
	if h.size > h.limits.Head || h.regular > h.limits.Fields {
		h.over = true
		h.longTarget = h.longTarget || f.Name == ":path" && len(f.Value) >= h.limits.Head
		return
	}
	if h.use != forNothing {
		h.fields = append(h.fields, f)
	}
}

// errMalformed is why a request is malformed as RFC 9113 section 8.1.1 has it: its stream is reset.
type errMalformed string

func (e errMalformed) Error() string { return "listener: malformed HTTP/2 request: " + string(e) }

// pseudoFields are the pseudo-header fields of a request, RFC 9113 section 8.3.1.
type pseudoFields struct {
	method, scheme, authority, path string
	authorityGiven                  bool
}

// takePseudo takes the pseudo-header fields, which come first.
func (h *http2Head) takePseudo() (p pseudoFields, rest []hpack.HeaderField, err error) {
	for i, f := range h.fields {
		if !f.IsPseudo() {
			return p, h.fields[i:], nil
		}
		var at *string
		switch f.Name {
		case ":method":
			at = &p.method
		case ":scheme":
			at = &p.scheme
		case ":authority":
			at, p.authorityGiven = &p.authority, true
		case ":path":
			at = &p.path
		default:
			return p, nil, errMalformed("an unknown pseudo-header field")
		}
		if *at != "" {
			return p, nil, errMalformed("a pseudo-header field is there twice")
		}
		if *at = f.Value; f.Value == "" && at != &p.authority {
			return p, nil, errMalformed("a pseudo-header field is empty")
		}
	}
	return p, nil, nil
}

// request makes the request of the section. Its error is an errMalformed, or a *RequestError that the client is to be told;
// the request is then as far as it is known.
func (h *http2Head) request(x *http2Stream) (*http.Request, error) {
	r := (&http.Request{}).WithContext(x.conn.server.options.Context(&x.ctx))
	r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	r.Body, r.URL = http.NoBody, &x.url
	r.RemoteAddr, r.TLS = x.conn.remote, x.conn.tls
	p, rest, err := h.takePseudo()
	if err != nil {
		return r, err
	}
	r.Method, r.Host = p.method, p.authority
	check, err := h.header(r, rest)
	if err != nil {
		return r, err
	}
	if h.over {
		r.Header.Set("Content-Type", h.mediaType)
		return r, h.tooLarge()
	}
	if err := p.target(r, &x.url); err != nil {
		return r, err
	}
	if err := findAuthority(r); err != nil {
		return r, err
	}
	return r, h.framing(r, check)
}

func (h *http2Head) tooLarge() *RequestError {
	if h.longTarget {
		return &RequestError{Status: http.StatusRequestURITooLong, Reason: "the request's target is too long"}
	}
	if h.regular > h.limits.Fields {
		return &RequestError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "there are too many header fields"}
	}
	return refusalOf(http1.HeadTooLarge(h.limits.Head))
}

// header makes the request's header of the fields behind the pseudo-header fields.
func (h *http2Head) header(r *http.Request, fields []hpack.HeaderField) (*http1.FieldCheck, error) {
	var check http1.FieldCheck
	r.Header = make(http.Header, len(fields))
	values := make([]string, len(fields)) // one allocation for all
	var refused error
	for i, f := range fields {
		if err := wellFormed(f); err != nil {
			return &check, err
		}
		value := httpx.TrimOWS(f.Value)
		if err := check.Field(f.Name, value); err != nil && refused == nil {
			refused = refusalOf(err)
		}
		key := textproto.CanonicalMIMEHeaderKey(f.Name)
		already := r.Header[key]
		switch {
		case already == nil:
			values[i] = value
			r.Header[key] = values[i : i+1 : i+1]
		case key == "Cookie": // RFC 9113 section 8.2.3
			already[0] += "; " + value
		default:
			r.Header[key] = append(already, value)
		}
	}
	return &check, refused
}

// wellFormed judges a field as RFC 9113 section 8.2 does.
func wellFormed(f hpack.HeaderField) error {
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return errMalformed("a field belongs to HTTP/1 connections")
	case "te":
		if f.Value != "trailers" {
			return errMalformed("TE is not \"trailers\"")
		}
	}
	if f.IsPseudo() {
		return errMalformed("a pseudo-header field comes behind others")
	}
	if !httpx.IsToken(f.Name) || strings.ContainsFunc(f.Name, func(c rune) bool { return 'A' <= c && c <= 'Z' }) {
		return errMalformed("a field's name is none")
	}
	if !http1.IsClean(f.Value) {
		return errMalformed("a field's value has a control character")
	}
	return nil
}

// target understands :method, :scheme and :path, RFC 9113 section 8.3.1.
func (p *pseudoFields) target(r *http.Request, room *url.URL) error {
	if p.method == "" {
		return errMalformed("there is no :method")
	}
	if !httpx.IsToken(p.method) {
		return bad("the method is malformed")
	}
	if p.method == http.MethodConnect { // section 8.5
		if p.scheme != "" || p.path != "" || p.authority == "" {
			return errMalformed("a CONNECT has an authority, and neither scheme nor path")
		}
		room.Host = p.authority
		r.RequestURI = p.authority
		return nil
	}
	if p.scheme == "" || p.path == "" {
		return errMalformed("there is no :scheme, or no :path")
	}
	if p.scheme != "http" && p.scheme != "https" {
		return bad("the scheme is neither http nor https")
	}
	asterisk := p.method == http.MethodOptions && p.path == "*"
	if p.path[0] != '/' && !asterisk || strings.ContainsAny(p.path, " \t#") || !http1.IsClean(p.path) {
		return bad("the path is malformed")
	}
	r.RequestURI = p.path
	if r.URL = http1.ParseTarget(p.path, room); r.URL == nil {
		return bad("the path is malformed")
	}
	return nil
}

// findAuthority finds the request's host, and takes Host out of the header, as over HTTP/1.
func findAuthority(r *http.Request) error {
	hosts := r.Header["Host"]
	if r.Host == "" && len(hosts) == 1 {
		r.Host = hosts[0]
	}
	if r.Host == "" {
		return bad("there is no authority")
	}
	if !httpguts.ValidHostHeader(r.Host) || strings.Contains(r.Host, "@") {
		return bad("the authority is malformed")
	}
	if slices.ContainsFunc(hosts, func(host string) bool { return !strings.EqualFold(host, r.Host) }) {
		return bad("Host differs from the authority")
	}
	delete(r.Header, "Host")
	return nil
}

// framing says how long the body is, and what comes behind it.
func (h *http2Head) framing(r *http.Request, check *http1.FieldCheck) error {
	length, given := check.Length()
	switch {
	case h.ends && length > 0:
		return errMalformed("there is a Content-Length, and no body")
	case h.ends || given:
		r.ContentLength = length
	default:
		r.ContentLength = -1
	}
	http1.PragmaMeansNoCache(r.Header)
	if _, err := http1.Expectation(r.Header); err != nil {
		return refusalOf(err)
	}
	if h.ends {
		return nil
	}
	var err *http1.Error
	if r.Trailer, err = http1.AnnouncedTrailer(r.Header); err != nil {
		return refusalOf(err)
	}
	return nil
}

// trailer makes a trailer section of the fields.
func (h *http2Head) trailer() (http.Header, error) {
	if h.over {
		return nil, errMalformed("the trailer is too large")
	}
	trailer := make(http.Header, len(h.fields))
	var check http1.FieldCheck
	for _, f := range h.fields {
		if err := wellFormed(f); err != nil {
			return nil, err
		}
		if check.Field(f.Name, f.Value) != nil || !http1.TrailerAllowed(f.Name) {
			return nil, errMalformed("a field does not belong into a trailer")
		}
		key := textproto.CanonicalMIMEHeaderKey(f.Name)
		trailer[key] = append(trailer[key], httpx.TrimOWS(f.Value))
	}
	return trailer, nil
}

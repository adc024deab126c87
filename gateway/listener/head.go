package listener

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// headScanner finds the end of a request's head (its request line and header,
// RFC 9112 section 2.1), however it arrives. What makes a head hopeless before it is complete is
// found at once: a line's wrong end, too many lines, another protocol.
type headScanner struct {
	line  int // where the line that has not ended begins
	lines int // that have ended
}

// next looks at all that has arrived and returns the head's length once it is
// complete, or else 0.
func (s *headScanner) next(data []byte, l limits) (int, *RequestError) {
	for {
		i := bytes.IndexByte(data[s.line:], '\n')
		if i < 0 {
			if len(data) > l.header {
				return 0, tooLarge(l.header)
			}
			return 0, nil
		}
		end := s.line + i + 1
		if end > l.header {
			return 0, tooLarge(l.header)
		}
		line := data[s.line:end]
		if len(line) < 2 || line[len(line)-2] != '\r' {
			return 0, bad("a line ends with a bare line feed")
		}
		line = line[:len(line)-2]
		s.line = end
		if s.lines++; s.lines == 1 {
			if err := checkVersion(line); err != nil {
				return 0, err
			}
			continue
		}
		if len(line) == 0 {
			return end, nil
		}
		if s.lines > l.fields+1 {
			return 0, &RequestError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "there are too many header lines"}
		}
	}
}

type limits struct {
	header int // bytes of request line and header
	fields int // header lines
}

// preface is HTTP/2's connection preface, RFC 9113 section 3.4. Its first line
// looks like a request's.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// checkVersion looks at the end of a request line.
func checkVersion(line []byte) *RequestError {
	const version = " HTTP/1.1"
	at := len(line) - len(version)
	if at < 0 || string(line[at:at+6]) != " HTTP/" || !isDigit(line[at+6]) || line[at+7] != '.' || !isDigit(line[at+8]) {
		return bad("the request line is malformed")
	}
	if line[at+6] != '1' {
		return &RequestError{Status: http.StatusHTTPVersionNotSupported, Reason: "this version of HTTP is not served here"}
	}
	return nil
}

// head is a request's head, understood. It can be understood in one way only:
// whatever two parties might read differently is refused.
type head struct {
	method, target, proto string
	minor                 int
	url                   *url.URL // plainURL, mostly
	host                  string
	header                http.Header
	trailer               http.Header // announced, without values; nil where none is
	body                  framing

	close, keepAlive bool // what Connection says
	expect           bool // 100 (Continue)

	// Room for what most requests need, so that it need not be allocated piece by piece.
	plainURL url.URL
	values   [8]string
}

// framing is how long a request's body is: a number of bytes, or chunked.
type framing int64

const chunked framing = -1

// largeHead is where a value gets a copy of its own, so that whoever keeps it does
// not keep all of a large head.
const largeHead = 4 << 10

// parse reads a head that headScanner has found the end of. It copies the
// bytes once: all strings of the request are parts of one, mostly.
func (h *head) parse(data []byte, lines int) *RequestError {
	line, rest, ok := cutLine(string(data))
	if !ok {
		return bad("a carriage return stands alone")
	}
	if err := h.requestLine(line); err != nil {
		return err
	}
	fields := lines - 2 // without the request line, and the empty line
	h.header = make(http.Header, fields)
	values := h.values[:] // one for each field: most have no more
	if fields > len(values) {
		values = make([]string, fields)
	}
	var f fieldsSeen
	for i := range fields {
		if line, rest, ok = cutLine(rest); !ok {
			return bad("a carriage return stands alone")
		}
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		if err := f.framing(name, value); err != nil {
			return err
		}
		if len(data) > largeHead {
			value = strings.Clone(value)
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		if already := h.header[key]; already != nil {
			h.header[key] = append(already, value)
			continue
		}
		values[i] = value
		h.header[key] = values[i : i+1 : i+1]
	}
	var err *RequestError
	if h.body, err = f.decide(h.minor); err != nil {
		return err
	}
	return h.interpret()
}

// cutLine cuts a head at the end of its first line. It is false where a carriage
// return is none.
func cutLine(s string) (line, rest string, ok bool) {
	i := strings.IndexByte(s, '\r')
	if i < 0 || i+1 == len(s) || s[i+1] != '\n' {
		return "", "", false
	}
	return s[:i], s[i+2:], true
}

// requestLine reads method, target and version, RFC 9112 section 3.
func (h *head) requestLine(line string) *RequestError {
	const malformed = "the request line is malformed"
	method, rest, ok1 := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) || target == "" || len(proto) != len("HTTP/1.1") {
		return bad(malformed)
	}
	if !h.parseTarget(method, target) {
		return bad(malformed)
	}
	h.method, h.target, h.proto = known(method), target, known(proto)
	h.minor = int(proto[len(proto)-1] - '0')
	return nil
}

// known returns a constant for what is known, so that whoever keeps a method
// keeps nothing else.
func known(s string) string {
	for _, k := range [...]string{
		http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete,
		http.MethodPatch, http.MethodOptions, "HTTP/1.1", "HTTP/1.0",
	} {
		if s == k {
			return k
		}
	}
	return s
}

// parseTarget understands a request's target as net/http does.
func (h *head) parseTarget(method, target string) bool {
	if h.plainURL.Path, h.plainURL.RawQuery = plainTarget(target); h.plainURL.Path != "" {
		h.url = &h.plainURL
		return true
	}
	text := target
	authority := method == http.MethodConnect && target[0] != '/'
	if authority { // RFC 9112 section 3.2.3
		text = "http://" + target
	}
	u, err := url.ParseRequestURI(text)
	if err != nil {
		return false
	}
	if authority {
		u.Scheme = ""
	}
	h.url = u
	return true
}

// plainTarget is the quick way for most targets: a path that needs no
// decoding, and a query. The path is empty where it is not of that kind.
func plainTarget(target string) (path, query string) {
	if target[0] != '/' {
		return "", ""
	}
	for i := range len(target) {
		c := target[i]
		if isAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '/' && (i != 1) {
			continue
		}
		query := target[i:]
		if c != '?' || len(query) == 1 || !isClean(query) || strings.IndexByte(query, '\t') >= 0 {
			return "", ""
		}
		return target[:i], query[1:]
	}
	return target, ""
}

// splitField takes a header line apart, RFC 9112 section 5.
func splitField(line string) (name, value string, err *RequestError) {
	if line != "" && (line[0] == ' ' || line[0] == '\t') {
		return "", "", bad("a header line is folded")
	}
	colon := strings.IndexByte(line, ':')
	if colon < 0 {
		return "", "", bad("a header line has no colon")
	}
	name, value = line[:colon], trim(line[colon+1:])
	if !isToken(name) || !isClean(value) {
		return name, value, bad("a header line is malformed")
	}
	return name, value, nil
}

// isClean reports whether s has no control character but tabs, RFC 9110
// section 5.5. It looks at eight bytes at a time.
func isClean(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56 // one load
		low := (v - ones*' ') &^ v // a byte below a space, or behind one
		del := v ^ ones*0x7f
		if (low|(del-ones)&^del)&high != 0 && !isCleanSlow(s[:8]) {
			return false
		}
		s = s[8:]
	}
	return isCleanSlow(s)
}

func isCleanSlow(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// fieldsSeen are the header lines that have a say in how long the body is.
type fieldsSeen struct {
	te, cl bool
	body   framing
}

// framing takes a header line, and refuses what another party might take for
// one that frames the body.
func (f *fieldsSeen) framing(name, value string) *RequestError {
	switch {
	case resembles(name, "transfer-encoding"):
		if !strings.EqualFold(name, "transfer-encoding") {
			return bad("Transfer-Encoding is misspelt")
		}
		if f.te {
			return bad("there are two Transfer-Encoding lines")
		}
		f.te, f.body = true, chunked
		return transferEncoding(value)
	case resembles(name, "content-length"):
		if !strings.EqualFold(name, "content-length") {
			return bad("Content-Length is misspelt")
		}
		if f.cl {
			return bad("there are two Content-Length lines")
		}
		f.cl = true
		n, ok := parseLength(value)
		if !ok {
			return bad("Content-Length is not a number")
		}
		if !f.te {
			f.body = n
		}
	}
	return nil
}

// decide says how long the body is, RFC 9112 section 6.3.
func (f *fieldsSeen) decide(minor int) (framing, *RequestError) {
	switch {
	case f.te && f.cl:
		return 0, bad("there are both Content-Length and Transfer-Encoding")
	case f.te && minor == 0:
		return 0, bad("there is a Transfer-Encoding in an HTTP/1.0 request")
	}
	return f.body, nil
}

// transferEncoding judges the value of the only Transfer-Encoding line.
func transferEncoding(value string) *RequestError {
	if strings.EqualFold(value, "chunked") {
		return nil
	}
	// RFC 9112 section 6.1: codings that we do not know are 501 as long as the body
	// has an end, which is to say that chunked is the last one and not used twice.
	codings := strings.Split(value, ",")
	for i, c := range codings {
		if c = trim(c); !isToken(c) || strings.EqualFold(c, "chunked") != (i == len(codings)-1) {
			return bad("Transfer-Encoding is not \"chunked\"")
		}
	}
	return &RequestError{Status: http.StatusNotImplemented, Reason: "of the transfer codings, only \"chunked\" is supported"}
}

// interpret takes from the header what is for us, and leaves it as handlers know it
// from net/http: without Host, Trailer and Transfer-Encoding.
func (h *head) interpret() *RequestError {
	hosts := h.header["Host"]
	switch {
	case len(hosts) > 1:
		return bad("there are two Host lines")
	case len(hosts) == 1:
		h.host = hosts[0]
		delete(h.header, "Host")
	case h.minor > 0 && h.method != http.MethodConnect:
		return bad("there is no Host")
	}
	if !httpguts.ValidHostHeader(h.host) {
		return bad("the Host is malformed")
	}
	if h.url.Host != "" { // RFC 9112 section 3.2.2: the target's wins
		h.host = h.url.Host
	}
	if h.body == chunked {
		delete(h.header, "Transfer-Encoding")
		if err := h.announcedTrailer(); err != nil {
			return err
		}
	}
	connection := h.header["Connection"]
	h.close = httpguts.HeaderValuesContainsToken(connection, "close")
	h.keepAlive = httpguts.HeaderValuesContainsToken(connection, "keep-alive")
	if pragma := h.header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && h.header["Cache-Control"] == nil {
		h.header["Cache-Control"] = []string{"no-cache"} // RFC 9111 section 5.4
	}
	if upgrade := h.header["Upgrade"]; upgrade != nil {
		dropH2CUpgrade(h.header, upgrade)
	}
	return h.expectation()
}

// announcedTrailer makes ready for the trailer fields that are to come.
func (h *head) announcedTrailer() *RequestError {
	lines, ok := h.header["Trailer"]
	if !ok {
		return nil
	}
	delete(h.header, "Trailer")
	h.trailer = http.Header{}
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = trim(name); name == "" {
				continue
			}
			if !trailerAllowed(name) {
				return bad("Trailer announces a field that would change how the request is framed or routed")
			}
			h.trailer[textproto.CanonicalMIMEHeaderKey(name)] = nil
		}
	}
	return nil
}

// trailerAllowed: RFC 9110 section 6.5.1: a trailer must not have a say in
// framing or routing.
func trailerAllowed(name string) bool {
	for _, forbidden := range []string{"transfer-encoding", "content-length", "host", "trailer"} {
		if resembles(name, forbidden) {
			return false
		}
	}
	return true
}

// expectation reads Expect, RFC 9110 section 10.1.1.
func (h *head) expectation() *RequestError {
	lines := h.header["Expect"]
	if len(lines) == 0 || lines[0] == "" {
		return nil
	}
	if !httpguts.HeaderValuesContainsToken(lines, "100-continue") {
		return &RequestError{Status: http.StatusExpectationFailed, Reason: "of the expectations, only \"100-continue\" is supported"}
	}
	h.expect = h.minor > 0 && h.body != 0
	return nil
}

// dropH2CUpgrade makes the gateway deaf to the upgrade from HTTP/1.1 to h2c,
// which RFC 9113 has abolished: an app server that agreed to it would speak
// past every rule of the gateway, over a connection that looks upgraded.
func dropH2CUpgrade(h http.Header, upgrade []string) {
	for _, line := range upgrade {
		for protocol := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
			if strings.EqualFold(name, "h2c") || strings.EqualFold(name, "h2") || strings.EqualFold(name, "http") {
				delete(h, "Upgrade")
				delete(h, "Http2-Settings")
				return
			}
		}
	}
}

package http1

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

// RequestHead is a request's head, understood. It can be understood in one way only:
// whatever two parties might read differently is refused.
//
// It is large, so that most requests need no further allocations, and must not be copied.
type RequestHead struct {
	Method, Target, Proto string
	Minor                 int // of the version: 0 or 1, mostly
	URL                   *url.URL
	Host                  string      // the target's authority, or else the Host field
	Header                http.Header // without Host, and without Trailer and Transfer-Encoding where the body is chunked
	Trailer               http.Header // announced, without values; nil where none is
	Body                  Framing

	Close, KeepAlive bool // what Connection says
	Expect           bool // 100 (Continue), for a body that there is

	plainURL url.URL
	values   [8]string
}

// Parse reads a head that a HeadScanner has found the end of, with so many header lines. It copies the
// bytes once: all strings of the request are parts of one, mostly.
func (h *RequestHead) Parse(data []byte, fields int) *Error {
	line, rest, ok := cutLine(string(data))
	if !ok {
		return errBareCR
	}
	if err := h.requestLine(line); err != nil {
		return err
	}
	var f framingFields
	var err *Error
	if h.Header, err = f.parseFields(rest, fields, h.values[:]); err != nil {
		return err
	}
	if h.Body, err = f.ofRequest(h.Minor); err != nil {
		return err
	}
	return h.interpret()
}

// requestLine reads method, target and version, RFC 9112 section 3.
func (h *RequestHead) requestLine(line string) *Error {
	method, rest, ok1 := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !httpx.IsToken(method) || target == "" || len(proto) != len("HTTP/1.1") || !h.parseTarget(method, target) {
		return malformed("the request line is malformed")
	}
	if strings.IndexByte(target, '#') >= 0 { // section 3.2 has no fragment; app servers cut it off, or take it for the path's
		return malformed("the request target has a fragment")
	}
	h.Method, h.Target, h.Proto = constant(method), target, constant(proto)
	h.Minor = int(proto[len(proto)-1] - '0')
	return nil
}

// constant returns a constant for what is common, so that keeping a method keeps nothing else.
func constant(s string) string {
	for _, k := range [...]string{
		http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete,
		http.MethodPatch, http.MethodOptions, httpx.MethodQuery, "HTTP/1.1", "HTTP/1.0",
	} {
		if s == k {
			return k
		}
	}
	return s
}

// parseTarget understands a request's target as net/http does.
func (h *RequestHead) parseTarget(method, target string) bool {
	if method != http.MethodConnect || target[0] == '/' {
		h.URL = ParseTarget(target, &h.plainURL)
		return h.URL != nil
	}
	u, err := url.ParseRequestURI("http://" + target) // RFC 9112 section 3.2.3
	if err != nil {
		return false
	}
	u.Scheme = ""
	h.URL = u
	return true
}

// ParseTarget understands a target that is no CONNECT's, as net/http does, or returns nil. Most targets go into room, which
// must be empty, and need no allocation.
func ParseTarget(target string, room *url.URL) *url.URL {
	if room.Path, room.RawQuery = plainTarget(target); room.Path != "" {
		return room
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	return u
}

// plainTarget is the quick way for most targets: a path that needs no
// decoding, and a query. The path is empty where it is not of that kind.
func plainTarget(target string) (path, query string) {
	if target[0] != '/' {
		return "", ""
	}
	for i := range len(target) {
		c := target[i]
		if httpx.IsAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '/' && (i != 1) {
			continue
		}
		query := target[i:]
		if c != '?' || len(query) == 1 || !IsClean(query) || strings.IndexByte(query, '\t') >= 0 {
			return "", ""
		}
		return target[:i], query[1:]
	}
	return target, ""
}

// interpret takes from the header what is for the connection, and leaves it as handlers know it
// from net/http: without Host, Trailer and Transfer-Encoding.
func (h *RequestHead) interpret() *Error {
	if err := h.findHost(); err != nil {
		return err
	}
	if h.Body == Chunked {
		delete(h.Header, "Transfer-Encoding")
		var err *Error
		if h.Trailer, err = AnnouncedTrailer(h.Header); err != nil {
			return err
		}
	}
	connection := h.Header["Connection"]
	h.Close = httpx.HasToken(connection, "close")
	h.KeepAlive = httpx.HasToken(connection, "keep-alive")
	PragmaMeansNoCache(h.Header)
	if upgrade := h.Header["Upgrade"]; upgrade != nil {
		dropH2CUpgrade(h.Header, upgrade)
	}
	expected, err := Expectation(h.Header)
	h.Expect = expected && h.Minor > 0 && h.Body != 0
	return err
}

// findHost takes the only Host out of the header, RFC 9112 section 3.2.
func (h *RequestHead) findHost() *Error {
	hosts := h.Header["Host"]
	switch {
	case len(hosts) > 1:
		return malformed("there are two Host lines")
	case len(hosts) == 1:
		h.Host = hosts[0]
		delete(h.Header, "Host")
	case h.Minor > 0 && h.Method != http.MethodConnect:
		return malformed("there is no Host")
	}
	if !httpguts.ValidHostHeader(h.Host) {
		return malformed("the Host is malformed")
	}
	if h.URL.Host != "" { // section 3.2.2: the target's wins
		h.Host = h.URL.Host
	}
	return nil
}

// dropH2CUpgrade drops the upgrade from HTTP/1.1 to h2c,
// which RFC 9113 has abolished: an app server that agreed to it would speak
// past every rule of the gateway, over a connection that looks upgraded.
func dropH2CUpgrade(h http.Header, upgrade []string) {
	for protocol := range httpx.Tokens(upgrade) {
		name, _, _ := strings.Cut(protocol, "/")
		if strings.EqualFold(name, "h2c") || strings.EqualFold(name, "h2") || strings.EqualFold(name, "http") {
			delete(h, "Upgrade")
			delete(h, "Http2-Settings")
			return
		}
	}
}

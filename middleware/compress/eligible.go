package compress

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// Rule is a Compression that was checked, in the form that responses need. It is safe for concurrent use.
type Rule struct {
	types    map[string]bool // in full, in lower case
	kinds    map[string]bool // text, of text/*
	suffixes map[string]bool // json, of +json
	min      int64
	private  bool
	encoders *Encoders
}

// Compile checks settings. The encoders are those of all rules of a process.
func Compile(s Compression, encoders *Encoders) (*Rule, error) {
	s.SetDefaults()
	if err := problem.Error("compress", s.Validate()); err != nil {
		return nil, err
	}
	if encoders == nil {
		return nil, fmt.Errorf("compress: there are no encoders; make them with NewEncoders")
	}
	r := &Rule{types: map[string]bool{}, kinds: map[string]bool{}, suffixes: map[string]bool{}, min: s.Min, private: s.Private, encoders: encoders}
	if s.Types == nil {
		s.Types = defaultTypes
	}
	for _, t := range s.Types {
		t = strings.ToLower(t)
		if suffix, ok := strings.CutPrefix(t, "+"); ok {
			r.suffixes[suffix] = true
		} else if kind, ok := strings.CutSuffix(t, "/*"); ok {
			r.kinds[kind] = true
		} else {
			r.types[t] = true
		}
	}
	return r, nil
}

// Encoders returns the encoders of the rule.
func (r *Rule) Encoders() *Encoders { return r.encoders }

// gains reports whether responses of a media type are compressed. Streams of messages, which must arrive one by one, are
// only where their type is listed in full.
func (r *Rule) gains(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(httpx.TrimOWS(media))
	if r.types[media] {
		return true
	}
	kind, name, ok := strings.Cut(media, "/")
	if !ok || media == "text/event-stream" || strings.HasPrefix(media, "application/grpc") {
		return false
	}
	_, suffix, _ := strings.Cut(name, "+")
	for strings.Contains(suffix, "+") {
		_, suffix, _ = strings.Cut(suffix, "+")
	}
	return r.kinds[kind] || r.suffixes[suffix]
}

// digests are fields that would no longer be true of a response that is encoded on the way.
var digests = []string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Signature-Input"}

// eligible reports whether a response may be compressed, for a client that accepts it. anySize: a short one may be, too.
func (r *Rule) eligible(status int, h http.Header, anySize bool) bool {
	switch {
	case status < 200 || status == http.StatusNoContent || status == http.StatusResetContent ||
		status == http.StatusPartialContent || status == http.StatusNotModified:
		return false
	case len(h["Content-Encoding"]) > 0 || len(h["Content-Range"]) > 0:
		return false
	case len(h["Content-Type"]) != 1 || !r.gains(h["Content-Type"][0]):
		return false
	case hasDirective(h["Cache-Control"], "no-transform"):
		return false
	case !r.private && secretResponse(h):
		return false
	}
	if n, known := contentLength(h); known && (n == 0 || n < r.min && !anySize) {
		return false
	}
	for _, name := range digests {
		if len(h[name]) > 0 || len(h["Trailer"]) > 0 && httpx.HasToken(h["Trailer"], name) {
			return false
		}
	}
	return true
}

// secretResponse reports whether a response says by its fields that it is one user's.
func secretResponse(h http.Header) bool {
	return len(h["Set-Cookie"]) > 0 || hasDirective(h["Cache-Control"], "private") || hasDirective(h["Cache-Control"], "no-store")
}

// SecretRequest reports whether the response to a request may be one user's, as its fields tell.
func SecretRequest(h http.Header) bool {
	return len(h["Authorization"]) > 0 || len(h["Cookie"]) > 0 || len(h["X-Api-Key"]) > 0
}

func hasDirective(lines []string, name string) bool {
	for member := range httpx.Members(lines) {
		directive, _, _ := strings.Cut(member, "=")
		if httpx.EqualFold(httpx.TrimOWS(directive), name) {
			return true
		}
	}
	return false
}

func contentLength(h http.Header) (n int64, known bool) {
	lines := h["Content-Length"]
	if len(lines) != 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(lines[0], 10, 64)
	return n, err == nil
}

// addVary says that the response is another one for another Accept-Encoding.
func addVary(h http.Header) {
	lines := h["Vary"]
	for name := range httpx.Tokens(lines) {
		if name == "*" || httpx.EqualFold(name, "Accept-Encoding") {
			return
		}
	}
	h["Vary"] = append(lines[:len(lines):len(lines)], "Accept-Encoding")
}

// describe changes the fields of a response to those of its encoded form. length is -1 where it is not known.
func describe(h http.Header, c httpx.Coding, length int64) {
	addVary(h)
	h["Content-Encoding"] = []string{c.String()}
	delete(h, "Accept-Ranges") // ranges are those of the response that is not encoded
	if delete(h, "Content-Length"); length >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if tags := h["Etag"]; len(tags) == 1 {
		h["Etag"] = []string{markTag(tags[0], c)}
	}
}

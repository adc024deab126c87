package cache

import (
	"net/http"
	"strconv"
	"time"
)

// outcomeStatus is one Cache-Status list member, RFC 9211 section 2.
type outcomeStatus struct {
	hit       bool
	ttl       time.Duration
	hasTTL    bool
	fwd       string
	fwdStatus int // of the origin's answer, where the client got another one
	stored    bool
	collapsed bool
	detail    string // a token
}

const (
	fwdBypass   = "bypass"
	fwdMethod   = "method"
	fwdURIMiss  = "uri-miss"
	fwdVaryMiss = "vary-miss"
	fwdStale    = "stale"
	fwdRequest  = "request"
	fwdPartial  = "partial"
)

func (s *outcomeStatus) append(b []byte, name string) []byte {
	b = append(b, name...)
	if s.hit {
		b = append(b, "; hit"...)
	}
	if s.fwd != "" {
		b = append(append(b, "; fwd="...), s.fwd...)
	}
	if s.fwdStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.fwdStatus), 10)
	}
	if s.hasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), int64(s.ttl/time.Second), 10)
	}
	if s.stored {
		b = append(b, "; stored"...)
	}
	if s.collapsed {
		b = append(b, "; collapsed"...)
	}
	if s.detail != "" {
		b = append(append(b, "; detail="...), s.detail...)
	}
	return b
}

// describe says of a stored response how old it is, and what the cache made of
// the request. The texts of both fields are one allocation, and so are the
// slices that an http.Header wants around them.
func (s *outcomeStatus) describe(h http.Header, age time.Duration, name string) {
	var buf [128]byte
	text := strconv.AppendInt(buf[:0], int64(age/time.Second), 10)
	cut := len(text)
	both := string(s.append(text, name))
	values := [2]string{both[:cut], both[cut:]}
	h["Age"] = values[0:1:1]
	if old := h["Cache-Status"]; len(old) > 0 {
		h["Cache-Status"] = append(old[:len(old):len(old)], values[1])
		return
	}
	h["Cache-Status"] = values[1:2:2]
}

// set adds the member after those of the caches nearer the origin.
func (s *outcomeStatus) set(h http.Header, name string) {
	var buf [96]byte
	member := string(s.append(buf[:0], name))
	if old := h["Cache-Status"]; len(old) > 0 {
		h["Cache-Status"] = append(old[:len(old):len(old)], member)
		return
	}
	h["Cache-Status"] = []string{member}
}

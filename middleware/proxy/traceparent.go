package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

// EnsureTraceparent leaves a valid W3C traceparent alone and otherwise starts
// a trace; it returns the trace's ID, 32 hex digits. A tracestate belongs to
// its traceparent and is removed with an invalid one.
//
// Forwarding applies the same rule to every request. A program that wants the
// trace's ID before that, for its own log, calls this on the request's header
// first; forwarding then passes on what it finds.
//
// A trace that starts here is marked as sampled: the gateway records no spans,
// and an app server's "parent-based" sampler, the usual default, would
// otherwise drop every trace that starts at the gateway.
func EnsureTraceparent(h http.Header) string { return ensureTraceparent(h, nil) }

// ensureTraceparent is EnsureTraceparent, with room for the value if the
// caller has one to spare.
func ensureTraceparent(h http.Header, slot *[1]string) string {
	if id := traceID(h); id != "" {
		return id
	}
	return startTrace(h, slot)
}

// traceID is the trace's ID of a valid traceparent, or empty.
func traceID(h http.Header) string {
	if values := h["Traceparent"]; len(values) == 1 && validTraceparent(values[0]) {
		return values[0][3:35]
	}
	return ""
}

// startTrace sets a new traceparent, in slot if the caller has one to spare.
func startTrace(h http.Header, slot *[1]string) string {
	var id [24]byte
	for i := 0; i < len(id); i += 8 {
		binary.BigEndian.PutUint64(id[i:], rand.Uint64()|1) // an ID of zeros is invalid
	}
	text := [55]byte{0: '0', 1: '0', 2: '-', 35: '-', 52: '-', 53: '0', 54: '1'}
	hex.Encode(text[3:], id[:16])
	hex.Encode(text[36:], id[16:])
	if slot == nil {
		slot = new([1]string)
	}
	slot[0] = string(text[:])
	h["Traceparent"] = slot[:]
	delete(h, "Tracestate")
	return slot[0][3:35]
}

// validTraceparent follows W3C Trace Context section 3.2: version, trace ID,
// parent ID and flags in lower-case hex, the IDs not zero. Versions after 00
// may go on after another hyphen.
func validTraceparent(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	if version := s[:2]; !isHex(version) || version == "ff" || version == "00" && len(s) != 55 {
		return false
	}
	if len(s) > 55 && s[55] != '-' {
		return false
	}
	return isHex(s[3:35]) && !isZeros(s[3:35]) && isHex(s[36:52]) && !isZeros(s[36:52]) && isHex(s[53:55])
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZeros(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}

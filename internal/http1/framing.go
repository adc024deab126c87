package http1

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Framing is how the end of a body is told: by a number of bytes, or by one of the constants.
type Framing int64

const (
	Chunked    Framing = -1 // Transfer-Encoding: chunked
	UntilClose Framing = -2 // the end of the connection; of responses alone
)

// framingFields are the header lines that have a say in how long the body is.
type framingFields struct {
	te, cl bool
	length int64
}

// see takes a header line, and refuses what another party might take for
// one that frames the body.
func (f *framingFields) see(name, value string) *Error {
	switch {
	case resembles(name, "transfer-encoding"):
		if !strings.EqualFold(name, "transfer-encoding") {
			return malformed("Transfer-Encoding is misspelt")
		}
		if f.te {
			return malformed("there are two Transfer-Encoding lines")
		}
		f.te = true
		return transferEncoding(value)
	case resembles(name, "content-length"):
		if !strings.EqualFold(name, "content-length") {
			return malformed("Content-Length is misspelt")
		}
		if f.cl {
			return malformed("there are two Content-Length lines")
		}
		f.cl = true
		var ok bool
		if f.length, ok = ParseLength(value); !ok {
			return malformed("Content-Length is not a number")
		}
	}
	return nil
}

// transferEncoding judges the value of the only Transfer-Encoding line.
func transferEncoding(value string) *Error {
	if httpx.EqualFold(value, "chunked") {
		return nil
	}
	// RFC 9112 section 6.1: codings that we do not know are 501 as long as the body
	// has an end, which is to say that chunked is the last one and not used twice.
	codings := strings.Split(value, ",")
	for i, c := range codings {
		if c = httpx.TrimOWS(c); !httpx.IsToken(c) || httpx.EqualFold(c, "chunked") != (i == len(codings)-1) {
			return malformed("Transfer-Encoding is not \"chunked\"")
		}
	}
	return &Error{http.StatusNotImplemented, "of the transfer codings, only \"chunked\" is supported"}
}

// check refuses what no message may have.
func (f *framingFields) check(minor int) *Error {
	switch {
	case f.te && f.cl:
		return malformed("there are both Content-Length and Transfer-Encoding")
	case f.te && minor == 0:
		return malformed("there is a Transfer-Encoding in an HTTP/1.0 message")
	}
	return nil
}

// ofRequest says how long a request's body is, RFC 9112 section 6.3.
func (f *framingFields) ofRequest(minor int) (Framing, *Error) {
	if err := f.check(minor); err != nil {
		return 0, err
	}
	if f.te {
		return Chunked, nil
	}
	return Framing(f.length), nil
}

// ofResponse says how long the body of a response to this method is, RFC 9112 section 6.3. It is 0 where the status or
// the method allows no body, whatever the header says: what comes all the same is surplus, and ends the use of the
// connection. Behind a 2xx to CONNECT comes a tunnel, which is UntilClose.
func (f *framingFields) ofResponse(method string, status, minor int) (Framing, *Error) {
	if err := f.check(minor); err != nil {
		return 0, err
	}
	switch {
	case method == http.MethodHead, status < 200, status == http.StatusNoContent, status == http.StatusNotModified:
		return 0, nil
	case method == http.MethodConnect && status < 300:
		return UntilClose, nil
	case f.te:
		return Chunked, nil
	case f.cl:
		return Framing(f.length), nil
	}
	return UntilClose, nil
}

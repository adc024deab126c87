package httpx

import "net/http"

// MethodQuery is the method of RFC 10008: a safe, idempotent request whose content says what is asked.
const MethodQuery = "QUERY"

// IsSafe reports whether a method changes nothing (RFC 9110 section 9.2.1, RFC 10008). A method that is not known may
// change something.
func IsSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, MethodQuery:
		return true
	}
	return false
}

// IsIdempotent reports whether a request may be processed twice, by its method (RFC 9110 section 9.2.2).
func IsIdempotent(method string) bool {
	return IsSafe(method) || method == http.MethodPut || method == http.MethodDelete
}

// IsStandardMethod reports whether a method is one that HTTP defines. Clients can make up any number of others, so what
// counts by method counts those together.
func IsStandardMethod(method string) bool {
	return IsIdempotent(method) || method == http.MethodPost || method == http.MethodPatch || method == http.MethodConnect
}

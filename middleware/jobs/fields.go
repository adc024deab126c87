package jobs

import (
	"maps"
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"golang.org/x/net/http/httpguts"
)

// EnqueueHeader is a field of the app server's answer to a job: the path of a follow-up.
const EnqueueHeader = "Headgate-Enqueue"

// requestFields returns the fields of a request that a job keeps. What proves who sent it is not stored.
func requestFields(in http.Header) http.Header {
	out := make(http.Header, len(in)) // with the names that the rest looks for: a program may have written others
	for name, values := range in {
		name = http.CanonicalHeaderKey(name)
		out[name] = append(out[name], values...)
	}
	httpx.RemoveHopByHop(out)
	for _, name := range []string{"Cookie", "Authorization", "Idempotency-Key", "Prefer", "Expect", "Content-Length"} {
		delete(out, name)
	}
	return out
}

// resultFields returns the fields of an answer that who asks for the result is given.
func resultFields(in http.Header) http.Header {
	out := maps.Clone(in)
	httpx.RemoveHopByHop(out)
	delete(out, "Set-Cookie")
	delete(out, "Content-Length") // the body may be cut
	for name := range out {
		if strings.HasPrefix(name, "Headgate-") {
			delete(out, name)
		}
	}
	return out
}

// unfit says why a job's request can't have a field, or "".
func unfit(name, value string) string {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "it is not the name of a field"
	case !httpguts.ValidHeaderFieldValue(value):
		return "its value has characters that no field can have"
	case httpx.IsHopByHop(canonical) || canonical == "Content-Length" || canonical == "Expect" || canonical == "Host":
		return "it concerns a connection, and the job has none yet"
	case canonical == "Cookie" || canonical == "Authorization":
		return "it proves who sends a request, and a job is stored without"
	case strings.HasPrefix(canonical, "Headgate-") || strings.HasPrefix(canonical, "X-Forwarded-") || canonical == "Idempotency-Key":
		return "the gateway alone says it to the app server"
	}
	return ""
}

package ratelimit

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// denialBody is the body of a denial, and its length for Content-Length.
type denialBody struct {
	text   []byte
	length string
}

// problem is a denial as RFC 9457 has it, of the type that
// draft-ietf-httpapi-ratelimit-headers registers.
func problem(violated ...string) denialBody {
	text, err := json.Marshal(struct {
		Type     string   `json:"type"`
		Title    string   `json:"title"`
		Status   int      `json:"status"`
		Violated []string `json:"violated-policies"`
	}{
		"https://iana.org/assignments/http-problem-types#quota-exceeded",
		"Request cannot be satisfied as assigned quota has been exceeded",
		http.StatusTooManyRequests, violated,
	})
	if err != nil {
		panic(err) // impossible: it marshals strings and an int
	}
	return newDenialBody(string(text) + "\n")
}

func newDenialBody(text string) denialBody {
	return denialBody{text: []byte(text), length: strconv.Itoa(len(text))}
}

const unavailable = `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"rate limits cannot be checked at the moment"}` + "\n"

// RetryAfter returns the seconds after which every limit that denies the
// request would admit it, if no other request consumes meanwhile.
func (r *Result) RetryAfter() int64 {
	if r.unavailable {
		return 1
	}
	var after int64
	for i := range r.items {
		if it := &r.items[i]; it.vetoes() {
			after = max(after, Seconds(it.RetryAfter))
		}
	}
	return after
}

// Deny writes the response to a request that is not allowed: 429 with the limits'
// fields, or 503 where Redis is away and a limit is Closed. Header fields that w
// has already, such as those of CORS, stay.
func (r *Result) Deny(w http.ResponseWriter, req *http.Request) {
	body := r.body()
	h := w.Header()
	// One allocation for the values of all headers.
	values := [4]string{"application/problem+json", "no-store", strconv.FormatInt(r.RetryAfter(), 10), body.length}
	h["Content-Type"] = values[0:1:1]
	h["Cache-Control"] = values[1:2:2]
	h["Retry-After"] = values[2:3:3]
	h["Content-Length"] = values[3:4:4]
	r.WriteHeaders(h)
	status := http.StatusTooManyRequests
	if r.unavailable {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(body.text) // fails where the client has disconnected
	}
}

func (r *Result) body() denialBody {
	if r.unavailable {
		return newDenialBody(unavailable)
	}
	var first *item
	violated := 0
	for i := range r.items {
		if r.items[i].vetoes() {
			if violated++; violated == 1 {
				first = &r.items[i]
			}
		}
	}
	if violated == 1 {
		for i, b := range r.limiter.limits {
			if b == first.limit {
				return r.limiter.denials[i]
			}
		}
	}
	var names []string
	for i := range r.items {
		if it := &r.items[i]; it.vetoes() {
			names = append(names, it.limit.Name)
		}
	}
	return problem(names...)
}

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
		panic(err) // strings and an int
	}
	return newDenialBody(string(text) + "\n")
}

func newDenialBody(text string) denialBody {
	return denialBody{text: []byte(text), length: strconv.Itoa(len(text))}
}

const unavailable = `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"rate limits cannot be checked at the moment"}` + "\n"

// RetryAfter returns the seconds after which every limit that denies the
// request would admit it, if nobody else consumes meanwhile.
func (o *Outcome) RetryAfter() int64 {
	if o.unavailable {
		return 1
	}
	var after int64
	for i := range o.items {
		if it := &o.items[i]; it.vetoes() {
			after = max(after, Seconds(it.RetryAfter))
		}
	}
	return after
}

// Deny answers a request that is not allowed: 429 with the limits' fields, or
// 503 where Redis is away and a limit is Closed.
func (o *Outcome) Deny(w http.ResponseWriter, r *http.Request) {
	body := o.body()
	h := w.Header()
	// One allocation for the values of all headers.
	values := [4]string{"application/problem+json", "no-store", strconv.FormatInt(o.RetryAfter(), 10), body.length}
	h["Content-Type"] = values[0:1:1]
	h["Cache-Control"] = values[1:2:2]
	h["Retry-After"] = values[2:3:3]
	h["Content-Length"] = values[3:4:4]
	o.WriteHeaders(h)
	if o.limiter.options.CORS != nil {
		o.limiter.options.CORS(h, r)
	}
	status := http.StatusTooManyRequests
	if o.unavailable {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.text) // a client that has gone needs no answer
	}
}

func (o *Outcome) body() denialBody {
	if o.unavailable {
		return newDenialBody(unavailable)
	}
	var first *item
	violated := 0
	for i := range o.items {
		if o.items[i].vetoes() {
			if violated++; violated == 1 {
				first = &o.items[i]
			}
		}
	}
	if violated == 1 {
		for i, b := range o.limiter.limits {
			if b == first.limit {
				return o.limiter.problems[i]
			}
		}
	}
	var names []string
	for i := range o.items {
		if it := &o.items[i]; it.vetoes() {
			names = append(names, it.limit.Name)
		}
	}
	return problem(names...)
}

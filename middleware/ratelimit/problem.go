package ratelimit

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is the body of a denial, RFC 9457, of the type that
// draft-ietf-httpapi-ratelimit-headers registers.
func problem(violated ...string) []byte {
	return mustJSON(struct {
		Type     string   `json:"type"`
		Title    string   `json:"title"`
		Status   int      `json:"status"`
		Violated []string `json:"violated-policies"`
	}{
		"https://iana.org/assignments/http-problem-types#quota-exceeded",
		"Request cannot be satisfied as assigned quota has been exceeded",
		http.StatusTooManyRequests, violated,
	})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and an int
	}
	return append(b, '\n')
}

const unavailableProblem = `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"rate limits cannot be checked at the moment"}` + "\n"

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
	values := [4]string{"application/problem+json", "no-store", strconv.FormatInt(o.RetryAfter(), 10), strconv.Itoa(len(body))}
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
		_, _ = w.Write(body) // a client that has gone needs no answer
	}
}

func (o *Outcome) body() []byte {
	if o.unavailable {
		return []byte(unavailableProblem)
	}
	var names []string
	var alone []byte
	for i := range o.items {
		it := &o.items[i]
		if !it.vetoes() {
			continue
		}
		if names = append(names, it.limit.Name); len(names) == 1 {
			alone = o.limiter.problemOf(it.limit)
		}
	}
	if len(names) == 1 {
		return alone
	}
	return problem(names...)
}

func (l *Limiter) problemOf(b *bound) []byte {
	for i := range l.limits {
		if l.limits[i] == b {
			return l.problems[i]
		}
	}
	return problem(b.Name)
}

package httpx

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Problem is the gateway's own answer to a request that failed, RFC 9457.
type Problem struct {
	Type      string   `json:"type,omitempty"` // empty means about:blank: the status says all there is to say
	Title     string   `json:"title"`          // empty: the status in words
	Status    int      `json:"status"`
	Detail    string   `json:"detail,omitempty"` // for the client's developer; never what is inside
	RequestID string   `json:"request_id,omitempty"`
	Violated  []string `json:"violated-policies,omitempty"` // of draft-ietf-httpapi-ratelimit-headers
}

// ProblemType is the media type of problem details.
const ProblemType = "application/problem+json"

// RenderedProblem is a problem that is ready to be sent any number of times. It is immutable.
type RenderedProblem struct {
	status int
	body   []byte
	length string
}

// Render makes the problem's body.
func (p Problem) Render() *RenderedProblem {
	if p.Title == "" {
		p.Title = StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and an int
		panic(err)
	}
	return &RenderedProblem{p.Status, body, strconv.Itoa(len(body))}
}

// Body returns the problem as JSON. The caller must not change it.
func (p *RenderedProblem) Body() []byte { return p.body }

// SetHeader sets the fields that the answer needs. A Cache-Control that is there already stays; without one the
// answer must not be stored. retryAfter is in seconds; "" sets no Retry-After. It costs one allocation, for all values.
func (p *RenderedProblem) SetHeader(h http.Header, retryAfter string) {
	values := [4]string{ProblemType, p.length, "no-store", retryAfter}
	h["Content-Type"] = values[0:1:1]
	h["Content-Length"] = values[1:2:2]
	if stored := h["Cache-Control"]; len(stored) == 0 || stored[0] == "" {
		h["Cache-Control"] = values[2:3:3]
	}
	if retryAfter != "" {
		h["Retry-After"] = values[3:4:4]
	}
	delete(h, "Content-Encoding")
}

// Send sends the answer with the header as it is; HEAD gets no body. A client that has left is no error.
func (p *RenderedProblem) Send(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.body)
	}
}

// WriteProblem answers a request with a problem.
func WriteProblem(w http.ResponseWriter, r *http.Request, p Problem) {
	rendered := p.Render()
	rendered.SetHeader(w.Header(), "")
	rendered.Send(w, r)
}

// StatusText is the status in words, also for one that is not registered.
func StatusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Status " + strconv.Itoa(status)
}

package jobs

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// Spec is a job to be enqueued: the request that an app server is sent.
type Spec struct {
	Method string // default POST
	URL    string // path and query, as they are sent
	// Upstream, Route and Scheme, Authority are the caller's own, and kept for the Runner.
	Upstream string
	Route    string
	Scheme   string
	Host     string
	// Header is the request's. Cookie, Authorization, Proxy-Authorization, Idempotency-Key, Prefer and hop-by-hop fields are left out.
	Header http.Header
	Body   []byte // not to be changed any more
	// Owner is who asks.
	Owner Owner
	// Key is an Idempotency-Key: the same owner, route and key is the same job, for as long as it is not over and Queue.Keep
	// after that. Default "": every call is a job of its own.
	Key string
	// Delay is how long the job waits at least; At is when it runs at the earliest. At most one of them. Zero: at once.
	Delay time.Duration
	At    time.Time
}

// Validate says everything that is wrong with a job that an app server asks for, which names each field of its request. [Queues.Take] leaves out of
// Header what Validate refuses, where it comes with a client's request.
func (s *Spec) Validate() []problem.Problem {
	l := s.check()
	if strings.HasPrefix(s.URL, "//") {
		l.Add("url", "write it like /images/7/resize", "%s names another site", problem.Quote(s.URL))
	}
	for name, values := range s.Header {
		for _, value := range values {
			if reason := unfit(name, value); reason != "" {
				l.Add(problem.Key("headers", name), "remove it", "%s", reason)
			}
		}
	}
	return l
}

// check says what is wrong with a job that an app server or a client asks for.
func (s *Spec) check() (l problem.List) {
	if s.Method != "" && !httpx.IsToken(s.Method) {
		l.Add("method", "write GET, POST or the like", "%s is not a method", problem.Quote(s.Method))
	}
	if !strings.HasPrefix(s.URL, "/") || strings.ContainsAny(s.URL, "\r\n\t ") {
		l.Add("url", "write it like /images/7/resize", "%s is not a path", problem.Quote(s.URL))
	}
	switch {
	case s.Delay != 0 && !s.At.IsZero():
		l.Add("delay", "write one of them", "delay and at contradict each other")
	case s.Delay < 0 || s.Delay > longest:
		l.Add("delay", "choose one from 0s to 366d", "%v is out of bounds", s.Delay)
	case !s.At.IsZero() && (s.At.Year() < 1970 || s.At.Year() > 2200):
		l.Add("at", "choose one from 1970 to 2200", "%v is out of bounds", s.At)
	}
	return l
}

// taking turns a Spec into what is stored.
func (s *Spec) taking(queue *Queue) *taking {
	h := head{
		Method: s.Method, URL: octets(s.URL), Upstream: s.Upstream, Route: s.Route, Scheme: s.Scheme, Host: s.Host,
		Header: storedOf(requestFields(s.Header)), Owner: s.Owner, Key: octets(s.Key),
	}
	orDefault(&h.Method, http.MethodPost)
	t := &taking{
		queue: queue.Name, id: newID(queue.Name), head: h.encode(), body: s.Body, delay: max(0, micros(s.Delay)),
	}
	if !s.At.IsZero() {
		t.at = s.At.UnixMicro()
	}
	t.owner, t.host = s.Owner.digests()
	if s.Key != "" {
		t.key = digest(s.Owner.identity(), s.Route, s.Key)
		t.print = digest(h.Method, s.Host, s.URL, string(s.Body))
	}
	return t
}

// digests are what a user's jobs are found by.
func (o *Owner) digests() (user, host string) {
	if o.User == "" {
		return "", ""
	}
	return digest(o.Source, o.User), digest(o.Host)
}

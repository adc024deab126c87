package policytest

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/headgate/headgate/policies"
)

// File is a file of tests, as it was written. See the package's documentation
// for what each key means.
type File struct {
	Name    string
	Env     map[string]string
	Base    string    // scheme and authority of URLs that are only a path
	Clock   time.Time // the time at which every test begins
	Clients map[string]*Client
	Apps    map[string][]Answer // by upstream; the first that fits a request is its answer
	Tests   []*Test

	// names are those that the policy must define.
	names []nameRef
}

// Client is a client that sends requests. Within a test it keeps the cookies that responses set, and sends them
// as a browser would.
type Client struct {
	Name   string
	From   netip.Addr
	Header http.Header
}

// Answer is a response of an app server, or its failure.
type Answer struct {
	Method, Path string // which requests it is for; empty: any. A path that ends in * is a prefix
	Status       int
	Header       http.Header
	Body         string
	HasBody      bool // if not, the body names the upstream and the request
	Fail         Failure
}

// Failure is how an app server fails to respond.
type Failure string

// The failures.
const (
	Refused Failure = "refused" // the connection is refused
	Timeout Failure = "timeout" // the connection times out
)

// Test is a sequence of steps, run on a gateway that has just started.
type Test struct {
	policies.Position
	Name  string
	Steps []*Step
}

// Step is a wait, a run of the jobs that are due, or a request that is sent once or several times.
type Step struct {
	policies.Position
	Wait time.Duration // for a wait; a request has a Method
	Jobs bool          // run the jobs that are due, and those of schedules

	Method string
	Target string // the request target: an absolute path, and the query
	Scheme string
	Host   string
	As     *Client
	From   netip.Addr // in place of the client's; the zero Addr: the client's
	Header http.Header
	Body   string
	Times  int
	Over   time.Duration
	Lasts  time.Duration // how long the response lasts, for limits of requests in flight
	App    *Answer       // in place of the file's answers for the upstream
	Expect []Phase       // together as many as Times; empty: anything may happen
}

// Phase is an expectation of several requests of a step in a row.
type Phase struct {
	Requests int
	Expectation
}

// Expectation is what a test expects of one request. A field that is not set is not checked.
type Expectation struct {
	policies.Position
	Status    []int
	Route     *Want
	DeniedBy  *Want
	Network   *Want // that refuses the client
	Client    *Want
	User      *Want
	Session   string // needed, or not-needed
	Cache     string // hit, stale, revalidated, miss, bypass, purged or none
	Queue     *Want  // that has taken the request as a job
	Attempts  *Want  // at jobs, for a step that runs them
	Header    []NamedWant
	Body      *Want
	Remaining []NamedWant
	Forwarded *Forwarding
}

// NamedWant is an expectation of a header or limit.
type NamedWant struct {
	Name string
	Want Want
}

// Forwarding is what a test expects an app server to have received.
type Forwarding struct {
	No     bool  // no request was forwarded
	To     *Want // the upstream
	Server *Want
	Method *Want
	Path   *Want // with the query
	Host   *Want
	Header []NamedWant
	Body   *Want
}

// nameRef is a name that the policy must define.
type nameRef struct {
	at   policies.Position
	kind string // route, limit, upstream, client or queue
	name string
}

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
	Clock   time.Time // when every test begins
	Clients map[string]*Client
	Apps    map[string][]Answer // by upstream; the first that fits answers
	Tests   []*Test

	// Names that the policy must define, with their places.
	names []mention
}

// Client is somebody who sends requests. Cookies that an answer sets are kept
// and sent again, within one test, as a browser would.
type Client struct {
	Name   string
	From   netip.Addr
	Header http.Header
}

// Answer is what an app server says.
type Answer struct {
	Method, Path string // which requests it is for; empty: any. A path that ends in * is a prefix
	Status       int
	Header       http.Header
	Body         string
	HasBody      bool // else it says what it was asked
	Fail         Failure
}

// Failure is why an app server does not answer.
type Failure string

// The failures.
const (
	Refused Failure = "refused" // it accepts no connection
	Timeout Failure = "timeout" // nothing is heard of it
)

// Test is a story: steps, in order, by a gateway that has just begun.
type Test struct {
	policies.Position
	Name  string
	Steps []*Step
}

// Step is a wait, or a request that is sent once or several times.
type Step struct {
	policies.Position
	Wait time.Duration // where it is a wait

	Method string
	Target string // as it stands in the request line: an absolute path, and the query
	Scheme string
	Host   string
	As     *Client
	From   netip.Addr // instead of the client's
	Header http.Header
	Body   string
	Times  int
	Over   time.Duration
	App    *Answer // instead of what the upstream usually answers
	Expect []Phase // together as many as Times; empty: nothing is asked
}

// Phase is what is expected of some of a step's requests.
type Phase struct {
	Requests int
	Expectation
}

// Expectation is what is expected of one request. What it does not mention
// does not matter.
type Expectation struct {
	policies.Position
	Status    []int
	Route     *Want
	DeniedBy  *Want
	Client    *Want
	User      *Want
	Session   string // needed, or not-needed
	Cache     string // hit, stale, revalidated, miss, bypass or none
	Header    []NamedWant
	Body      *Want
	Remaining []NamedWant
	Forwarded *Forwarding
}

// NamedWant is what is expected of a header or limit.
type NamedWant struct {
	Name string
	Want Want
}

// Forwarding is what is expected to have reached an app server.
type Forwarding struct {
	No     bool  // nothing
	To     *Want // the upstream
	Server *Want
	Method *Want
	Path   *Want // with the query
	Host   *Want
	Header []NamedWant
	Body   *Want
}

// mention is a name that the policy must define.
type mention struct {
	at   policies.Position
	kind string // route, limit, upstream or client
	name string
}

package policytest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/policies"
)

// Report is the result of the tests of one policy.
type Report struct {
	Policy, Tests string
	// Wrong has the mistakes in the tests or the policy. With an error among them, no test was run.
	Wrong policies.Diagnostics
	// Notes say how the tests differ from production.
	Notes   []string
	Results []*Result
	// Skipped is how many tests Options.Run did not match.
	Skipped int
}

// OK reports whether there were no mistakes and all tests passed.
func (r *Report) OK() bool {
	return !r.Wrong.HasErrors() && !slices.ContainsFunc(r.Results, func(t *Result) bool { return !t.OK() })
}

// Result is the result of one test.
type Result struct {
	policies.Position
	Name      string
	Requests  int
	Simulated time.Duration // how long it took by the test's clock
	Took      time.Duration // by the real clock
	Failures  []Failed
}

// OK reports whether the test passed.
func (t *Result) OK() bool { return len(t.Failures) == 0 }

// Failed is a request that was not as expected.
type Failed struct {
	policies.Position                   // of the expectation
	Step              policies.Position // of the request
	Number, Of        int               // which of the step's requests, from 1
	More              int               // how many later requests of the same phase failed too
	Request           string
	From, As          string
	After             time.Duration // since the test's beginning
	Differences       []Difference
	Answer            string                // the response in one line
	Explanation       *pipeline.Explanation // of the same request after the failure; may be nil
	Cannot            string                // why the test could not begin; only Position is set then
}

// Title says in one line which request it is.
func (f *Failed) Title() string {
	if f.Cannot != "" {
		return f.Cannot
	}
	var b strings.Builder
	if f.Of > 1 {
		fmt.Fprintf(&b, "request %d of %d: ", f.Number, f.Of)
	}
	b.WriteString(f.Request)
	if f.As != "" {
		fmt.Fprintf(&b, " as %s", f.As)
	}
	if f.From != "" {
		fmt.Fprintf(&b, " from %s", f.From)
	}
	if f.After > 0 {
		fmt.Fprintf(&b, ", after %s", policies.FormatDuration(f.After))
	}
	return b.String()
}

// summary is the response in one line.
func (a *observed) summary() string {
	parts := []string{fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))}
	if a.record.Error != "" {
		parts = append(parts, a.record.Error)
	}
	if a.record.Limit != "" {
		parts = append(parts, "denied by "+a.record.Limit)
	}
	for _, name := range []string{"Retry-After", "Location", "Cache-Status"} {
		if v := a.responseHeader.Get(name); v != "" {
			parts = append(parts, name+": "+v)
		}
	}
	return strings.Join(parts, "; ")
}

func (t *Result) simulated() string { return policies.FormatDuration(t.Simulated) }

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

// Report is what came of the tests of one policy.
type Report struct {
	Policy, Tests string
	// Wrong is why nothing was run: what is wrong with the tests or the policy.
	Wrong policies.Diagnostics
	// Notes say what is otherwise than in production.
	Notes   []string
	Results []*Result
	// Skipped are the tests that were not chosen.
	Skipped int
}

// OK reports whether nothing was wrong.
func (r *Report) OK() bool {
	return !r.Wrong.HasErrors() && !slices.ContainsFunc(r.Results, func(t *Result) bool { return !t.OK() })
}

// Result is what came of one test.
type Result struct {
	policies.Position
	Name      string
	Requests  int
	Simulated time.Duration // by the test's clock
	Took      time.Duration // by the real one
	Failures  []Failed
}

// OK reports whether all was as expected.
func (t *Result) OK() bool { return len(t.Failures) == 0 }

// Failed is a request that did not become what was expected.
type Failed struct {
	policies.Position                   // of the expectation
	Step              policies.Position // of the request
	Number, Of        int               // which of the step's requests, from 1
	More              int               // of those after it that were expected to be alike failed, too
	Request           string
	From, As          string
	After             time.Duration // since the test's beginning
	Differences       []Difference
	Answer            string                // what the client got, in a line
	Explanation       *pipeline.Explanation // what the gateway makes of such a request afterwards
	Cannot            string                // why nothing could be sent at all
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
	fmt.Fprintf(&b, " from %s", f.From)
	if f.After > 0 {
		fmt.Fprintf(&b, ", after %s", policies.FormatDuration(f.After))
	}
	return b.String()
}

// summary tells what the client got, in a line.
func (a *answered) summary() string {
	parts := []string{fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))}
	if a.record.Error != "" {
		parts = append(parts, a.record.Error)
	}
	if a.record.Limit != "" {
		parts = append(parts, "denied by "+a.record.Limit)
	}
	for _, name := range []string{"Retry-After", "Location", "Cache-Status"} {
		if v := a.answer.Get(name); v != "" {
			parts = append(parts, name+": "+v)
		}
	}
	return strings.Join(parts, "; ")
}

func (t *Result) simulated() string { return policies.FormatDuration(t.Simulated) }

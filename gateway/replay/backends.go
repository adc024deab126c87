package replay

import (
	"net/http"
	"net/netip"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/session"
)

// The engine implements pipeline.Backends: what a stage needs beyond the request, it takes from the log's record.
// It runs one request at a time.

// Blocked implements pipeline.Backends: a log does not tell which networks were blocked.
func (e *engine) Blocked(*pipeline.Request) (netip.Prefix, bool) { return netip.Prefix{}, false }

// Preflight implements pipeline.Backends. Logs other than Headgate's do not have the request's headers: every OPTIONS request
// in them is taken for a preflight, as other uses are rare.
func (e *engine) Preflight(r *pipeline.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	own := e.record.Own
	return own == nil || !own.AnsweredByApp && own.Limit == ""
}

// KeyOwner implements pipeline.Backends.
func (e *engine) KeyOwner(r *pipeline.Request) *pipeline.APIClient { return e.Identify(r) }

// Identify implements pipeline.Backends.
func (e *engine) Identify(*pipeline.Request) *pipeline.APIClient {
	if e.record.Own == nil {
		return nil
	}
	c := e.policy.Clients[e.record.Own.Client]
	if c == nil {
		return nil
	}
	return &pipeline.APIClient{Name: e.record.Own.Client, Plan: c.Plan}
}

// Remembered implements pipeline.Backends.
func (e *engine) Remembered(r *pipeline.Request) bool {
	who := r.Subject()
	who.NoSession = e.record.Own == nil || e.record.Own.User == "" || r.Route.Policy.Session == session.Off
	o := r.Route.Limiter().Denied(who)
	if o == nil {
		return false
	}
	r.Limits = o
	e.noteDecisions(r)
	return true
}

// Admit implements pipeline.Backends: the session is the one in the record, and the
// limits count on the log's clock.
func (e *engine) Admit(r *pipeline.Request) bool {
	limiter := r.Route.Limiter()
	if limiter == nil {
		return true
	}
	who, own := r.Subject(), e.record.Own
	if own != nil && r.Route.Policy.Session != session.Off {
		who.User, who.Session, who.SessionPlan = own.User, own.Session, own.Plan
	}
	r.Limits = limiter.Check(r, who, nil)
	e.noteDecisions(r)
	if !r.Limits.Allowed() {
		return false
	}
	if r.Limits.NeedsResponse() || r.Limits.Holds() {
		e.settleLater(r.Route.Policy, e.record, r.Limits)
	}
	return true
}

// noteDecisions writes to the verdict which limit denied the request, and which dry-run limit would have.
func (e *engine) noteDecisions(r *pipeline.Request) {
	v, o := e.verdict, r.Limits
	if o.Allowed() && o.DryRunDeniedBy() == "" {
		return
	}
	for _, d := range o.Decisions() {
		switch {
		case d.Allowed:
		case !d.DryRun && v.limit < 0:
			v.limit, v.banned = e.limitIndex(d.Name), d.Banned
		case d.DryRun && v.dryRun < 0:
			v.dryRun = e.limitIndex(d.Name)
		}
	}
	if !o.Allowed() {
		v.dryRun = -1
	}
}

// Authorize implements pipeline.Backends. A log has neither cookies nor unknown API keys, so no request is refused
// for lack of them.
func (e *engine) Authorize(*pipeline.Request) *pipeline.Answer { return nil }

// Enqueue implements pipeline.Backends: a log does not tell what a queue would have refused.
func (e *engine) Enqueue(*pipeline.Request) *pipeline.Answer {
	return &pipeline.Answer{Status: http.StatusAccepted}
}

// AskForJob implements pipeline.Backends.
func (e *engine) AskForJob(*pipeline.Request, string, bool) *pipeline.Answer {
	return &pipeline.Answer{Status: http.StatusOK}
}

// Purge implements pipeline.Backends: the estimate of the cache does not go by purges.
func (e *engine) Purge(r *pipeline.Request, _ []cache.Purge) *pipeline.Answer {
	return pipeline.Purged(r)
}

// Forward implements pipeline.Backends: it estimates what the cache would do.
func (e *engine) Forward(r *pipeline.Request) *pipeline.Answer {
	if e.cache != nil {
		e.verdict.cache = e.cache.estimate(e, r)
	}
	return nil
}

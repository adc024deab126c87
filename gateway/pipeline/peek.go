package pipeline

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// peek are the backends of one explanation: they look at counters and sessions as they
// are, and consume, touch and forward nothing.
type peek struct {
	pipeline *Pipeline
	who      session.Identity // whose session the request carries, as the asker knows
	account  string

	asked    bool // the limits were
	previews []ratelimit.Preview
	err      error // why the counters could not be read
}

func (b *peek) Blocked(r *Request) (netip.Prefix, bool) {
	blocks := b.pipeline.parts.Blocks
	if blocks == nil {
		return netip.Prefix{}, false
	}
	_ = blocks.Ready(r) // without Redis, those that are known count, as in a live gateway
	return blocks.Blocks(r.Info)
}

func (b *peek) KeyOwner(r *Request) *APIClient { return b.pipeline.clients.look(r.Header) }

func (b *peek) Preflight(r *Request) bool { return isPreflight(r) }

func (b *peek) Identify(r *Request) *APIClient { return b.pipeline.clients.take(r.Header) }

// Remembered leaves the remembered denials to Admit, which reads the counters.
func (b *peek) Remembered(*Request) bool { return false }

func (b *peek) Admit(r *Request) bool {
	b.findSession(r)
	countBy(&r.subject, identityOf(r.Session))
	if r.Route.limiter == nil {
		return true
	}
	b.asked = true
	if b.previews, b.err = r.Route.limiter.Peek(r, &r.subject); b.err != nil {
		return true
	}
	var attempt []ratelimit.Preview
	attempt, b.err = r.Route.limiter.PeekAttempt(r, &r.subject, ratelimit.LoginAttempt{Account: b.account, Device: r.knownDevice(b.account)})
	admission := b.previews
	b.previews = append(b.previews, attempt...)
	denying := func(v ratelimit.Preview) bool { return !v.Allowed && !v.DryRun }
	i := slices.IndexFunc(admission, func(v ratelimit.Preview) bool { return denying(v) && v.Closed })
	if i < 0 { // one that admits no requests at all denies before any counter is asked
		i = slices.IndexFunc(admission, denying)
	}
	if i < 0 {
		return true
	}
	v := &admission[i]
	r.answer.Status, r.answer.Detail = http.StatusTooManyRequests, "limit "+v.Name+" denies"
	if v.Closed {
		r.answer.Status, r.answer.Detail = http.StatusForbidden, "limit "+v.Name+" admits no requests"
	} else if v.Unsettled {
		r.answer.Detail += fmt.Sprintf(", unless the answers to others admit it within %v", ratelimit.MaxWait)
	}
	return false
}

// findSession looks for the session that the question names, or that of the cookie.
func (b *peek) findSession(r *Request) {
	if r.Session = r.Route.noSession; r.Session != nil {
		return
	}
	sessions := b.pipeline.parts.Sessions
	req := r.asHTTP().WithContext(r)
	if b.who != (session.Identity{}) {
		r.Session = sessions.Assume(req, r.Route.session, b.who)
		return
	}
	r.Session = sessions.ForRequest(req, r.Route.session)
	_ = r.Session.Peek(r) // Authorize knows what an error means on this route
}

func (b *peek) Authorize(r *Request) *Answer { return r.authorizeSession() }

// Enqueue looks at what a job would be refused for without the queue being asked.
func (b *peek) Enqueue(r *Request) *Answer {
	queue := r.Route.Policy.Queue.Name
	if most := b.pipeline.policy.Queues[queue].MaxBody; r.ContentLength > most {
		return bodyTooLarge(most)
	}
	if _, err := idempotencyKey(r.Header["Idempotency-Key"]); err != nil {
		return malformedKey(err)
	}
	return r.answered(Answer{Status: http.StatusAccepted, Detail: "the request becomes a job of the queue " + queue})
}

func (b *peek) AskForJob(r *Request, _ string, _ bool) *Answer {
	return r.answered(Answer{Status: http.StatusOK, Detail: "the gateway shows the job to who has asked for it, 404 to all others"})
}

func (b *peek) Forward(*Request) *Answer { return nil }

package pipeline

import (
	"net/netip"

	"github.com/headgate/headgate/middleware/cache"
)

// Backends tell the stages what the request alone does not. There are three: live asks
// Redis and the app servers, peek (of explain) looks without consuming, and replay's
// knows what a log tells.
//
// A Backends is used by many requests at once, unless its constructor says otherwise.
type Backends interface {
	// Blocked returns the network by which an operator has blocked the client; false where
	// none has.
	Blocked(*Request) (netip.Prefix, bool)
	// KeyOwner returns the owner of the request's API key as Identify does, and leaves the
	// key where it is. It is asked where a route asks for a plan.
	KeyOwner(*Request) *APIClient
	// Preflight reports whether the request is a CORS preflight, on a route whose
	// policy answers them.
	Preflight(*Request) bool
	// Identify returns the owner of the request's API key, nil where it carries none
	// that is known.
	Identify(*Request) *APIClient
	// Remembered reports whether a limit is remembered to deny the request, and leaves
	// the denial in Request.Limits.
	Remembered(*Request) bool
	// Admit finds the request's session and has the limits decide. It leaves both in
	// the Request, and reports whether the limits admit the request.
	Admit(*Request) bool
	// Authorize applies what the route asks of session and API key. It returns nil
	// where the request may pass.
	Authorize(*Request) *Answer
	// Enqueue makes a job of the request. Its answer is 202 only if the job is stored.
	Enqueue(*Request) *Answer
	// AskForJob shows the job with this ID, or its result, to who has asked for it, or cancels it.
	AskForJob(r *Request, id string, result bool) *Answer
	// Purge has the cache forget on every instance, and answers when it has.
	Purge(*Request, []cache.Purge) *Answer
	// Forward has the cache or an app server answer. It returns nil where it has done so.
	Forward(*Request) *Answer
}

// liveBackends serve requests: they ask Redis, or this process' memory where there is
// none, and have app servers answer. Each of its methods stands beside the stage that
// calls it.
type liveBackends struct{ *Pipeline }

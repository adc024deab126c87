package proxy

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
)

// RetryOn is a failure that is retried: RetryConnect, RetryTimeout, or the status of a response.
type RetryOn int

const (
	// RetryConnect: no connection could be made, or it broke before there was a response that could be passed on.
	RetryConnect RetryOn = 1
	// RetryTimeout: a try took Retry.TryTimeout.
	RetryTimeout RetryOn = 2
)

const retryWords = "write connect, timeout, 429, or a status from 500 to 599"

// UnmarshalText reads connect, timeout or a status.
func (o *RetryOn) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "connect":
		*o = RetryConnect
	case "timeout":
		*o = RetryTimeout
	default:
		status, err := strconv.Atoi(s)
		if *o = RetryOn(status); err == nil && o.isStatus() {
			return nil
		}
		mend := retryWords
		if near, ok := suggest.Nearest(s, []string{"connect", "timeout"}); ok {
			mend = "did you mean " + problem.Quote(near) + "?"
		}
		return problem.New("", mend, "%s is not retried", problem.Quote(s))
	}
	return nil
}

// String writes the failure as a policy does.
func (o RetryOn) String() string {
	switch o {
	case RetryConnect:
		return "connect"
	case RetryTimeout:
		return "timeout"
	}
	return strconv.Itoa(int(o))
}

func (o RetryOn) isStatus() bool {
	return o == http.StatusTooManyRequests || o >= 500 && o <= 599
}

// Validate says what is wrong with it.
func (r *Retry) Validate() []problem.Problem {
	var ps problem.List
	if len(r.On) == 0 {
		ps.Add("on", retryWords+"; retries: 0 retries nothing", "nothing is retried")
	}
	for i, on := range r.On {
		switch at := problem.Item("on", i); {
		case on != RetryConnect && on != RetryTimeout && !on.isStatus():
			ps.Add(at, retryWords, "%d is not retried", int(on))
		case slices.Contains(r.On[:i], on):
			ps.Add(at, "remove one", "%v stands twice", on)
		}
	}
	switch timeout := slices.Contains(r.On, RetryTimeout); {
	case r.TryTimeout < 0:
		problem.Positive(&ps, "try_timeout", r.TryTimeout)
	case timeout && r.TryTimeout == 0:
		ps.Add("on", "add a try_timeout that is shorter than timeout", "after a time-out there is no time left for another try")
	case !timeout && r.TryTimeout > 0:
		ps.Add("try_timeout", "add timeout to on, or remove it", "a try that takes %v would not be followed by another", r.TryTimeout)
	}
	return ps
}

// IsDefault reports whether nothing but what a connection does is retried.
func (r *Retry) IsDefault() bool {
	return !r.IdempotencyKey && slices.Equal(r.On, []RetryOn{RetryConnect})
}

// For returns the failures after which a request is retried. Where it must not be processed twice, these are at most connections that could not be made.
func (r *Retry) For(req *http.Request) []RetryOn {
	if r.allows(req) {
		return r.On
	}
	return slices.DeleteFunc(slices.Clone(r.On), func(on RetryOn) bool { return on != RetryConnect })
}

// validateRetry checks what the upstream's other keys say about retries.
func (c *Config) validateRetry(ps *problem.List) {
	*ps = append(*ps, problem.Within("retry", c.Retry.Validate())...)
	if c.Retry.TryTimeout > 0 && c.Timeout > 0 && c.Retry.TryTimeout >= c.Timeout {
		ps.Add("retry.try_timeout", "make it shorter than timeout", "a try may take %v, and all together %v", c.Retry.TryTimeout, c.Timeout)
	}
	asks := !c.Retry.IsDefault()
	switch {
	case asks && c.Retries < 0:
		ps.Add("retry", "write how many retries there may be, or remove retry", "nothing is retried with retries: 0")
	case asks && c.RetryBudget < 0:
		ps.Add("retry", "write a share of requests, or remove retry", "nothing is retried with retry_budget: 0")
	}
}

// retriesFailure reports whether a failure is among those that are retried. What a server has not processed always is.
func (r *Retry) retriesFailure(a *attempt, kind Kind) bool {
	switch {
	case !kind.blamesServer():
		return false
	case a.unprocessed:
		return true
	case kind == KindTimeout:
		return slices.Contains(r.On, RetryTimeout)
	}
	return slices.Contains(r.On, RetryConnect)
}

// retriesStatus reports whether a response's status is among what is retried.
func (r *Retry) retriesStatus(status int) bool { return slices.Contains(r.On, RetryOn(status)) }

// allows reports whether a request may be processed twice, by its method (RFC 9110 section 9.2.2) or by its key.
func (r *Retry) allows(req *http.Request) bool {
	switch {
	case httpx.IsIdempotent(req.Method):
		return true
	case req.Method == http.MethodPost, req.Method == http.MethodPatch:
		keys := req.Header["Idempotency-Key"]
		return r.IdempotencyKey && len(keys) == 1 && keys[0] != ""
	}
	return false
}

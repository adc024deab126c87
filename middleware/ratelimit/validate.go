package ratelimit

import (
	"maps"
	"slices"
	"time"

	"github.com/headgate/headgate/middleware/problem"
)

// SetDefaults fills in what is zero and has a default.
func (l *Limit) SetDefaults() {
	if l.Algorithm == "" {
		l.Algorithm = SlidingWindow
	}
	if l.OnRedisError == "" {
		l.OnRedisError = Local
	}
	if l.Cost == 0 {
		l.Cost = 1
	}
	if l.Key == nil {
		l.Key = []KeyPart{{Kind: KeyIP}}
	}
}

// Validate says everything that is wrong with a limit whose defaults are set.
func (l *Limit) Validate() []problem.Problem {
	var ps problem.List
	if !problem.IsName(l.Name) {
		ps.Add("name", "rename it", "the name must be 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")
	}
	problem.Word(&ps, "algorithm", l.Algorithm)
	problem.Word(&ps, "on_redis_error", l.OnRedisError)
	if l.Concurrent != 0 {
		l.validateConcurrent(&ps)
	} else {
		l.validateNumbers(&ps)
	}
	l.validateKey(&ps)
	l.validateCount(&ps)
	if l.Ban != (Ban{}) {
		ps = append(ps, problem.Within("ban", l.Ban.Validate())...)
	}
	for i, network := range l.Allow {
		if network.IsValid() && network.Bits() == 0 {
			ps.Warn(problem.Item("allow", i), "name the networks that you trust alone", "the limit limits nobody")
		}
	}
	return ps
}

// validateNumbers finds limits that can never admit by mistake, or that the arithmetic can't hold. Zero
// requests are meant.
func (l *Limit) validateNumbers(ps *problem.List) {
	problem.Between(ps, "requests", l.Requests, 0, MaxRequests)
	if l.Window < MinWindow || l.Window > MaxWindow {
		ps.Add("window", "choose one from 1s to 366d", "the window is out of bounds")
	} else if l.Window%time.Microsecond != 0 {
		ps.Add("window", "write it like 1s, 1500ms or 1m", "the window is not in whole microseconds")
	}
	if l.Burst != 0 {
		if a := l.Algorithm.line(); a == nil || !a.bursts {
			ps.Add("burst", "remove it, or write algorithm: token_bucket", "burst means nothing to %s", l.Algorithm)
		} else {
			problem.Between(ps, "burst", l.Burst, 1, MaxRequests)
		}
	}
	if !problem.Between(ps, "cost", l.Cost, 1, MaxRequests) || slices.ContainsFunc(*ps, func(p problem.Problem) bool { return p.Path == "requests" || p.Path == "burst" }) {
		return
	}
	l.validateSizes(ps)
}

// validateConcurrent checks a limit of requests in flight, to which nothing else means anything that says how requests are counted.
func (l *Limit) validateConcurrent(ps *problem.List) {
	problem.Between(ps, "concurrent", l.Concurrent, 1, MaxConcurrent)
	if l.ByAccount() {
		ps.Add("concurrent", "write requests and window", "whose account a request tries is known only when it is over, so that there is nothing in flight to count")
	}
	for _, meaningless := range []struct {
		path string
		set  bool
	}{
		{"requests", l.Requests != 0}, {"window", l.Window != 0}, {"burst", l.Burst != 0}, {"cost", l.Cost != 1},
		{"algorithm", l.Algorithm != SlidingWindow}, {"count", !l.Count.All()}, {"ban", l.Ban != Ban{}},
	} {
		if meaningless.set {
			ps.Add(meaningless.path, "remove it, or write requests and window instead of concurrent", "%s means nothing to a limit of requests in flight", meaningless.path)
		}
	}
	for _, plan := range slices.Sorted(maps.Keys(l.Plans)) {
		problem.Between(ps, problem.Key("plans", plan), l.Plans[plan], 0, MaxConcurrent)
	}
}

// validateSizes checks what depends on the number of requests, the limit's own and those of plans.
func (l *Limit) validateSizes(ps *problem.List) {
	q, of := l.quota(l.Requests), "requests"
	if l.Burst > 0 {
		of = "burst"
	}
	if l.Requests > 0 && l.Cost > q.capacity() {
		ps.Add("cost", "make cost at most "+of, "a limit with cost %d and %s %d can never admit", l.Cost, of, q.capacity())
	}
	l.validateLog(ps, "requests", l.Requests)
	l.validateFill(ps, q)
	for _, plan := range slices.Sorted(maps.Keys(l.Plans)) {
		path, n := problem.Key("plans", plan), l.Plans[plan]
		if !problem.Between(ps, path, n, 0, MaxRequests) || n == 0 {
			continue
		}
		if l.Requests == 0 { // else the plan's bucket is in proportion
			l.validateFill(ps, l.quota(n))
		}
		if size := l.quota(n).capacity(); l.Cost > size {
			ps.Add(path, "make it at least cost", "with cost %d, %d requests can never admit", l.Cost, size)
		}
		l.validateLog(ps, path, n)
	}
}

// validateFill bounds the time in which a bucket fills, burst * window / requests, which may be too large for an integer.
func (l *Limit) validateFill(ps *problem.List, q quota) {
	if l.Window > 0 && q.requests > 0 && float64(q.burst)*float64(q.window) > float64(MaxWindow.Microseconds())*float64(q.requests) {
		ps.Add("burst", "lower the burst or raise the rate", "an empty bucket of %d takes longer than 366d to fill", q.burst)
	}
}

// validateLog bounds what an algorithm that logs requests remembers.
func (l *Limit) validateLog(ps *problem.List, path string, requests int64) {
	if a := l.Algorithm.line(); a != nil && a.maxRequests > 0 && requests > a.maxRequests {
		ps.Add(path, "use sliding_window, which keeps two numbers", "%s remembers each of these requests for each key", l.Algorithm)
	}
}

// validateKey checks what the limit counts by.
func (l *Limit) validateKey(ps *problem.List) {
	if len(l.Key) == 0 {
		ps.Add("key", "write key: ip", "the limit counts by nothing")
	}
	chosen, known := false, false
	for i, p := range l.Key {
		path := problem.Item("key", i)
		if slices.Contains(l.Key[:i], p) {
			ps.Add(path, "remove one", "%s stands twice", problem.Quote(p.String()))
			continue
		}
		if wrong, ok := p.problem(); ok {
			wrong.Path = path
			*ps = append(*ps, wrong)
		}
		switch p.Kind {
		case KeyHeader, KeyCookie, KeyQuery:
			chosen = true
		case KeyIP, KeyClient, KeyUser, KeySession:
			known = true
		}
	}
	if chosen && !known {
		ps.Warn("key", "add ip, client or user to it", "clients choose this key themselves, and can choose a new one for each request")
	}
}

func (l *Limit) validateCount(ps *problem.List) {
	if l.Count.Failed && len(l.Count.Statuses) > 0 {
		ps.Add("count", "choose one", "count is both failed and a list of statuses")
	}
	if l.Count.Statuses != nil && len(l.Count.Statuses) == 0 {
		ps.Add("count", "list statuses like [401, 403], or write all", "no request counts")
	}
	for i, status := range l.Count.Statuses {
		problem.Between(ps, problem.Item("count", i), status, 200, 599)
	}
}

// Validate says what is wrong with a ban.
func (b *Ban) Validate() []problem.Problem {
	var ps problem.List
	problem.Between(&ps, "after", b.After, 1, 1_000_000)
	if b.For <= 0 {
		problem.Positive(&ps, "for", b.For)
	} else if b.For < MinWindow || b.For > MaxWindow {
		ps.Add("for", "choose one from 1s to 366d", "the ban's length is out of bounds")
	}
	return ps
}

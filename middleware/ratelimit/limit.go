package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// Bounds that every limit keeps. They are generous, and they are what lets the
// arithmetic stay in integers below 2^53, where Lua's numbers are exact.
const (
	MinWindow = time.Second
	MaxWindow = 366 * 24 * time.Hour
	// MaxRequests bounds Requests, Burst and the plans.
	MaxRequests = 1_000_000_000
	// MaxLogged bounds Requests of a [SlidingLog], which remembers each request.
	MaxLogged = 50_000
	// MaxLimits is how many limits one [Limiter] may hold.
	MaxLimits = 32
)

// Limit is a rate limit: so many requests per window for each key.
//
// A Limit is one counter per key, shared by all who use a Limit of the same
// name, algorithm, size, window and burst. When one of these is edited, its
// counters start clean; everything else may be edited without losing count.
type Limit struct {
	// Name identifies the limit to clients and operators: at most 64 letters,
	// digits, '.', '_' and '-'. Required.
	Name string
	// Algorithm defaults to SlidingWindow.
	Algorithm Algorithm
	// Key is what has a counter of its own. Empty means the client's IP.
	Key []KeyPart
	// Requests per Window. For TokenBucket: tokens that return per Window.
	// Required.
	Requests int64
	// Window is MinWindow to MaxWindow, in whole microseconds. Required.
	Window time.Duration
	// Burst is the size of a TokenBucket; zero means Requests. Other algorithms
	// have none.
	Burst int64
	// Plans replaces Requests for the clients of a plan. A TokenBucket's size changes
	// in proportion, and holds at least one request's Cost.
	Plans map[string]int64
	// Count says which requests count. The zero Count counts all.
	Count Count
	// Cost is what one request consumes; zero means 1.
	Cost int64
	// DryRun decides, logs and counts as if it mattered, but denies nobody, and
	// is not charged for a request that another limit denies.
	DryRun bool
	// OnRedisError says what happens while Redis does not answer. The zero value
	// is Local.
	OnRedisError OnRedisError
	// Allow holds networks whose clients this limit ignores. They are matched
	// with the client's full address.
	Allow []netip.Prefix
	// Ban, where set, shuts out who keeps being denied.
	Ban Ban
}

// OnRedisError is what a limit does while Redis does not answer.
type OnRedisError string

const (
	// Local counts in this instance's memory, from nothing, until Redis is back:
	// N instances admit up to N times the limit.
	Local OnRedisError = "local"
	// Open admits everything.
	Open OnRedisError = "open"
	// Closed answers 503.
	Closed OnRedisError = "closed"
)

// Count says which requests count against a limit. Unless all do, a request is
// reserved when it comes and given back once its answer shows that it does not
// count, so that concurrent guesses cannot slip through.
type Count struct {
	// Failed counts answers of 400 and above, or whatever Options.Succeeded
	// does not call a success.
	Failed bool
	// Statuses counts answers with these statuses alone.
	Statuses []int
}

// All reports whether every request counts.
func (c Count) All() bool { return !c.Failed && len(c.Statuses) == 0 }

// counts reports whether an answer counts; succeeded may be nil.
func (c Count) counts(status int, h http.Header, succeeded func(int, http.Header) bool) bool {
	switch {
	case c.Failed && succeeded != nil:
		return !succeeded(status, h)
	case c.Failed:
		return status >= 400
	case len(c.Statuses) > 0:
		return slices.Contains(c.Statuses, status)
	}
	return true
}

// Ban denies a key outright, For so long, once it was denied After times within
// the limit's window. The zero Ban bans nobody.
type Ban struct {
	After int64
	For   time.Duration
}

// withDefaults fills in what zero values stand for.
func (l Limit) withDefaults() Limit {
	if l.Algorithm == "" {
		l.Algorithm = SlidingWindow
	}
	if l.OnRedisError == "" {
		l.OnRedisError = Local
	}
	if l.Cost == 0 {
		l.Cost = 1
	}
	if len(l.Key) == 0 {
		l.Key = []KeyPart{{Kind: KeyIP}}
	}
	return l
}

// Validate reports everything that is wrong with the limit, and how to mend it.
func (l Limit) Validate() error {
	l = l.withDefaults()
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("limit %q: "+format, append([]any{l.Name}, args...)...))
	}
	if !validName(l.Name) {
		wrong("the name must be 1 to 64 letters, digits, '.', '_' or '-'")
	}
	switch l.Algorithm {
	case FixedWindow, SlidingWindow, SlidingLog, TokenBucket:
	default:
		wrong("unknown algorithm %q; use fixed_window, sliding_window, sliding_log or token_bucket", l.Algorithm)
	}
	switch l.OnRedisError {
	case Local, Open, Closed:
	default:
		wrong("unknown OnRedisError %q; use local, open or closed", l.OnRedisError)
	}
	if l.Window < MinWindow || l.Window > MaxWindow || l.Window%time.Microsecond != 0 {
		wrong("the window is %v; use whole microseconds from %v to %v", l.Window, MinWindow, MaxWindow)
	}
	if l.Burst < 0 || l.Burst > MaxRequests {
		wrong("the burst is %d; use 1 to %d, or 0 for as many as requests", l.Burst, MaxRequests)
	} else if l.Burst > 0 && l.Algorithm != TokenBucket {
		wrong("a burst belongs to algorithm token_bucket, not %s; remove it or change the algorithm", l.Algorithm)
	}
	if l.Cost < 0 {
		wrong("the cost is %d; use 1 or more", l.Cost)
	}
	for _, p := range l.Key {
		if err := p.validate(); err != nil {
			wrong("%w", err)
		}
	}
	if l.Count.Failed && len(l.Count.Statuses) > 0 {
		wrong("count is both failed and a list of statuses; choose one")
	}
	for _, s := range l.Count.Statuses {
		if s < 100 || s > 599 {
			wrong("count names the status %d; use 100 to 599", s)
		}
	}
	if l.Ban.After < 0 || l.Ban.For < 0 || (l.Ban.After > 0) != (l.Ban.For > 0) {
		wrong("a ban needs both After, at least 1, and For, a duration")
	} else if l.Ban.For > MaxWindow || (l.Ban.For > 0 && l.Ban.For < time.Second) {
		wrong("the ban lasts %v; use 1s to %v", l.Ban.For, MaxWindow)
	}
	l.validateSize(wrong, "", l.Requests)
	for _, plan := range sortedKeys(l.Plans) {
		l.validateSize(wrong, plan, l.Plans[plan])
	}
	return errors.Join(errs...)
}

// validateSize checks what depends on a plan's number of requests.
func (l Limit) validateSize(wrong func(string, ...any), plan string, requests int64) {
	what := "requests"
	if plan != "" {
		what = fmt.Sprintf("requests on plan %q", plan)
	}
	if requests < 1 || requests > MaxRequests {
		wrong("%s: %d; use 1 to %d", what, requests, MaxRequests)
		return
	}
	if l.Algorithm == SlidingLog && requests > MaxLogged {
		wrong("%s: %d, but sliding_log remembers each one and takes at most %d; use sliding_window", what, requests, MaxLogged)
	}
	q := l.quota(requests)
	if l.Cost > q.capacity() {
		wrong("one request costs %d, but there are at most %d %s, so that none is ever admitted; lower the cost or raise the limit", l.Cost, q.capacity(), what)
	}
	if l.Algorithm == TokenBucket && l.Window > 0 && q.burst > 0 && q.burst <= MaxRequests {
		if fill, _ := mulDiv(q.burst, q.window, 0, q.requests); fill > MaxWindow.Microseconds() {
			wrong("an empty bucket of %d takes longer than %v to fill at %d per %v; lower the burst or raise the rate", q.burst, MaxWindow, requests, l.Window)
		}
	}
}

// ClientChosen reports whether the limit's key consists of what the client is
// free to choose (a header, a cookie, the host it asks for): it then limits
// nobody who chooses a new one each time, and `headgate check` warns of it.
func (l Limit) ClientChosen() bool {
	chosen := false
	for _, p := range l.Key {
		switch p.Kind {
		case KeyHeader, KeyCookie, KeyHost:
			chosen = true
		case KeyIP, KeyClient, KeyUser, KeySession:
			return false
		}
	}
	return chosen
}

// quota is what the algorithms need of a limit, in integers.
type quota struct {
	requests int64
	window   int64 // microseconds
	burst    int64 // the bucket's size; 0 for the other algorithms
}

// capacity is the most that can ever be consumed at once.
func (q quota) capacity() int64 {
	if q.burst > 0 {
		return q.burst
	}
	return q.requests
}

func (l Limit) quota(requests int64) quota {
	q := quota{requests: requests, window: l.Window.Microseconds()}
	if l.Algorithm != TokenBucket {
		return q
	}
	switch {
	case l.Burst == 0:
		q.burst = requests
	case requests == l.Requests || l.Requests < 1:
		q.burst = l.Burst
	default:
		scaled, _ := mulDiv(l.Burst, requests, 0, l.Requests)
		q.burst = min(max(scaled, 1, l.Cost), MaxRequests)
	}
	return q
}

// identity is a hash of all that a counter's meaning depends on. It is part of
// every counter's key, so that an edited limit starts clean.
func (l Limit) identity(q quota) uint64 {
	text := fmt.Sprintf("%s|%s|%d|%d|%d", l.Name, l.Algorithm, q.requests, q.window, q.burst)
	for _, p := range l.Key {
		text += "|" + p.String()
	}
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:8])
}

// denialIdentity adds what a remembered denial depends on besides: an edited
// cost, ban, count or outage rule must be heeded by the deny cache as well.
func (l Limit) denialIdentity(q quota) uint64 {
	text := fmt.Sprintf("%016x|%d|%v|%v|%v", l.identity(q), l.Cost, l.Ban, l.Count, l.OnRedisError)
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:8])
}

func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
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
	// MaxConcurrent bounds Concurrent, and the plans of such a limit.
	MaxConcurrent = 100_000
	// MaxLimits is how many limits one [Limiter] may hold.
	MaxLimits = 32
)

// Limit is a named rate limit: so many requests per window for each key.
// A denied request consumes nothing, from any limit.
type Limit struct {
	// Name identifies the limit to clients and operators: at most 64 letters, digits, '.', '_'
	// and '-'. It is one counter per key, shared by all who use a Limit of the same name,
	// algorithm, size, window and burst. When one of these is edited, its counters start
	// clean; everything else may be edited without losing count. A ban belongs to the name and the key: it outlasts
	// every edit but that of the name, and of ban to none. Required.
	Name string `yaml:"-"`
	// How requests are counted: fixed_window (cheapest; up to twice the requests around a boundary),
	// sliding_window (exact up to 32 requests; above, two counters: smooth, up to twice the requests in a window at the worst),
	// sliding_log (exact; memory grows with requests),
	// or token_bucket (a steady rate, with bursts). Default sliding_window.
	Algorithm Algorithm `yaml:"algorithm"`
	// What has a counter of its own: ip, client, user, session, account, route, host, method,
	// header:NAME, cookie:NAME, param:NAME (a :name of the route's path), query:NAME, or a list of them that together make one
	// key. client, user and session count known ones alone, session those with a user alone, and fall back to the IP, as a missing
	// header, cookie or parameter does. Parameters count decoded, in their first 1024 bytes; an empty one, or a query's with two different values,
	// as a missing one. A path's parameter counts without its ;parameters, and in lower case where the route ignores case.
	// account is whose account a request tried to log in to, by the app's answer (Headgate-Login-Attempt), which is replaced by 429 where the
	// limit denies it; browsers that have logged in to the account before have counters of their own.
	// Default ip. Hazard: a key that only the client chooses (a header, a cookie, a query) is no limit, as it may choose a new one each time.
	Key []KeyPart `yaml:"key"`
	// How many requests are admitted per window. 0 admits none, but for allow and for plans with a number: 403 with the reason,
	// no Retry-After, and no ban. Required without concurrent.
	Requests int64 `yaml:"requests" config:"loosens" required:"say how many requests a window admits" unless:"concurrent"`
	// The window, from 1s to 366d: for token_bucket, the time in which requests tokens return. Required without concurrent.
	Window time.Duration `yaml:"window" config:"tightens" required:"say how long a window is, like 1m" unless:"concurrent"`
	// How many requests may be in flight at once, instead of requests and window: each holds a place from its admission until
	// its response is complete, the WebSocket closed or the client gone. The places of an instance that was killed are free after
	// 8 seconds. A denial has Retry-After: 1 and is never remembered. plans are then numbers of places; algorithm, burst, cost, count and ban
	// mean nothing here. Editing the number frees no place. Default: none.
	Concurrent int64 `yaml:"concurrent" config:"loosens"`
	// For token_bucket: how many tokens the bucket holds. Default: as many as requests.
	Burst int64 `yaml:"burst" config:"loosens"`
	// Requests per window for who is on these plans, instead of requests; a token_bucket holds more or less in
	// proportion. A client's plan stands in clients, a session is on the one that the app has put it on by Headgate-Plan, and the
	// live session of every user is on the plan user. The first of these three that stands here counts. Sessions count on routes that
	// have them: a limit of a route with session: off knows no user. 0 is as in requests. Default: none.
	Plans map[string]int64 `yaml:"plans" config:"loosens"`
	// Which requests count: all; failed (answers of 400 and above; on a login route, those without Headgate-Login);
	// or a list of statuses. Answers of the gateway's own count as well (a wrong API key's 401, a 403, a 413), but for its 5xx and
	// 429. What doesn't count is given back when the answer is known; a request that only those without an answer yet deny
	// waits for these, up to 5s, and then gets 429 with Retry-After: 1. Default all.
	Count Count `yaml:"count" want:"all, failed, or a list of statuses"`
	// What one request consumes; the app server may correct it by Headgate-Cost on its answer. Default 1.
	Cost int64 `yaml:"cost" config:"tightens"`
	// Decide, log and count in metrics, but neither deny nor consume. Default false.
	DryRun bool `yaml:"dry_run" config:"loosens"`
	// What happens while Redis is away: local (this instance goes on from what Redis last said, with its part of the
	// client's traffic, and reports afterwards), open (everything is admitted), or closed (503). Default local.
	OnRedisError OnRedisError `yaml:"on_redis_error"`
	// Networks that are never limited. Default: none.
	Allow []netip.Prefix `yaml:"allow" config:"loosens"`
	// Deny at once, for a while, whoever keeps being denied. Default: off.
	Ban Ban `yaml:"ban" config:"optional,protects"`
}

// OnRedisError is what a limit does while Redis does not answer.
type OnRedisError string

const (
	// Local counts in this instance's memory, from what Redis last said, until Redis is back:
	// each instance admits its part of the client's traffic. N instances admit up to N times the
	// limit to a client that is new to them.
	Local OnRedisError = "local"
	// Open admits everything.
	Open OnRedisError = "open"
	// Closed answers 503.
	Closed OnRedisError = "closed"
)

// Values lists the ways.
func (OnRedisError) Values() []string { return []string{string(Local), string(Open), string(Closed)} }

// Count says which requests count against a limit. Unless all do, a request is
// reserved when it comes and given back once its answer shows that it does not
// count, so that concurrent guesses cannot slip through.
type Count struct {
	// Failed counts answers of 400 and above, or whatever Options.Succeeded
	// does not call a success.
	Failed bool
	// Statuses counts answers with these statuses alone.
	Statuses []int `config:"list"`
}

// UnmarshalText reads all or failed.
func (c *Count) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "all":
		*c = Count{}
	case "failed":
		*c = Count{Failed: true}
	default:
		mend := "write all, failed, or a list of statuses like [401, 403]"
		if near, ok := suggest.Nearest(s, []string{"all", "failed"}); ok {
			mend = "did you mean " + problem.Quote(near) + "?"
		}
		return problem.New("", mend, "%s is not what a limit can count", problem.Quote(s))
	}
	return nil
}

// String writes the count as a policy does.
func (c Count) String() string {
	switch {
	case c.Failed:
		return "failed"
	case len(c.Statuses) > 0:
		return fmt.Sprint(c.Statuses)
	}
	return "all"
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

// Ban denies a key outright once it has been denied too often. The zero Ban is none.
type Ban struct {
	// Denials inside one window after which the ban begins. Required, at least 1.
	After int64 `yaml:"after" config:"loosens" required:"say how many denials begin the ban"`
	// How long the ban lasts, from 1s to 366d. Required.
	For time.Duration `yaml:"for" config:"tightens" required:"say how long the ban lasts, like 10m"`
}

// ByAccount reports whether the limit is known only with the app's response, which names the account.
func (l *Limit) ByAccount() bool {
	return slices.ContainsFunc(l.Key, func(p KeyPart) bool { return p.Kind == KeyAccount })
}

// reserves reports whether a request is reserved until its response shows whether it counts.
func (l *Limit) reserves() bool { return !l.Count.All() && !l.ByAccount() }

// bans reports whether the limit has a ban.
func (l *Limit) bans() bool { return l.Ban.After > 0 }

// ClientChosen reports whether the limit's key consists of what the client is
// free to choose (a header, a cookie, a parameter, the host it asks for): a client that
// chooses a new one each time is not limited. Validate warns of headers, cookies and the query's parameters.
func (l Limit) ClientChosen() bool {
	chosen := false
	for _, p := range l.Key {
		switch p.Kind {
		case KeyHeader, KeyCookie, KeyHost, KeyParam, KeyQuery:
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

// line is the line of the table of algorithms that the limit counts by, nil where there is none.
func (l Limit) line() *algorithm {
	if l.Concurrent > 0 {
		return concurrent.line()
	}
	return l.Algorithm.line()
}

// size is what a plan's number stands in the place of.
func (l Limit) size() int64 {
	if l.Concurrent > 0 {
		return l.Concurrent
	}
	return l.Requests
}

// quota is the limit's at a number of requests: its own, or a plan's, in proportion to
// which a bucket's size is.
func (l Limit) quota(requests int64) quota {
	if l.Concurrent > 0 {
		return quota{requests: requests, window: leaseFor.Microseconds()}
	}
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
	if l.Concurrent > 0 { // requests in flight are the same ones, however many there may be
		text = fmt.Sprintf("%s|%s", l.Name, concurrent)
	} else if a := l.line(); a.forRequests(q.requests) != a {
		text += "|" + string(a.forRequests(q.requests).word) // instances of before kept such a counter in a's format
	}
	for _, p := range l.Key {
		text += "|" + p.String()
	}
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:8])
}

// banIdentity is a hash of the name alone.
func (l Limit) banIdentity() uint64 {
	sum := sha256.Sum256([]byte("ban|" + l.Name))
	return binary.BigEndian.Uint64(sum[:8])
}

// denialIdentity adds what a remembered denial depends on besides: an edited
// cost, ban, count or outage rule must be heeded by the deny cache as well.
func (l Limit) denialIdentity(q quota) uint64 {
	text := fmt.Sprintf("%016x|%d|%v|%v|%v", l.identity(q), l.Cost, l.Ban, l.Count, l.OnRedisError)
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:8])
}

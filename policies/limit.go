package policies

import "net/netip"

// Limit is a named rate limit: so many requests per window for each key.
// A denied request consumes nothing, from any limit.
type Limit struct {
	// How requests are counted: fixed_window (cheapest; up to twice the requests around a boundary),
	// sliding_window (two counters, smooth, slightly approximate), sliding_log (exact; memory grows with requests),
	// or token_bucket (a steady rate, with bursts). Default sliding_window.
	Algorithm Algorithm `yaml:"algorithm"`
	// What has a counter of its own: ip, client, user, session, route, host, method,
	// header:NAME, cookie:NAME, or a list of them that together make one key. client, user and session
	// count known ones alone, and fall back to the IP, as a missing header or cookie does. Default ip. Hazard: a key
	// that only the client chooses (a header, a cookie) is no limit, as it may choose a new one each time.
	Key Strings `yaml:"key"`
	// How many requests are admitted per window. Required, at least 1.
	Requests int `yaml:"requests"`
	// The window, from 1s to 366d: for token_bucket, the time in which requests tokens return. Required.
	Window Duration `yaml:"window"`
	// For token_bucket: how many tokens the bucket holds. Default: as many as requests.
	Burst int `yaml:"burst"`
	// Requests per window for clients on these plans, instead of requests. Default: none.
	Plans map[string]int `yaml:"plans"`
	// Which requests count: all; failed (answers of 400 and above; on a login route, those without Headgate-Login);
	// or a list of statuses. What doesn't count is given back when the answer is known. Default all.
	Count Count `yaml:"count"`
	// What one request consumes. Default 1.
	Cost int `yaml:"cost"`
	// Decide, log and count in metrics, but neither deny nor consume. Default false.
	DryRun bool `yaml:"dry_run"`
	// What happens while Redis is away: local (this instance counts for itself), open
	// (everything is admitted), or closed (503). Default local.
	OnRedisError OnRedisError `yaml:"on_redis_error"`
	// Networks that are never limited. Default: none.
	Allow []netip.Prefix `yaml:"allow"`
	// Deny at once, for a while, whoever keeps being denied. Default: off.
	Ban *Ban `yaml:"ban"`
}

// Ban denies a key outright once it has been denied too often.
type Ban struct {
	// Denials inside one window after which the ban begins. Required, at least 1.
	After int `yaml:"after"`
	// How long the ban lasts. Required.
	For Duration `yaml:"for"`
}

// Count says which requests a limit counts.
type Count struct {
	// Mode is CountAll, CountFailed or CountStatuses.
	Mode CountMode
	// Statuses are those that count where Mode is CountStatuses.
	Statuses []int
}

// CountMode is the kind of a Count.
type CountMode string

// The kinds of Count.
const (
	CountAll      CountMode = "all"
	CountFailed   CountMode = "failed"
	CountStatuses CountMode = "statuses"
)

package replay

import (
	"time"

	"github.com/headgate/headgate/gateway/replay/logs"
)

// Report is the result of a replay, and what WriteJSON writes.
type Report struct {
	Logs     []LogSummary  `json:"logs"`
	Requests int64         `json:"requests"`
	First    time.Time     `json:"first"`
	Last     time.Time     `json:"last"`
	Clients  int64         `json:"clients"`
	AtLeast  bool          `json:"clients_at_least,omitempty"` // there were too many to count each once
	Bots     BotSummary    `json:"bots"`
	Live     Live          `json:"live"`
	Policy   PolicyResult  `json:"policy"`
	Against  *PolicyResult `json:"against,omitempty"`
	Diff     *Diff         `json:"diff,omitempty"`
	Notes    []string      `json:"notes"`
}

// LogSummary says how one log was read.
type LogSummary struct {
	Name        string      `json:"name"`
	Format      logs.Format `json:"format"`
	Compression string      `json:"compression"`
	Lines       int64       `json:"lines"`
	BadLines    int64       `json:"bad_lines"`
	Bad         []BadLine   `json:"bad,omitempty"` // the first few
	// Late is how many lines were out of order by more lines than are held back. Their
	// requests were counted at the time that the replay had reached.
	Late      int64   `json:"late_lines"`
	WorstLate Seconds `json:"worst_late_seconds,omitempty"`
}

// BadLine is a line that could not be read.
type BadLine struct {
	Line   int64  `json:"line"`
	Reason string `json:"reason"`
	Text   string `json:"text"` // its beginning, quoted
}

// Seconds is a time span, in JSON a number of seconds.
type Seconds float64

// BotSummary counts the requests of bots, by their user agent.
type BotSummary struct {
	Known    int64 `json:"requests_with_known_agent"`
	Declared int64 `json:"declared_bots"` // user agents that say bot, crawler or spider
	Tools    int64 `json:"tools"`         // HTTP libraries and command-line tools
	Empty    int64 `json:"no_agent"`      // requests without a user agent
}

// Live compares with the denials in the log. A request was denied live
// if Headgate's log names the limit, or in other logs if its status is 429.
type Live struct {
	Denied     int64 `json:"denied"`
	Both       int64 `json:"also_denied_in_replay"`
	OnlyLive   int64 `json:"only_denied_live"`
	OnlyReplay int64 `json:"only_denied_in_replay"`
}

// PolicyResult is what one policy would have done with the requests.
type PolicyResult struct {
	Name         string         `json:"name"`
	Admitted     int64          `json:"admitted"`
	Denied       int64          `json:"denied"`
	DryRunDenied int64          `json:"dry_run_denied"`            // admitted, but for dry_run
	Networks     int64          `json:"denied_networks,omitempty"` // answered 403 by server.deny
	Maintenance  int64          `json:"maintenance"`               // answered 503 by a route's maintenance
	Purges       int64          `json:"refused_purges,omitempty"`  // answered 403 by server.purge_method
	Limits       []LimitResult  `json:"limits"`
	Routes       []RouteResult  `json:"routes"`
	CutOff       CutOff         `json:"cut_off"`
	Unmatched    Unmatched      `json:"unmatched"`
	Cache        *CacheEstimate `json:"cache,omitempty"` // nil without a cache rule
	Series       Series         `json:"series"`
}

// LimitResult is what one limit would have done. A request that several limits
// deny counts for the first of them, as in the access log.
type LimitResult struct {
	Name    string        `json:"name"`
	Rule    string        `json:"rule"` // in short
	DryRun  bool          `json:"dry_run"`
	Denied  int64         `json:"denied"` // with dry_run: would have been
	ByBan   int64         `json:"denied_by_ban,omitempty"`
	Clients int64         `json:"clients"`
	Bots    int64         `json:"clients_like_bots"`
	ByRoute []RouteDenied `json:"by_route,omitempty"`
}

// RouteDenied is how many requests of a route a limit denied.
type RouteDenied struct {
	Route  string `json:"route"`
	Denied int64  `json:"denied"`
}

// RouteResult counts the requests of one route.
type RouteResult struct {
	Name         string `json:"name"`
	Requests     int64  `json:"requests"`
	Denied       int64  `json:"denied"`
	DryRunDenied int64  `json:"dry_run_denied"`
}

// CutOff is about the clients that would have been denied at least once.
type CutOff struct {
	Clients int64        `json:"clients"`
	Bots    int64        `json:"clients_like_bots"`
	Top     []ClientView `json:"top"` // those denied most often
}

// ClientView is one client that would have been denied.
type ClientView struct {
	Client   string        `json:"client"` // an address, an IPv6 prefix, or the owner of an API key
	Requests int64         `json:"requests"`
	Denied   int64         `json:"denied"`
	Limits   []LimitDenied `json:"limits"`
	Bot      bool          `json:"looks_like_bot"`
	Agent    string        `json:"user_agent,omitempty"` // of its first denied request
	// The calendar minute with the most denials.
	WorstMinute         time.Time `json:"worst_minute"`
	WorstMinuteRequests int64     `json:"worst_minute_requests"`
	WorstMinuteDenied   int64     `json:"worst_minute_denied"`
	FirstDenied         time.Time `json:"first_denied"`
}

// LimitDenied is how many requests a limit denied.
type LimitDenied struct {
	Limit  string `json:"limit"`
	Denied int64  `json:"denied"`
}

// Unmatched counts the requests that no route takes.
type Unmatched struct {
	BadRequest       int64       `json:"bad_request"`        // 400: not HTTP, or a malformed host or path
	NotFound         int64       `json:"not_found"`          // 404
	MethodNotAllowed int64       `json:"method_not_allowed"` // 405
	Top              []PathCount `json:"top,omitempty"`
	Approximate      bool        `json:"top_approximate,omitempty"`
}

// PathCount is how often a path was asked for.
type PathCount struct {
	Status int    `json:"status"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Count  int64  `json:"count"`
}

// CacheEstimate says what the response cache would have done, as far as that follows from a log.
type CacheEstimate struct {
	CacheCount
	Rules  []CacheResult `json:"rules"`
	Routes []CacheResult `json:"routes"`
}

// CacheResult is the estimate for one rule or route.
type CacheResult struct {
	Name string `json:"name"`
	CacheCount
}

// CacheCount counts GET and HEAD requests that were not denied, on routes with a cache.
type CacheCount struct {
	Requests int64 `json:"requests"`
	Hits     int64 `json:"hits"`            // stale ones included
	Stale    int64 `json:"stale_hits"`      // served after the end of their freshness
	Origin   int64 `json:"origin_requests"` // that remain
}

// Saved is how many requests the origin would not have seen.
func (c CacheCount) Saved() int64 { return c.Requests - c.Origin }

// HitRatio is the share of requests answered from the cache, 0 to 1.
func (c CacheCount) HitRatio() float64 { return ratio(c.Hits, c.Requests) }

func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Series is the course of time, in equal steps.
type Series struct {
	Start  time.Time `json:"start"`
	Step   Seconds   `json:"step_seconds"`
	Points []Point   `json:"points"`
}

// Point is one step of time.
type Point struct {
	Requests int64 `json:"requests"`
	Denied   int64 `json:"denied"`
	DryRun   int64 `json:"dry_run_denied"`
	Hits     int64 `json:"cache_hits"`
}

// Diff is how the policy differs from the one that it is compared with.
type Diff struct {
	NewlyDenied    DiffSide   `json:"newly_denied"`
	NoLongerDenied DiffSide   `json:"no_longer_denied"`
	OtherRoute     []Rerouted `json:"other_route"`           // requests that another route takes
	CacheHits      int64      `json:"cache_hits"`            // more, or less, than before
	OriginSaved    int64      `json:"origin_requests_saved"` // more, or less, than before
	Same           bool       `json:"same"`                  // both policies treat every request alike
	ClientsAtLeast bool       `json:"clients_at_least"`      // there were too many to count each once
}

// DiffSide are the requests that one policy denies and the other does not.
type DiffSide struct {
	Requests int64         `json:"requests"`
	ByLimit  []LimitDenied `json:"by_limit"`
	ByRoute  []RouteDenied `json:"by_route"`
	// Clients that had such requests; Top lists those with the most.
	Clients int64        `json:"clients"`
	Top     []DiffClient `json:"top"`
}

// DiffClient is a client whose requests the two policies treat differently.
type DiffClient struct {
	Client   string `json:"client"`
	Requests int64  `json:"requests"`
	Bot      bool   `json:"looks_like_bot"`
}

// Rerouted counts requests that changed from one route to another. A missing
// route is named by the answer: "400", "404" or "405".
type Rerouted struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Requests int64  `json:"requests"`
}

func timeOf(us int64) time.Time { return time.UnixMicro(us).UTC() }

func microseconds(us int64) Seconds { return Seconds(float64(us) / 1e6) }

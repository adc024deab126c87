package policies

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
)

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
	Key []string `yaml:"key"`
	// How many requests are admitted per window. Required, at least 1.
	Requests int `yaml:"requests" required:"say how many requests a window admits"`
	// The window, from 1s to 366d: for token_bucket, the time in which requests tokens return. Required.
	Window time.Duration `yaml:"window" required:"say how long a window is, like 1m"`
	// For token_bucket: how many tokens the bucket holds. Default: as many as requests.
	Burst int `yaml:"burst"`
	// Requests per window for clients on these plans, instead of requests. Default: none.
	Plans map[string]int `yaml:"plans"`
	// Which requests count: all; failed (answers of 400 and above; on a login route, those without Headgate-Login);
	// or a list of statuses. What doesn't count is given back when the answer is known. Default all.
	Count Count `yaml:"count" want:"all, failed, or a list of statuses"`
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
	After int `yaml:"after" required:"say how many denials begin the ban"`
	// How long the ban lasts. Required.
	For time.Duration `yaml:"for" required:"say how long the ban lasts, like 10m"`
}

// Count says which requests a limit counts. The zero Count counts all.
type Count struct {
	// Failed counts answers of 400 and above.
	Failed bool
	// Statuses counts answers with these statuses alone.
	Statuses []int `config:"list"`
}

// All reports whether every request counts.
func (c Count) All() bool { return !c.Failed && len(c.Statuses) == 0 }

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

// UnmarshalText reads all or failed.
func (c *Count) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "all":
		*c = Count{}
	case "failed":
		*c = Count{Failed: true}
	default:
		mend := "write all, failed, or a list of statuses like [401, 403]"
		if near, ok := yamlnode.Nearest(s, []string{"all", "failed"}); ok {
			mend = "did you mean " + quote(near) + "?"
		}
		return problem.New("", mend, "%s is not what a limit can count", quote(s))
	}
	return nil
}

package policies

import "time"

// Cache is a named rule for the response cache, an RFC 9111 shared cache. What the
// origin forbids (no-store, private) is never stored, whatever stands here.
type Cache struct {
	// Freshness where the origin gives none. 0 leaves it to the origin alone. Default 0s.
	TTL time.Duration `yaml:"ttl"`
	// Freshness whatever the origin says, but never over no-store or private. 0 is off. Default 0s.
	// Hazard: the origin can then shorten it only by a purge.
	ForceTTL time.Duration `yaml:"force_ttl"`
	// How long after its end an answer is still served while one request fetches a new one (RFC 5861). Default 0s.
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate"`
	// How long after its end an answer is still served when the origin answers 500, 502, 503 or 504 (RFC 5861). Where
	// it cannot be reached at all, an answer stands in for ten minutes at least, unless it says must-revalidate or
	// the like (RFC 9111 section 4.2.4). Default 0s.
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// Tags for purging, besides the origin's Cache-Tag, Surrogate-Key and Cache-Groups. Default: none.
	Tags []string `yaml:"tags"`
	// Query parameters that make no difference, as names or with a * at the end: utm_*. They are
	// forwarded all the same. Default: none.
	IgnoreQuery []string `yaml:"ignore_query"`
	// The only query parameters that make a difference; [] is none at all. Not together with ignore_query. Default: all do.
	Query []string `yaml:"query"`
	// Cookies that make no difference, as names or with a * at the end: _ga*. They are removed
	// before forwarding. With any other cookie on a request, ttl, force_ttl and heuristic do not apply. Default: none.
	IgnoreCookies []string `yaml:"ignore_cookies"`
	// Request headers that are part of the key. Default: none. Hazard: each value is an entry of its own.
	KeyHeaders []string `yaml:"key_headers"`
	// Guess freshness from Last-Modified where nothing is said (RFC 9111 section 4.2.2). Default false.
	Heuristic bool `yaml:"heuristic"`
	// The largest body that is stored; larger ones stream through, unstored. Default 1MiB.
	MaxBody int64 `yaml:"max_body" config:"size"`
	// Freshness by status for errors (400 and above) where the origin gives none: {404: 10s}. Default: none.
	Errors map[int]time.Duration `yaml:"errors"`
}

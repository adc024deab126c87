package cache

// Tier is where a hit came from.
type Tier string

const (
	TierLocal Tier = "local"
	TierRedis Tier = "redis"
)

// Result is what the cache made of one request.
type Result struct {
	Rule string
	// Hit: served from what was stored, without the origin. Tier says from where.
	Hit  bool
	Tier Tier
	// Stale: the hit was stale, and allowed to be.
	Stale bool
	// Collapsed: served by a fetch that another request had begun.
	Collapsed bool
	// Forward is the RFC 9211 section 2.2 reason for asking the origin:
	// bypass, method, uri-miss, vary-miss, stale, request or partial.
	Forward string
	// Detail says why a response was not stored, or why none was looked for.
	Detail string
}

// Observer is told what the cache does, for metrics. Its methods are called on
// the request's way, concurrently, and must not block.
type Observer interface {
	// Request is called once for every request that passed a cached route.
	Request(Result)
	// Stored is called when an entry was stored; bytes is its body's size.
	Stored(rule string, bytes int64)
	// NotStored is called when a response turned out not to be stored only after
	// its head had been sent, with the reason: "over-cache-bytes" where Redis holds
	// Options.RedisBytes, so that it is in the local tier alone; "client-share"
	// where it exceeded the client's share. Other reasons are in Result.Detail.
	NotStored(rule, reason string)
	// Encoded is called when a copy of a stored body was made in a coding, with its bytes before and after; after is 0 where it
	// would not be shorter, and is not kept.
	Encoded(rule, coding string, before, after int64)
	// Purged is called for every purge that this instance began.
	Purged(kind string, soft bool)
	// Evicted is called when the local tier evicted an entry because it was full.
	Evicted(bytes int64)
}

// note tells the observer what became of the request.
func (x *request) note(r Result) {
	r.Rule = x.route.rule.Name
	x.cache.observer.Request(r)
}

// NopObserver ignores everything. Embed it to observe only some things.
type NopObserver struct{}

func (NopObserver) Request(Result)                  {}
func (NopObserver) Stored(string, int64)            {}
func (NopObserver) NotStored(_, _ string)           {}
func (NopObserver) Encoded(_, _ string, _, _ int64) {}
func (NopObserver) Purged(string, bool)             {}
func (NopObserver) Evicted(int64)                   {}

package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/seldom"
	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/store"
)

// Options configures a [Cache]. The zero Options makes a cache of this
// process alone.
type Options struct {
	// Redis holds the shared tier, the leases and the purge log. Nil: the
	// local tier alone, with the same behaviour.
	Redis *store.Redis

	// LocalBytes bounds the local tier, in bytes: bodies, headers, keys and what it takes
	// to keep them. Each rule that has stored something has an equal share of it, and
	// may take more while others leave theirs unused. 0: 64 MiB.
	LocalBytes int64

	// RedisBytes is the most that the cache keeps in Redis, in bytes of Redis'
	// memory, over all instances together. What is beyond it stays in the local
	// tier of the instance that fetched it, until something expires in Redis. It
	// is to be less than the maxmemory of that Redis by what else is stored
	// there. In a Cluster it is for all masters together. 0: 256 MiB.
	RedisBytes int64

	// FillBytes bounds what responses take, in bytes, while they are on their
	// way into the cache. Beyond it they stream through, unstored. 0: a
	// quarter of LocalBytes, at least 16 MiB. The content of QUERY requests may
	// take a quarter of it more; beyond that they go past the cache.
	FillBytes int64

	// Lease is how long a fetch on behalf of all instances is believed to be
	// alive without a sign of life of its instance, which renews it three times in
	// that time: a dead instance delays the others by little more than this. 0: 1 s.
	Lease time.Duration

	// InstanceID names this process among those that share the Redis. Empty:
	// a random one. Two live instances must not share one.
	InstanceID string

	// Name is this cache's in Cache-Status. Empty: headgate.
	Name string

	// Now is the clock of freshness. Nil: time.Now. It is for tests; leases
	// and timeouts always go by real time.
	Now func() time.Time

	// Logger is told of what is wrong and yet harms no request. Nil: no log.
	Logger *slog.Logger

	// Observer is told what the cache does. Nil: no observer.
	Observer Observer

	// Rule and Route are for [Middleware], which makes a cache with one rule;
	// [New] does not look at them. An empty Rule.Name is "default".
	Rule  Rule
	Route MiddlewareOptions
}

// Cache is a shared HTTP cache. It outlives the rules that use it: a new
// policy puts new routes on the same Cache. Safe for concurrent use.
type Cache struct {
	name     string
	now      func() time.Time
	log      *slog.Logger
	lines    lines
	observer Observer

	local   *localTier
	shared  *redisTier    // nil without Redis
	fleet   *fleet.Member // nil without Redis
	purges  *fleet.View
	flights *collapse.Group[flightKey, outcome]
	filling *collapse.Budget
	asking  *collapse.Budget // the content of QUERY requests, apart from filling: clients choose how slowly it comes

	encodings encodingQueue

	resolver *clientip.Resolver // finds the client where the caller of Serve does not know it
	shares   *clientShares

	// What is remembered of keys for a short time; see the constants beside
	// [Cache.fetchesWhole].
	hitForMiss  *collapse.Recent[flightKey]
	asSent      *collapse.Recent[flightKey]
	unstorable  *collapse.Recent[flightKey]
	unreachable *collapse.Recent[flightKey]

	mu      sync.Mutex
	filters []*rule // one for each way that rules have filtered queries
	closed  bool

	background sync.WaitGroup
	stop       context.CancelFunc
	alive      context.Context
}

// lines are those of the log that any request may cause.
type lines struct{ unconfirmed, panicked seldom.Line }

// recentBytes bounds each set of recent keys.
const recentBytes = 4 << 20

// New makes a Cache. With Redis it does not wait for it: until it answers,
// requests go to the origin. [Cache.Close] ends it.
func New(o Options) (*Cache, error) {
	if o.LocalBytes < 0 || o.RedisBytes < 0 || o.FillBytes < 0 || o.Lease < 0 {
		return nil, errors.New("cache: LocalBytes, RedisBytes, FillBytes and Lease cannot be negative; leave them 0 for their defaults")
	}
	if o.LocalBytes == 0 {
		o.LocalBytes = 64 << 20
	}
	if o.RedisBytes == 0 {
		o.RedisBytes = 256 << 20
	}
	if o.FillBytes == 0 {
		o.FillBytes = fillBytes(o.LocalBytes)
	}
	if o.Lease == 0 {
		o.Lease = time.Second
	}
	if o.InstanceID == "" {
		o.InstanceID = fleet.NewToken()
	}
	if o.Name == "" {
		o.Name = "headgate"
	}
	if !httpx.IsToken(o.Name) {
		return nil, fmt.Errorf("cache: Name %q is not a token; use letters, digits and dashes", o.Name)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = NopObserver{}
	}

	c := &Cache{
		name: o.Name, now: o.Now, log: o.Logger, observer: o.Observer,
		purges: fleet.NewView(tagOf(tagAll)), flights: collapse.NewGroup[flightKey, outcome](), filling: collapse.NewBudget(o.FillBytes), asking: collapse.NewBudget(askBytes(o.FillBytes)),
		encodings: newEncodingQueue(runtime.GOMAXPROCS(0)),
	}
	for _, recent := range []**collapse.Recent[flightKey]{&c.hitForMiss, &c.asSent, &c.unstorable, &c.unreachable} {
		*recent = collapse.NewRecent[flightKey](recentBytes, o.Now)
	}
	c.local = newLocalTier(o.LocalBytes, o.Now, o.Observer.Evicted)
	var err error
	if c.resolver, err = clientip.New(clientip.Options{}); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.shares = newClientShares(o.Now, c.clientShare)
	c.alive, c.stop = context.WithCancel(context.Background())
	if o.Redis != nil {
		account := fleet.NewAccount(fleet.AccountOptions{Redis: o.Redis, Logger: o.Logger, Limit: o.RedisBytes})
		c.shared = &redisTier{redis: o.Redis, account: account, log: o.Logger, now: o.Now}
		c.background.Go(func() { account.Follow(c.alive) })
		c.fleet = fleet.New(fleet.Options{Redis: o.Redis, Logger: o.Logger, View: c.purges, Instance: o.InstanceID, Lease: o.Lease})
		c.background.Go(func() { c.fleet.Follow(c.alive) })
	}
	return c, nil
}

// fillBytes is the default of Options.FillBytes.
func fillBytes(localBytes int64) int64 { return max(localBytes/4, 16<<20) }

// askBytes bounds the content of QUERY requests that is held at a time.
func askBytes(fillBytes int64) int64 { return fillBytes / 4 }

// SetMemory changes Options.LocalBytes, which must be positive, and gives FillBytes its
// default. What does not fit any more is evicted at once; the rest stays as it is.
func (c *Cache) SetMemory(localBytes int64) {
	c.local.setLimit(localBytes)
	c.filling.SetLimit(fillBytes(localBytes))
	c.asking.SetLimit(askBytes(fillBytes(localBytes)))
}

// clientShare is the most bytes that one client may add through this instance,
// by queries that rules do not list: a part of the local tier, and over all
// instances that part of what the cache keeps in Redis.
func (c *Cache) clientShare() int64 {
	share := c.local.limit.Load() / sharePart
	if c.shared != nil {
		account := c.shared.account
		share = min(share, account.Limit()/sharePart/int64(max(1, account.State().Instances)))
	}
	return share
}

// Close ends what runs in the background and waits for it: fetches without a
// client are cancelled. It is to be called when requests have been drained;
// those that come later are passed to the next handler.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.background.Wait()
	if c.shared != nil {
		c.shared.account.Close()
	}
	c.local.close()
	return nil
}

// WaitForFetches waits until no fetch is under way, so that everything that
// earlier requests have fetched is stored. It is for tests of a cache of this
// process alone (with Redis it does not wait), and must not be called while
// requests come in.
func (c *Cache) WaitForFetches() {
	if c.shared == nil {
		c.background.Wait()
	}
}

// spawn runs f in a goroutine that Close waits for. It is false after Close.
func (c *Cache) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.background.Go(f)
	return true
}

// Stats is the state of a Cache at a moment.
type Stats struct {
	LocalEntries int   // resources in the local tier
	LocalBytes   int64 // what they take
	LocalLimit   int64 // the most that they may take
	RedisBytes   int64 // what all instances together keep in Redis, as this one knows
	RedisLimit   int64 // Options.RedisBytes; 0 without Redis
	Instances    int   // that share the Redis, as this one knows; 0 without Redis
	FillingBytes int64 // what responses on their way in take
	Fetches      int   // requests to the origin under way on behalf of several
	Waiting      int   // requests that wait for those, or read from them
	PurgeLog     int   // tags in the purge log since its floor
}

// Stats gives the current state, for gauges.
func (c *Cache) Stats() Stats {
	s := Stats{
		LocalLimit:   c.local.limit.Load(),
		FillingBytes: c.filling.Used(),
		Fetches:      c.flights.Len(),
		Waiting:      c.flights.Users(),
		PurgeLog:     c.purges.Size(),
	}
	s.LocalEntries, s.LocalBytes = c.local.size()
	if c.shared != nil {
		account := c.shared.account.State()
		s.RedisBytes, s.RedisLimit, s.Instances = account.Bytes, c.shared.account.Limit(), account.Instances
	}
	return s
}

// register remembers how a rule filters queries, so that purges by URL find
// what it stored.
func (c *Cache) register(r *rule) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.filters {
		if slices.Equal(known.IgnoreQuery, r.IgnoreQuery) && slices.Equal(known.Query, r.Query) {
			return
		}
	}
	c.filters = append(c.filters, r)
}

// keyQueries gives the queries that a URL's has in the keys of all rules.
func (c *Cache) keyQueries(raw string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	queries := []string{raw}
	for _, r := range c.filters {
		queries = append(queries, string(appendQuery(nil, r, raw)))
	}
	return queries
}

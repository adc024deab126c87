package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/middleware/blocklist"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/compress"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
)

// parts is what outlives a policy.
type parts struct {
	redis     *store.Connections // nil: everything lives in this process
	shared    bool               // counters, sessions and cache are another's: Options.Shared
	counters  *ratelimit.Counters
	sessions  *session.Manager
	cache     atomic.Pointer[cache.Cache] // nil until a policy caches something
	upstreams *upstreams
	buffers   *proxy.Buffers
	upgrades  *proxy.Upgrades
	cors      *pipeline.LearnedCORS
	encoders  *compress.Encoders
	blocks    *blocklist.List
	jobs      atomic.Pointer[jobs.Queues] // nil until a policy has queues
}

// sharedRedis is the connection by which limits and sessions are asked in one round trip.
func (p *parts) sharedRedis() *store.Redis {
	if p.redis == nil {
		return nil
	}
	return p.redis.Shared()
}

// Shared is what several gateways in one process have in common where there is
// no Redis: counters, sessions, cached responses, blocks and jobs. Policies that name a
// Redis do not use it.
type Shared struct {
	counters *ratelimit.Counters
	sessions *session.Manager
	cache    *cache.Cache
	blocks   *blocklist.List
	jobs     *jobs.Queues // with the queues of the policy that has run last
}

// NewShared returns an empty Shared. Close ends it.
func NewShared() (*Shared, error) {
	counters, err := ratelimit.NewCounters(ratelimit.CountersOptions{})
	if err != nil {
		return nil, err
	}
	sessions, err := session.New(session.Options{})
	if err != nil {
		counters.Close()
		return nil, err
	}
	responses, err := cache.New(cache.Options{})
	if err != nil {
		counters.Close()
		return nil, err
	}
	blocks, err := blocklist.New(blocklist.Options{})
	if err != nil {
		counters.Close()
		responses.Close()
		return nil, err
	}
	queues, err := jobs.New(jobs.Options{})
	if err != nil {
		counters.Close()
		responses.Close()
		return nil, err
	}
	return &Shared{counters: counters, sessions: sessions, cache: responses, blocks: blocks, jobs: queues}, nil
}

// Close ends what NewShared began. The gateways that use it must have been shut down.
func (s *Shared) Close() {
	s.jobs.Close()
	s.cache.Close()
	s.counters.Close()
}

// newPseudonym returns what Via calls this gateway: of its own, so that two gateways in a row are no loop.
func newPseudonym() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "headgate-" + hex.EncodeToString(b[:])
}

// openParts opens what the first policy names. What fails leaves the rest to teardown.
func (s *Server) openParts() (*parts, error) {
	p := &parts{upgrades: proxy.NewUpgrades(), cors: pipeline.NewLearnedCORS(s.options.Now), encoders: compress.NewEncoders(0)}
	p.buffers = proxy.NewBuffers(s.options.Policy.Memory.Buffers, s.options.Policy.Server.SpoolDir)
	p.upstreams = newUpstreams(proxy.Options{
		Pseudonym: newPseudonym(), Buffers: p.buffers,
		Logger: s.log, Observer: s.metrics.Attempt, WaitObserver: s.metrics.Wait, Upgrades: p.upgrades,
		Now: s.options.Now, Transport: s.options.Transport,
	}, s.log)
	s.teardown.push(p.upstreams.close)
	s.metrics.WatchUpstreams(p.upstreams.status)

	policy := s.options.Policy
	if options := policy.Redis; options.URL != "" {
		options.Logger = s.log
		redis, err := store.OpenConnections(options)
		if err != nil {
			return nil, err
		}
		s.teardown.push(func() { redis.Close() })
		p.redis = redis
		s.metrics.WatchRedis(redis)
	} else if shared := s.options.Shared; shared != nil {
		p.shared, p.counters, p.sessions, p.blocks = true, shared.counters, shared.sessions, shared.blocks
		p.cache.Store(shared.cache)
		return p, nil
	}

	var err error
	var forLimits, forSessions *store.Redis
	if p.redis != nil {
		forLimits, forSessions = p.redis.Limits, p.redis.Sessions
	}
	p.counters, err = ratelimit.NewCounters(ratelimit.CountersOptions{
		Redis: forLimits, MemoryBytes: countersMemory(policy), Observer: s.metrics, WaitObserver: s.metrics.LimitWait,
		Logger: s.log, Now: s.options.Now,
	})
	if err != nil {
		return nil, err
	}
	s.teardown.push(p.counters.Close)
	if p.blocks, err = blocklist.New(blocklist.Options{Redis: forLimits, Logger: s.log, Now: s.options.Now}); err != nil {
		return nil, err
	}
	p.sessions, err = session.New(session.Options{
		Redis: forSessions, Settings: policy.Session, Logger: s.log, Now: s.options.Now,
	})
	return p, err
}

// openCache opens the cache with the first policy that needs it: without one
// there is nothing for it to follow in Redis.
func (s *Server) openCache(p *policies.Policy) error {
	if s.parts.cache.Load() != nil {
		return nil
	}
	observer := observe.NewCacheMetrics()
	var redis *store.Redis
	if s.parts.redis != nil {
		redis = s.parts.redis.Cache
	}
	c, err := cache.New(cache.Options{Redis: redis, LocalBytes: cacheMemory(p), RedisBytes: s.options.Policy.Redis.CacheBytes, Logger: s.log, Observer: observer, Now: s.options.Now})
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	observer.Register(s.metrics.Registry, c.Stats)
	s.teardown.push(func() { c.Close() })
	s.parts.cache.Store(c)
	return nil
}

package ratelimit

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

const (
	// leaseFor is how long a lease lasts in Redis unless it is renewed: as long a request of
	// an instance that was killed still counts.
	leaseFor = 8 * time.Second
	// renewEvery is how often an instance renews its leases, all in one pipeline. Three
	// renewals in a row may fail before a lease ends under its request.
	renewEvery = 2 * time.Second
	// renewFrom is the age from which a lease is renewed: most requests end before it.
	renewFrom = time.Second
)

// leases are those that this process holds: one for each request in flight under a limit
// with [Limit.Concurrent], from its admission until Result.Release.
//
// Where there is no Redis, and while it is away, they are what is counted. Where there is
// one, they are renewed in it, those that were counted locally included.
type leases struct {
	redis    *redisCounters // nil: there is none
	instance string         // what the IDs of this process begin with
	last     atomic.Uint64  // the last ID
	shards   [leaseShards]leaseShard

	start  sync.Once // of the renewals, with the first lease
	stop   context.CancelFunc
	ctx    context.Context
	worker sync.WaitGroup
}

const leaseShards = 16

type leaseShard struct {
	mu   sync.Mutex
	held map[counterKey]*holding
}

// holding is the leases of one key.
type holding struct {
	key string              // in Redis; "" where there is none
	ids map[uint64]leasedAt // by ID
}

// leasedAt is when a lease was taken, by this process' clock.
type leasedAt = time.Time

func newLeases(rc *redisCounters) *leases {
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	ls := &leases{redis: rc, instance: strconv.FormatUint(binary.BigEndian.Uint64(random[:]), 10) + "."}
	ls.ctx, ls.stop = context.WithCancel(context.Background())
	if rc != nil {
		rc.leaseText = ls.text
	}
	for i := range ls.shards {
		ls.shards[i].held = map[counterKey]*holding{}
	}
	return ls
}

// close ends the renewals: what is held ends by itself.
func (ls *leases) close() {
	ls.stop()
	ls.start.Do(func() {}) // none begin any more
	ls.worker.Wait()
}

// next returns a new ID.
func (ls *leases) next() uint64 { return ls.last.Add(1) }

// text is an ID as Redis has it: digits and a dot, which no other instance has.
func (ls *leases) text(id uint64) string { return ls.instance + strconv.FormatUint(id, 10) }

func (ls *leases) shard(k counterKey) *leaseShard { return &ls.shards[k.digest[1]%leaseShards] }

// count returns how many leases of a key this process holds.
func (ls *leases) count(k counterKey) int64 {
	s := ls.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[k]; h != nil {
		return int64(len(h.ids))
	}
	return 0
}

// add notes an item's lease.
func (ls *leases) add(it *item) {
	if ls.redis != nil {
		ls.start.Do(func() { ls.worker.Go(ls.run) })
	}
	s := ls.shard(it.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[it.key]
	if h == nil {
		h = &holding{ids: map[uint64]leasedAt{}}
		if ls.redis != nil {
			h.key = ls.redis.key(it.variant, it.key, it.tag)
		}
		s.held[it.key] = h
	}
	h.ids[it.lease] = time.Now()
}

// remove forgets a lease.
func (ls *leases) remove(k counterKey, id uint64) {
	s := ls.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[k]
	if h == nil {
		return
	}
	delete(h.ids, id)
	if len(h.ids) == 0 {
		delete(s.held, k)
	}
}

// holds reports whether a lease is held.
func (ls *leases) holds(k counterKey, id uint64) bool {
	s := ls.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[k]
	if h == nil {
		return false
	}
	_, ok := h.ids[id]
	return ok
}

// renewal is the leases of one key that are to be renewed.
type renewal struct {
	of  counterKey
	key string
	ids []uint64
}

// run renews until close.
func (ls *leases) run() {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	var unsure []renewal // renewals that failed: their commands may yet arrive
	for {
		select {
		case <-ls.ctx.Done():
			return
		case <-tick.C:
		}
		unsure = ls.renew(ls.due(time.Now().Add(-renewFrom)), unsure)
	}
}

// due returns the leases that were taken before an instant.
func (ls *leases) due(before time.Time) (due []renewal) {
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		for k, h := range s.held {
			r := renewal{of: k, key: h.key}
			for id, taken := range h.ids {
				if taken.Before(before) {
					r.ids = append(r.ids, id)
				}
			}
			if r.ids != nil {
				due = append(due, r)
			}
		}
		s.mu.Unlock()
	}
	return due
}

// renew renews leases, and removes again those whose requests have ended meanwhile: the renewal may
// have come behind the release. It does so for unsure as well, and returns what is unsure now.
func (ls *leases) renew(due, unsure []renewal) []renewal {
	calls := ls.calls(due)
	var err error
	for len(calls) > 0 && err == nil {
		n := min(len(calls), callsAtOnce)
		err = ls.redis.redis.Do(store.Writing(ls.ctx), calls[:n]...)
		calls = calls[n:]
	}
	var ended []redis.Cmder
	for _, r := range append(unsure, due...) {
		for _, id := range r.ids {
			if !ls.holds(r.of, id) {
				ended = append(ended, ls.removal(r.key, id))
			}
		}
	}
	if len(ended) > 0 {
		err = errors.Join(err, ls.redis.redis.Do(store.Writing(ls.ctx), ended...))
	}
	if err != nil {
		return due
	}
	return nil
}

const (
	callsAtOnce = 512
	// leasesAtOnce bounds one run of renew.lua, which holds up all others that ask Redis.
	leasesAtOnce = 256
)

// calls returns the runs of renew.lua that renew leases: in a Cluster one for each key at least.
func (ls *leases) calls(due []renewal) (calls []redis.Cmder) {
	var keys []string
	args := []any{ls.redis.time(), leaseFor.Microseconds()}
	n := 0
	flush := func() {
		if n > 0 {
			calls = append(calls, ls.redis.scripts.renew.Call(keys, args...))
			keys, args, n = nil, args[:2:2], 0
		}
	}
	for _, r := range due {
		for ids := r.ids; len(ids) > 0; {
			some := ids[:min(len(ids), leasesAtOnce-n)]
			ids = ids[len(some):]
			keys, args = append(keys, r.key), append(args, len(some))
			for _, id := range some {
				args = append(args, ls.text(id))
			}
			if n += len(some); n == leasesAtOnce || ls.redis.cluster {
				flush()
			}
		}
	}
	flush()
	return calls
}

func (ls *leases) removal(key string, id uint64) redis.Cmder {
	return redis.NewIntCmd(context.Background(), "zrem", key, ls.text(id))
}

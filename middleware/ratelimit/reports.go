package ratelimit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// reports is what this instance has admitted while Redis was away, and gives Redis when it is
// back. A report carries the instance and a sequence, by which Redis takes it once, however often
// its reply is lost.
type reports struct {
	counters *Counters
	instance string
	waiting  atomic.Int64 // how many keys are due

	mu       sync.Mutex
	due      map[counterKey]*report
	sequence uint64
	running  bool
	stop     context.CancelFunc
	ctx      context.Context
	worker   sync.WaitGroup
}

// report is what was admitted of one key.
type report struct {
	variant *variant
	key     string // in Redis
	cost    int64  // all that Redis has not confirmed
	last    int64  // when the last of it was admitted

	sequence uint64 // of what is under way; 0: nothing is
	sent     int64  // how much that is
}

const (
	// maxReports bounds the keys that are due; further ones are not reported.
	maxReports     = 1 << 16
	reportsAtOnce  = 256
	reportEvery    = 50 * time.Millisecond
	reportsSuffix  = ":reports"
	reportsKeepFor = time.Minute // besides the window: longer than any report is sent again
)

func newReports(c *Counters) *reports {
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	r := &reports{counters: c, instance: hex.EncodeToString(random[:]), due: map[counterKey]*report{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// close ends the background work. What is due is not reported any more.
func (r *reports) close() {
	r.mu.Lock()
	r.running = true // none begins
	r.mu.Unlock()
	r.stop()
	r.worker.Wait()
}

// unsent returns what Redis has not been told of a key.
func (r *reports) unsent(k counterKey) int64 {
	if r.waiting.Load() == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if due := r.due[k]; due != nil {
		return due.cost
	}
	return 0
}

// add adds to what an item's key has to report; less than 0 takes back what was not sent yet.
func (r *reports) add(it *item, cost int64) {
	if cost == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	due := r.due[it.key]
	if due == nil {
		if cost < 0 || len(r.due) >= maxReports {
			return
		}
		due = &report{variant: it.variant, key: r.counters.redis.key(it.variant, it.key, it.tag)}
		r.due[it.key] = due
		r.waiting.Store(int64(len(r.due)))
	}
	due.cost, due.last = max(due.cost+cost, due.sent), r.counters.clock()
	if !r.running {
		r.running = true
		r.worker.Go(r.run)
	}
}

// forget drops what is due of a key, which an operator has reset.
func (r *reports) forget(k counterKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(k)
}

func (r *reports) drop(k counterKey) {
	delete(r.due, k)
	r.waiting.Store(int64(len(r.due)))
}

// run reports until nothing is due.
func (r *reports) run() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(reportEvery):
		}
		if !r.counters.redis.redis.Available() {
			continue
		}
		for !r.sendSome() {
			if r.ctx.Err() != nil {
				return
			}
		}
		r.mu.Lock()
		if len(r.due) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

// sendSome sends the next reports, and returns true when none is left or Redis takes none.
func (r *reports) sendSome() (done bool) {
	keys, calls := r.next()
	if len(calls) == 0 {
		return true
	}
	cmds := make([]redis.Cmder, len(calls))
	for i, c := range calls {
		cmds[i] = c
	}
	err := r.counters.redis.redis.Do(store.Writing(r.ctx), cmds...)
	if err != nil {
		r.counters.complain("what was admitted while Redis was away cannot be reported to it yet", err)
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, k := range keys {
		if err := calls[i].Err(); err != nil {
			r.counters.complain("what was admitted while Redis was away cannot be reported to it yet", err)
			done = true
			continue
		}
		due := r.due[k]
		if due == nil {
			continue // an operator has reset it
		}
		due.cost -= due.sent
		due.sequence, due.sent = 0, 0
		if due.cost <= 0 {
			r.drop(k)
		}
	}
	return done || len(r.due) == 0
}

// next returns the runs of report.lua for some of what is due, and drops what counts no more.
func (r *reports) next() (keys []counterKey, calls []*store.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.counters.clock()
	for k, due := range r.due {
		if len(calls) == reportsAtOnce {
			break
		}
		v := due.variant
		if now-due.last >= v.window || due.cost <= 0 {
			r.drop(k)
			continue
		}
		if due.sequence == 0 {
			r.sequence++
			due.sequence, due.sent = r.sequence, due.cost
		}
		keep := v.window/1000 + reportsKeepFor.Milliseconds()
		keys = append(keys, k)
		calls = append(calls, r.counters.redis.scripts.reportFor(v.needs).Call([]string{due.key, due.key + reportsSuffix},
			r.counters.redis.time(), v.args[0], v.requests, v.window, v.burst, due.sent, r.instance, due.sequence, keep))
	}
	return keys, calls
}

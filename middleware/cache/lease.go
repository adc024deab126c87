package cache

import (
	"context"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// lease is the right to ask the origin on behalf of all instances, held in
// Redis under a token of its own and for a limited time: it is renewed while
// the response's head is awaited and while bytes flow, and by nobody once its
// instance is dead. A nil lease is that of a fetch on its own account.
type lease struct {
	r       *remote
	key     string
	waiting string
	token   string
	stop    chan struct{}
	once    sync.Once
	opened  atomic.Bool
	bytes   atomic.Bool // have flowed since the last renewal
	flowing atomic.Bool // some have: from then on only bytes count
}

// openFor is how long an opened lease lets everybody through: long enough for
// those who wait in other instances to notice.
const openFor = time.Second

// leaseKeys names the lease for a flight. What is known of variants comes from
// Redis, so that all instances name it alike.
func (r *remote) leaseKeys(f *flight, j *job, variants []*entry) (key, waiting string) {
	variant := rfc9111.VariantID{}
	if len(variants) > 0 && len(variants[0].Vary) > 0 {
		names := make([]string, len(variants[0].Vary))
		for i := range names {
			names[i] = variants[0].Vary[i].Name
		}
		variant = rfc9111.VariantOf(rfc9111.SelectorsOf(names, j.want.Field))
	}
	key = r.key(j.hash, "l", hex.EncodeToString(variant[:]), strconv.Itoa(int(f.key.class)), strconv.FormatUint(f.key.generation, 10))
	return key, key + ":w"
}

// waitTurn takes the lease on a fetch, or waits for what its holder brings.
// done says that the flight is resolved, from what was found.
func (c *Cache) waitTurn(f *flight, j *job, seen found) (held *lease, now found, done bool) {
	r := c.remote
	pause := 10 * time.Millisecond
	var woken chan struct{}
	for {
		key, waiting := r.leaseKeys(f, j, seen.variants)
		if woken == nil {
			woken = r.waiters.add(key)
			defer func() { r.waiters.remove(key, woken) }()
		}
		l, answer := r.acquire(f.ctx, r.indexKey(j.hash), key, waiting, seen.version)
		switch answer {
		case "granted":
			return l, seen, false
		case "changed":
			seen = c.look(f.ctx, j)
			if seen.serves(j) {
				f.resolve(seen.outcome())
				return nil, seen, true
			}
			if seen.unsure {
				return nil, seen, false
			}
			continue
		case "held":
			if j.refresh {
				f.resolve(outcome{retry: true})
				return nil, seen, true
			}
		default: // open, or Redis is away
			return nil, seen, false
		}
		// Wake-ups may be lost, hence the polling; it is gentle, for they are
		// the rule.
		timer := time.NewTimer(pause)
		select {
		case <-woken:
			pause = 10 * time.Millisecond
		case <-timer.C:
			pause = min(2*pause, 150*time.Millisecond)
		case <-f.ctx.Done():
			timer.Stop()
			return nil, seen, true
		}
		timer.Stop()
	}
}

func (r *remote) acquire(ctx context.Context, index, key, waiting string, version int64) (*lease, string) {
	l := &lease{r: r, key: key, waiting: waiting, token: randomID(), stop: make(chan struct{})}
	call := acquireScript.Call([]string{index, key, waiting}, l.token, r.lease.Milliseconds(), version)
	if err := r.redis.Do(ctx, call); err != nil {
		return nil, ""
	}
	reply, err := call.Slice()
	if err != nil || len(reply) == 0 {
		return nil, ""
	}
	answer, _ := reply[0].(string)
	if answer == "granted" {
		go l.renew()
	}
	return l, answer
}

// bodyLeases is for how many leases a body may take while other instances wait
// for it. They have none of its bytes before it is whole, which an event stream
// never is: better that each of them asks the origin once.
const bodyLeases = 3

// renew keeps the lease until it is released, or nothing happens any more.
func (l *lease) renew() {
	tick := time.NewTicker(l.r.lease / 3)
	defer tick.Stop()
	for ticks := 0; ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		if l.flowing.Load() {
			if ticks++; ticks > 3*bodyLeases {
				l.open()
				return
			}
		}
		if l.flowing.Load() && !l.bytes.Swap(false) {
			continue // a stalled body: let the lease run out
		}
		call := renewScript.Call([]string{l.key}, l.token, l.r.lease.Milliseconds())
		_ = l.r.redis.Do(context.Background(), call) // the next tick tries again
	}
}

// alive is told of every piece of the body.
func (l *lease) alive() {
	if l == nil {
		return
	}
	if !l.bytes.Load() {
		l.bytes.Store(true)
		l.flowing.Store(true)
	}
}

// open releases the lease such that nobody waits for the next one either: what
// came is for one request alone.
func (l *lease) open() {
	if l == nil {
		return
	}
	l.opened.Store(true)
	l.release()
}

func (l *lease) release() {
	if l == nil {
		return
	}
	l.once.Do(func() {
		close(l.stop)
		openMS := int64(0)
		if l.opened.Load() {
			openMS = openFor.Milliseconds()
		}
		call := releaseScript.Call([]string{l.key, l.waiting}, l.token, openMS, l.r.wakeChannel())
		// If it fails the lease ends by itself.
		_ = l.r.redis.Do(context.Background(), call)
	})
}

// waiters are the flights of this instance that wait for another's lease.
type waiters struct {
	mu sync.Mutex
	m  map[string][]chan struct{}
}

func (w *waiters) add(key string) chan struct{} {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.m[key] = append(w.m[key], ch)
	return ch
}

func (w *waiters) remove(key string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.m[key][:0]
	for _, other := range w.m[key] {
		if other != ch {
			kept = append(kept, other)
		}
	}
	if len(kept) == 0 {
		delete(w.m, key)
		return
	}
	w.m[key] = kept
}

func (w *waiters) wake(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.m[key] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

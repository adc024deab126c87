package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Account is what the cache keeps in Redis, in bytes, over all instances, and
// this instance's share of what is left. It is safe for concurrent use.
//
// Redis has one hash for it, which holds
//
//   - what was stored, by when it expires: the end of a time bucket -> bytes.
//     When the bucket has ended, Redis has deleted the keys, and the bytes no
//     longer count;
//   - a lease of bytes for each instance, out of which it stores without a
//     round trip: instance -> bytes, end and the last report. The lease of an
//     instance that was killed ends by itself.
//
// The live buckets and the live leases together never exceed the limit. Each
// byte that an instance writes comes out of its lease, and moves from there to a
// bucket with the next report, so that Redis holds more than the limit by what
// killed instances had written and not reported at most.
type Account struct {
	o       AccountOptions
	token   string // names this process in the account, for as long as it runs
	started time.Time
	wake    chan struct{}
	syncing sync.Mutex // held over a round trip

	mu       sync.Mutex
	ahead    time.Duration   // Redis' clock, since 1970, less the time since started
	room     int64           // bytes of the lease that are free
	reserved int64           // bytes of the lease that are being written
	changes  map[int64]int64 // bytes by bucket that no report has yet
	pending  *report         // sent, and not known to have arrived
	reports  int64
	ends     time.Duration // of the lease, since started
	used     time.Duration // when bytes were last reserved, likewise
	synced   time.Duration // when the last successful sync began, likewise
	refusals refusal
	state    AccountState
}

// AccountOptions configures an [Account].
type AccountOptions struct {
	Redis  *store.Redis
	Logger *slog.Logger
	// Limit is the most bytes that all instances together keep in Redis.
	Limit int64
	// Lease is how long the lease of an instance lasts that was killed. 0: 15 s.
	Lease time.Duration
}

// AccountState is the account as Redis last told it.
type AccountState struct {
	Bytes     int64 // what all instances have stored
	Instances int   // that share the Redis; 0: Redis has not answered yet
}

// report is a part of the changes under its number: Redis applies it once,
// however often it is sent.
type report struct {
	number  int64
	changes map[int64]int64
}

// refusal is what Redis had no room for a moment ago: it is not asked again for
// as much until then.
type refusal struct {
	until time.Duration
	bytes int64
}

const (
	defaultAccountLease = 15 * time.Second

	// accountTick is how often an instance that stores something reports, and
	// accountIdle how often one that does not asks for the state.
	accountTick = time.Second
	accountIdle = 5 * time.Second

	// keepsLease is for how long an instance that stores nothing keeps the free
	// part of its lease.
	keepsLease = 10 * time.Second

	// asksAgain is how soon Redis is asked again after it had no room.
	asksAgain = 500 * time.Millisecond

	// refillEvery bounds how often a lease is refilled ahead of need.
	refillEvery = 100 * time.Millisecond

	// maxStep is the most bytes that an instance holds ready, ahead of need. It
	// is less where the limit is small: a 64th.
	maxStep = 4 << 20
)

// NewAccount makes an Account. Its Follow is to be run.
func NewAccount(o AccountOptions) *Account {
	if o.Lease == 0 {
		o.Lease = defaultAccountLease
	}
	now := time.Now()
	return &Account{
		o: o, token: NewToken(), started: now, wake: make(chan struct{}, 1),
		ahead: time.Duration(now.UnixNano()), changes: make(map[int64]int64),
	}
}

// Limit is the most bytes that all instances together keep in Redis.
func (a *Account) Limit() int64 { return a.o.Limit }

// State is the account as this instance knows it: as Redis last told it, and
// what this instance has stored since.
func (a *Account) State() AccountState {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	s.Bytes += sum(a.changes)
	if a.pending != nil {
		s.Bytes += sum(a.pending.changes)
	}
	s.Bytes = max(0, s.Bytes)
	return s
}

func (a *Account) step() int64 { return min(a.o.Limit/64, maxStep) }

func (a *Account) since() time.Duration { return time.Since(a.started) }

// Reserve takes n bytes for what is about to be written; [Account.Settle] says
// what became of them. It is false where there is no room for them, and costs a
// round trip only where this instance's lease is used up. An error means that
// Redis did not tell.
func (a *Account) Reserve(ctx context.Context, n int64) (bool, error) {
	for range 4 {
		switch taken, full := a.take(n); {
		case taken:
			return true, nil
		case full:
			return false, nil
		}
		if err := a.sync(ctx, n); err != nil {
			return false, err
		}
	}
	return false, nil // other requests were faster each time
}

// take takes n bytes of the lease, if it has them. full: Redis has none either.
func (a *Account) take(n int64) (taken, full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.since()
	a.used = now
	if now < a.ends && n <= a.room {
		a.room -= n
		a.reserved += n
		if a.room < a.step()/2 && now > a.synced+refillEvery {
			a.refill()
		}
		return true, false
	}
	return false, n > a.o.Limit || (now < a.refusals.until && n >= a.refusals.bytes)
}

func (a *Account) refill() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Change is a number of bytes that Redis holds until Expires from now on; a
// negative number: that it no longer holds until then.
type Change struct {
	Expires time.Duration
	Bytes   int64
}

// Settle ends a reservation of n bytes, 0 for what needed none, with what has
// changed in Redis. What it took less is free again.
func (a *Account) Settle(n int64, changes ...Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.since()
	a.reserved -= n
	a.room += n
	for _, c := range changes {
		if c.Bytes == 0 || c.Expires <= 0 {
			continue
		}
		bucket := bucketEnd(now+a.ahead, c.Expires)
		if a.changes[bucket] += c.Bytes; a.changes[bucket] == 0 {
			delete(a.changes, bucket)
		}
		a.room -= c.Bytes
	}
}

// bucketEnd gives the end of the bucket for what expires in a while: the second
// in which that is, or a later one, by a 16th of the time until then at most. So
// there are few buckets, and the finer ones end within the coarser ones: bytes
// that are taken out shortly before they expire are never missing.
func bucketEnd(now, in time.Duration) int64 {
	second := func(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
	width := int64(1)
	for 2*width*16 <= second(in) {
		width *= 2
	}
	return (second(now+in) + width - 1) / width * width
}

// Follow reports what this instance stores, and renews and refills its lease,
// until ctx ends.
func (a *Account) Follow(ctx context.Context) {
	tick := time.NewTicker(accountTick)
	defer tick.Stop()
	failing := false
	for {
		err := a.sync(ctx, 0)
		if (err != nil) != failing && ctx.Err() == nil {
			if failing = err != nil; failing {
				a.o.Logger.Warn("cache: the account of bytes in Redis cannot be kept; nothing is stored there until it can", "error", err)
			} else {
				a.o.Logger.Info("cache: the account of bytes in Redis is kept again")
			}
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return
			case <-a.wake:
				waiting = false
			case <-tick.C:
				waiting = !a.due()
			}
		}
	}
}

// due reports whether there is something to tell Redis, or to ask.
func (a *Account) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.changes) > 0 || a.pending != nil || a.room != 0 || a.reserved != 0 || a.since() >= a.synced+accountIdle
}

// Close reports for the last time, and gives the lease back. It is to be called
// after Follow has ended, and the last Settle.
func (a *Account) Close() {
	a.mu.Lock()
	a.used = -keepsLease
	a.mu.Unlock()
	_ = a.sync(context.Background(), 0) // if it fails the lease ends by itself
}

// sync reports what was stored, and asks for a lease that has need bytes free.
func (a *Account) sync(ctx context.Context, need int64) error {
	a.syncing.Lock()
	defer a.syncing.Unlock()
	a.mu.Lock()
	if need > 0 && need <= a.room && a.since() < a.ends {
		a.mu.Unlock()
		return nil // the sync that this one waited for has brought it
	}
	sent := a.since()
	call, must := a.request(sent, need)
	a.mu.Unlock()

	if err := a.o.Redis.Do(ctx, call); err != nil {
		return err
	}
	reply, err := call.Int64Slice()
	if err != nil {
		return err
	}
	if len(reply) != 4 {
		return errors.New("cache: the account in Redis cannot be read")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = nil
	a.room += reply[0]
	a.state = AccountState{Bytes: reply[1], Instances: int(reply[2])}
	a.ahead = time.Duration(reply[3])*time.Millisecond - sent
	// Redis counts the lease from when it ran the script, which was after we
	// sent it. Clocks differ in pace: keep a margin.
	a.ends, a.synced = sent+a.o.Lease-a.o.Lease/20, sent
	if reply[0] < must {
		a.refusals = refusal{until: a.since() + asksAgain, bytes: need}
	}
	return nil
}

// request makes the call of a sync. must is what it asks for at the least.
func (a *Account) request(now time.Duration, need int64) (call *store.Call, must int64) {
	if a.pending == nil && len(a.changes) > 0 {
		a.reports++
		a.pending = &report{a.reports, a.changes}
		a.changes = make(map[int64]int64)
	}
	ready := int64(0) // to hold ahead of need
	if need > 0 || now < a.used+keepsLease {
		ready = a.step()
	}
	if now >= a.ends {
		a.room = min(a.room, 0) // the lease has ended
	}
	a.room = min(a.room, max(need, ready))
	must = max(0, need-a.room)
	extra := max(0, ready-max(0, a.room-need))
	keep := max(0, a.room+a.reserved+sum(a.changes))
	args := []any{a.token, a.o.Lease.Milliseconds(), a.o.Limit, keep, must, extra}
	if p := a.pending; p != nil {
		args = append(args, p.number)
		for bucket, bytes := range p.changes {
			args = append(args, bucket, bytes)
		}
	}
	return accountScript.Call([]string{a.o.Redis.Key("cache", "{budget}")}, args...), must
}

func sum(changes map[int64]int64) (n int64) {
	for _, bytes := range changes {
		n += bytes
	}
	return n
}

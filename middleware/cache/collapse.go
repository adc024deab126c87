package cache

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// flightKey names what one fetch is for. Requests that differ in it never wait
// for each other: other resources and known variants, requests of another
// class, and requests from before and after a purge.
type flightKey struct {
	key        keyHash
	variant    rfc9111.VariantID
	class      rfc9111.Class
	generation uint64
}

// flight is one look into Redis and one fetch from the origin, on behalf of
// every request that asked for the same while it was under way. It runs in a
// goroutine of its own; the request that caused it waits like the others.
type flight struct {
	key     flightKey
	ready   chan struct{} // closed when outcome is set
	outcome outcome
	// interim passes 1xx responses to the request that caused the flight, for
	// as long as that one is there.
	interim    chan interim
	leaderGone chan struct{}
	hitForMiss bool // nobody is to wait for it

	ctx    context.Context
	cancel context.CancelFunc

	mu         sync.Mutex
	interested int // requests that wait for it or read from it
	waited     bool
	resolved   bool
	abandoned  bool // by the request that caused it
	ended      bool
	timer      *time.Timer   // ends it when nobody is interested for long
	detached   *atomic.Int64 // the cache's count of such flights; counted while timer is set
}

type interim struct {
	status int
	header http.Header
}

// outcome is what a flight comes to: known as soon as the response's head is.
type outcome struct {
	// One of these is set:
	entry  *entry  // a whole response, stored or validated
	stream *stream // a response under way
	err    error   // the origin could not be asked, or the handler failed
	panic  any     // what the handler panicked with
	retry  bool    // nothing came of it; ask again

	arrival *rfc9111.Arrival // with stream: the origin's own head, for its request alone
	shared  *entry           // with stream: what others would get; nil if nobody else may
	leader  *reader          // with stream: the leader's place
	own     bool             // with entry: only the leader may have it
	bare    bool             // the answer is to the leader's own preconditions, Range or HEAD

	tier   Tier
	status outcomeStatus // of the leader's answer
	why    string        // not stored, because
}

// flights are the flights under way. Safe for concurrent use.
type flights struct {
	mu sync.Mutex
	m  map[flightKey]*flight
}

func newFlights() *flights { return &flights{m: make(map[flightKey]*flight)} }

// newFlight prepares a flight that keeps the values of ctx, the context of the
// request that causes it, but not its end.
func newFlight(ctx context.Context, key flightKey) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &flight{
		ctx: ctx, cancel: cancel, key: key, ready: make(chan struct{}), interested: 1,
		interim: make(chan interim), leaderGone: make(chan struct{}),
	}
}

// join gives the flight for a key, and whether the caller is to lead it. A
// leader starts it.
func (fs *flights) join(ctx context.Context, key flightKey) (f *flight, leader bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.m[key]; f != nil {
		f.enter()
		return f, false
	}
	f = newFlight(ctx, key)
	fs.m[key] = f
	return f, true
}

// current joins the flight for a key if there is one.
func (fs *flights) current(key flightKey) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.m[key]
	if f != nil {
		f.enter()
	}
	return f
}

// remove ends a flight's being joined.
func (fs *flights) remove(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.m[f.key] == f {
		delete(fs.m, f.key)
	}
}

func (fs *flights) len() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.m)
}

func (f *flight) enter() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interested++
	f.waited = f.waited || !f.resolved
	f.reattach()
}

// reattach is called with the lock held when somebody is interested again, or
// the flight is over.
func (f *flight) reattach() {
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
		f.detached.Add(-1)
	}
}

// detachedLimit bounds a fetch that nobody waits for any more, and maxDetached
// their number: clients that ask and leave must not fill the origin with what
// nobody wants.
const (
	detachedLimit = time.Minute
	maxDetached   = 512
)

// leave is called by each request when it is done with the flight, in whatever
// way. A fetch that nobody wants goes on if its answer may be stored.
func (f *flight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interested--
	if f.interested > 0 || f.ended {
		return
	}
	if f.resolved && (f.outcome.stream == nil || !f.outcome.stream.isKept()) {
		f.cancel()
		return
	}
	if f.detached.Add(1) > maxDetached {
		f.detached.Add(-1)
		f.cancel()
		return
	}
	f.timer = time.AfterFunc(detachedLimit, f.cancel)
}

// resolve sets the outcome, once.
func (f *flight) resolve(o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resolved {
		return
	}
	f.resolved, f.outcome = true, o
	close(f.ready)
	if f.abandoned && o.leader != nil {
		o.leader.leave()
	}
	if f.interested == 0 && o.stream != nil && o.shared == nil {
		f.cancel()
	}
}

// abandon is called when the request that caused the flight has had its
// answer, or left without one: its place in the stream must not hold up others.
func (f *flight) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandoned = true
	close(f.leaderGone)
	if f.resolved && f.outcome.leader != nil {
		f.outcome.leader.leave()
	}
}

// end is called when the flight's work is done, whoever still reads from it.
func (f *flight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.reattach()
}

// contended reports whether others waited for the outcome.
func (f *flight) contended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waited
}

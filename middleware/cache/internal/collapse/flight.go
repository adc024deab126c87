package collapse

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Group holds the flights under way: at most one that can be joined for each
// key K. O is the outcome of a flight, its zero value that of one that has come
// to nothing. It is safe for concurrent use.
type Group[K comparable, O any] struct {
	mu      sync.Mutex
	flights map[K]*Flight[K, O]
	overdue map[K][]*Flight[K, O] // pending, and not joined any more; see Watch

	detached atomic.Int64 // flights that go on although no request waits for them
}

// NewGroup makes a group without flights.
func NewGroup[K comparable, O any]() *Group[K, O] {
	return &Group[K, O]{flights: make(map[K]*Flight[K, O]), overdue: make(map[K][]*Flight[K, O])}
}

// Join gives the flight for a key, and whether the caller leads it, and so has
// to run it. Either way the caller must call Leave when it is done with it. ctx
// is the request's: the flight keeps its values, but not its end.
func (g *Group[K, O]) Join(ctx context.Context, key K) (f *Flight[K, O], leader bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[key]; f != nil {
		f.follow()
		return f, false
	}
	f = g.Unshared(ctx, key)
	f.shared = true
	g.flights[key] = f
	return f, true
}

// JoinExisting joins the flight for a key if there is one; nil: there is none.
func (g *Group[K, O]) JoinExisting(key K) *Flight[K, O] {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flights[key]
	if f != nil {
		f.follow()
	}
	return f
}

// Unshared makes a flight that no other request can join. The caller leads it.
func (g *Group[K, O]) Unshared(ctx context.Context, key K) *Flight[K, O] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &Flight[K, O]{
		group: g, key: key, ctx: ctx, cancel: cancel, users: 1,
		ready: make(chan struct{}), late: make(chan struct{}), interims: make(chan Interim), leaderGone: make(chan struct{}),
	}
}

// Remove keeps further requests from joining a flight.
func (g *Group[K, O]) Remove(f *Flight[K, O]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[f.key] == f {
		delete(g.flights, f.key)
	}
	if len(g.overdue) > 0 {
		g.forgetLocked(f)
	}
}

// Len is the number of flights that can be joined.
func (g *Group[K, O]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights)
}

// Users is the number of requests that wait for flights that can be joined, or
// read from them.
func (g *Group[K, O]) Users() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.flights {
		f.mu.Lock()
		n += f.users
		f.mu.Unlock()
	}
	return n
}

// Flight is one fetch on behalf of every request that asked for the same while
// it was under way. It is safe for concurrent use.
type Flight[K comparable, O any] struct {
	group  *Group[K, O]
	key    K
	shared bool // other requests could join it
	ctx    context.Context
	cancel context.CancelFunc

	ready      chan struct{} // closed when outcome is set
	late       chan struct{} // closed when the flight is overdue
	interims   chan Interim
	leaderGone chan struct{} // closed when the leader has its response, or has left

	mu           sync.Mutex
	stage        stage
	outcome      O
	body         *Stream // of the outcome, while it is under way; nil: none
	leader       *Reader // the leader's place in body
	users        int     // requests that wait for the flight or read from it
	hadFollowers bool    // a second request waited for the outcome
	background   bool    // it goes on without users: the request that has led it does not wait for it
	leaderLeft   bool
	clients      []netip.Addr // that joined, up to maxClients
	timer        *time.Timer  // ends the flight when it has had no users for long; counted in group.detached
	watch        *watch       // nil: its progress is not watched
}

// stage is how far a flight is.
type stage uint8

const (
	pending  stage = iota // the outcome is not known
	resolved              // the outcome is known, the body may still be under way
	ended                 // the flight's goroutine is done
)

// Interim is a 1xx response.
type Interim struct {
	Status int
	Header http.Header
}

// Shared reports whether other requests could join the flight.
func (f *Flight[K, O]) Shared() bool { return f.shared }

// Key is the key that the flight was made for.
func (f *Flight[K, O]) Key() K { return f.key }

// Context lives as long as the flight may go on.
func (f *Flight[K, O]) Context() context.Context { return f.ctx }

// Cancel ends the flight's context.
func (f *Flight[K, O]) Cancel() { f.cancel() }

// Ready is closed when the outcome is known.
func (f *Flight[K, O]) Ready() <-chan struct{} { return f.ready }

// Outcome is what the flight came to. It is valid once Ready is closed.
func (f *Flight[K, O]) Outcome() *O { return &f.outcome }

// Interims gives the leader the 1xx responses of the origin.
func (f *Flight[K, O]) Interims() <-chan Interim { return f.interims }

// PassInterim hands a 1xx response to the leader, unless it has left or the
// final response is there.
func (f *Flight[K, O]) PassInterim(i Interim) {
	select {
	case f.interims <- i:
	case <-f.leaderGone:
	case <-f.ready:
	case <-f.ctx.Done():
	}
}

func (f *Flight[K, O]) follow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users++
	f.hadFollowers = f.hadFollowers || f.stage == pending
	f.stopTimer()
}

// maxClients bounds how many of the clients that joined a flight are remembered.
const maxClients = 4

// JoinedBy says whose request has joined the flight.
func (f *Flight[K, O]) JoinedBy(client netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if client.IsValid() && len(f.clients) < maxClients && !slices.Contains(f.clients, client) {
		f.clients = append(f.clients, client)
	}
}

// Clients gives some of the clients whose requests have joined the flight.
func (f *Flight[K, O]) Clients() []netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.clients)
}

// stopTimer is called with the lock held when a request uses the flight again,
// or the flight is over.
func (f *Flight[K, O]) stopTimer() {
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
		f.group.detached.Add(-1)
	}
}

const (
	// unsizedLimit bounds a flight that no request waits for and whose length is not known: what
	// has no length may have no end, and holds a connection to the origin.
	unsizedLimit = 15 * time.Second
	// detachedLimit bounds one whose length is known, and one in the background until its length is.
	detachedLimit = time.Minute
	// maxDetached bounds their number: clients that ask and leave must not keep the origin
	// busy with responses that no client reads.
	maxDetached = 512
)

// Leave is called once by each request when it is done with the flight, in
// whatever way. A flight without users goes on if its response may be stored, for a limited time.
func (f *Flight[K, O]) Leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users--
	f.detachLocked()
}

// Background is called in the place of LeaderDone and Leave by a request that has led a flight
// which it does not wait for.
func (f *Flight[K, O]) Background() {
	f.LeaderDone()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users--
	f.background = true
	f.detachLocked()
}

// GoOn keeps a flight going whose requests are given something else than what it brings.
func (f *Flight[K, O]) GoOn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.background = true
}

// detachLocked bounds a flight that has no users: from when the last of them has left, or from
// when its length is known.
func (f *Flight[K, O]) detachLocked() {
	f.stopTimer()
	if f.users > 0 || f.stage == ended {
		return
	}
	if f.isUselessLocked() || f.group.detached.Load() >= maxDetached {
		f.cancel()
		return
	}
	limit := unsizedLimit
	if f.body != nil && f.body.Length() >= 0 || f.body == nil && f.background {
		limit = detachedLimit
	}
	f.group.detached.Add(1)
	f.timer = time.AfterFunc(limit, f.cancel)
}

// isUselessLocked reports whether nothing that still comes of the flight is stored.
func (f *Flight[K, O]) isUselessLocked() bool {
	if f.body != nil {
		return !f.body.Kept()
	}
	return f.stage == resolved && !f.background
}

// Resolve sets the outcome, and reports whether it did: the second and later calls do not. body is the
// response's body that is still under way and leader the leader's reader of it;
// nil: there is none.
func (f *Flight[K, O]) Resolve(o O, body *Stream, leader *Reader) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.stage == pending
	if first {
		f.stage, f.outcome, f.leader = resolved, o, leader
		close(f.ready)
	}
	if leader != nil && (f.leaderLeft || !first) {
		leader.Leave()
	}
	if f.body == nil && body != nil {
		f.body = body
		if f.users == 0 && (!body.Kept() || body.Length() >= 0 || f.background) {
			f.detachLocked()
		}
	}
	return first
}

// Resolved reports whether the outcome is known.
func (f *Flight[K, O]) Resolved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stage != pending
}

// LeaderDone is called once, when the leader has its response or has left
// without one: its place in the body must not hold up other clients.
func (f *Flight[K, O]) LeaderDone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaderLeft = true
	close(f.leaderGone)
	if f.leader != nil {
		f.leader.Leave()
	}
}

// End is called when the flight's goroutine is done, whether or not requests
// still read from it.
func (f *Flight[K, O]) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stage = ended
	f.stopTimer()
	f.stopWatchLocked()
}

// HadFollowers reports whether other requests than the leader waited for the
// outcome.
func (f *Flight[K, O]) HadFollowers() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hadFollowers
}

package ratelimit

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// MaxWait is how long a request waits at most for reservations to be settled. A limit
// that counts by the response reserves what a request costs until the response is known.
// A request that such reservations alone deny would be admitted if they were all given
// back, as those of honest logins are: it waits for them, and consumes nothing meanwhile.
const MaxWait = 5 * time.Second

const (
	maxInLine  = 100    // requests of this instance that wait for one counter
	maxWaiting = 10_000 // requests of this instance that wait
	// The first of a line is woken when this instance settles a reservation of its counter.
	// What other instances settle, and the end of a window, it finds by asking again: at
	// first after firstPoll, then ever more seldom. Each line adds pollSpacing to that, so
	// that all lines together ask Redis at most once in pollSpacing.
	firstPoll   = 25 * time.Millisecond
	lastPoll    = 400 * time.Millisecond
	pollSpacing = time.Millisecond
)

// WaitEnd is how a wait for reservations has ended.
type WaitEnd string

const (
	WaitAdmitted WaitEnd = "admitted"
	WaitDenied   WaitEnd = "denied"   // a limit denies it whatever is still reserved
	WaitTimeout  WaitEnd = "timeout"  // MaxWait has passed
	WaitFull     WaitEnd = "full"     // too many waited already: it has not waited
	WaitLeft     WaitEnd = "left"     // the client has disconnected
	WaitShutdown WaitEnd = "shutdown" // this instance is shutting down
)

// Wait tells that a request begins to wait for reservations to be settled, or how that has
// ended.
type Wait struct {
	Limit  string // that it waits for; at the end the one that it waited for last
	Change int    // 1 as it begins to wait, -1 as it ends, 0 where it has not waited
	End    WaitEnd
}

// waits reports whether reservations alone deny the request, so that it is to wait for
// them.
func (r *Result) waits() bool {
	if r.allowed || r.unavailable {
		return false
	}
	for i := range r.items {
		if it := &r.items[i]; it.vetoes() && !it.Unsettled {
			return false
		}
	}
	return true
}

// waitsFor returns the first item that denies the request.
func (r *Result) waitsFor() *item {
	for i := range r.items {
		if it := &r.items[i]; it.vetoes() {
			return it
		}
	}
	return nil
}

// wait has the request wait in line while reservations alone deny it, and asks again
// when one has been settled. It is no wait for Redis.
func (l *Limiter) wait(ctx context.Context, res *Result, batch *store.Batch) {
	c := l.counters
	if c.settleNext != nil {
		for res.waits() && c.settleNext() {
			l.askAgain(ctx, res, batch)
		}
		return
	}
	var p *place
	w := Wait{End: WaitAdmitted}
	begin := time.Now()
	over := time.NewTimer(MaxWait)
	defer over.Stop()
	for res.waits() {
		it := res.waitsFor()
		w.Limit = it.limit.Name
		if p == nil || p.key != it.key {
			c.lines.leave(p)
			if p = c.lines.join(it, c.denied); p == nil {
				w.End = WaitFull
				break
			}
			if w.Change == 0 {
				w.Change = -1
				c.waitObserver(Wait{Limit: w.Limit, Change: 1})
			}
		}
		if w.End = l.turn(ctx, p, over.C); w.End != WaitAdmitted {
			break
		}
		if !l.askAgain(ctx, res, batch) && !res.waits() {
			w.End = WaitDenied
		}
	}
	c.lines.leave(p)
	if w.Change != 0 {
		res.waited = time.Since(begin)
	}
	c.waitObserver(w)
}

// askAgain decides the request once more, and reports whether it is admitted.
func (l *Limiter) askAgain(ctx context.Context, res *Result, batch *store.Batch) bool {
	if batch != nil && !batch.Pending() {
		batch = nil // its other commands have their reply
	}
	ctx = store.Afresh(ctx)
	if !l.remembered(res) && !l.wouldBeRefunded(ctx, res) {
		l.ask(ctx, res, batch)
	}
	return res.allowed
}

// wouldBeRefunded reports, where the limits of the request lie in several slots, whether one
// of them still denies it. To ask would consume from the others for a moment, each time.
func (l *Limiter) wouldBeRefunded(ctx context.Context, res *Result) bool {
	c := l.counters
	if !c.scattered(res.items) || c.redis.take(ctx, res.items, nil, true) != nil {
		return false
	}
	res.allowed = true
	for i := range res.items {
		it := &res.items[i]
		it.charged = false
		res.allowed = res.allowed && !it.vetoes()
	}
	return !res.allowed
}

// turn waits until the request should ask again. Otherwise it returns why the wait is over.
func (l *Limiter) turn(ctx context.Context, p *place, over <-chan time.Time) WaitEnd {
	var again <-chan time.Time
	if wait, first := l.counters.lines.nextPoll(p); first {
		poll := time.NewTimer(wait)
		defer poll.Stop()
		again = poll.C
	}
	select {
	case <-p.turn:
	case <-again:
	case <-over:
		return WaitTimeout
	case <-ctx.Done():
		return WaitLeft
	case <-l.ending:
		return WaitShutdown
	case <-l.counters.lines.closed:
		return WaitShutdown
	}
	return WaitAdmitted
}

// lines are the requests of this instance that wait, one line for each counter. They
// are admitted in the order in which they came, as far as this instance sees it.
type lines struct {
	waiting atomic.Int64 // requests in all lines
	closed  chan struct{}

	mu sync.Mutex
	of map[counterKey]*line
}

// line is the requests that wait for one counter, the first to come first. It has one
// at least.
type line struct {
	places []*place
	last   Decision // of the counter, as the latest request that joined was told
}

// place is a request's in a line.
type place struct {
	key  counterKey
	turn chan struct{} // has an element when the request should ask again
	poll time.Duration // after which it last asked by itself
}

func newLines() *lines {
	return &lines{closed: make(chan struct{}), of: make(map[counterKey]*line)}
}

// close ends all waits.
func (s *lines) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
}

// joins reports whether others wait for one of the request's counters already. It is
// then decided as theirs were, without asking: it must not overtake them.
func (s *lines) joins(res *Result) bool {
	if s.waiting.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range res.items {
		it := &res.items[i]
		line := s.of[it.key]
		if line == nil || it.limit.DryRun {
			continue
		}
		it.status, it.source = unsettled, FromWait
		it.version = ^uint64(0) // it has not asked: should it be the first by now, it does so at once
		it.decide(line.last)
		res.allowed = false
		return true
	}
	return false
}

// join adds a request to the line for a counter. It returns nil where too many wait.
func (s *lines) join(it *item, denied *denyCache) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of[it.key]
	if s.waiting.Load() >= maxWaiting || l != nil && len(l.places) >= maxInLine {
		return nil
	}
	if l == nil {
		l = new(line)
		s.of[it.key] = l
	}
	p := &place{key: it.key, turn: make(chan struct{}, 1)}
	l.places, l.last = append(l.places, p), it.Decision
	s.waiting.Add(1)
	if len(l.places) == 1 && denied.version(it.key) != it.version {
		p.wake() // a reservation was given back before there was a line
	}
	return p
}

// leave removes a request from its line, and wakes the one that is first then.
func (s *lines) leave(p *place) {
	if p == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of[p.key]
	for i, other := range l.places {
		if other != p {
			continue
		}
		l.places = append(l.places[:i], l.places[i+1:]...)
		if s.waiting.Add(-1); len(l.places) == 0 {
			delete(s.of, p.key)
		} else if i == 0 {
			l.places[0].wake()
		}
		return
	}
}

// settled wakes the first request that waits for a counter.
func (s *lines) settled(k counterKey) {
	if s.waiting.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.of[k]; l != nil {
		l.places[0].wake()
	}
}

// nextPoll returns after how long a request asks by itself, if it is the first in its line.
func (s *lines) nextPoll(p *place) (wait time.Duration, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[p.key].places[0] != p {
		return 0, false
	}
	p.poll = min(max(2*p.poll, firstPoll), lastPoll)
	wait = p.poll + time.Duration(len(s.of))*pollSpacing
	return wait*3/4 + rand.N(wait/2), true
}

// wake has the request ask again, soon.
func (p *place) wake() {
	select {
	case p.turn <- struct{}{}:
	default:
	}
}

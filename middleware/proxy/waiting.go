package proxy

import (
	"container/list"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Wait is a step of a request that finds every server at Config.MaxConnections.
type Wait struct {
	Upstream string
	// Change is 1 when the request joins the line, -1 when it leaves it, and 0 when it was refused at once.
	Change int
	// Refused says why the request got no place; empty: it got one, is still waiting, or its client is gone.
	Refused WaitRefusal
}

// WaitRefusal says why a request was refused that found every server at Config.MaxConnections.
type WaitRefusal string

const (
	WaitFull    WaitRefusal = "full"    // the line has Waiting.Requests in it, or there is none
	WaitTimeout WaitRefusal = "timeout" // it waited for Waiting.Timeout, or the time for the response was over
)

// line holds the requests that wait for a place on one of an upstream's servers. A place that becomes free is handed to the request that
// has waited longest; a request that comes later joins the line's end even if a place is free just then. The line outlives the pools, so
// that a server that Update adds takes waiting requests.
//
// No wake-up is lost: a request is counted in length before it looks for a free place, and who frees a place does so before it reads length.
type line struct {
	length atomic.Int64 // changes under mu; read without it, so that requests cost nothing where none waits

	mu     sync.Mutex
	joined uint64 // requests that have ever joined
	// The requests that may be a half-open breaker's trial wait apart from the others, because a place may be for them alone.
	others, trials list.List // of *waiter, in the order in which they joined
}

// waiter is a request in the line.
type waiter struct {
	tx     *transaction
	number uint64
	in     *list.List
	at     *list.Element // nil: it has left the line

	turn   chan struct{} // closed when the request has been taken out of the line to be served; then follows what it was given
	pool   *pool
	member *member // nil: no server will ever have a place
	trial  bool
}

// enter takes a place on a server for the request's first attempt, and waits for one where all are taken.
func (tx *transaction) enter() (*attempt, *Error) {
	waiting := &tx.pool.cfg.Waiting
	if waiting.Off || tx.up.line.length.Load() == 0 {
		a, why := tx.begin()
		switch {
		case a != nil:
			return a, nil
		case why != overloaded || tx.pool.drained():
			return nil, tx.unavailable(why)
		}
	}
	w := &waiter{tx: tx, turn: make(chan struct{})}
	if waiting.Off || !tx.up.join(w, waiting.Requests) {
		tx.observeWait(0, WaitFull)
		return nil, tx.unavailable(overloaded)
	}
	tx.observeWait(1, "")
	return tx.await(w)
}

// await waits for the request's turn.
func (tx *transaction) await(w *waiter) (*attempt, *Error) {
	patience := tx.pool.cfg.Waiting.Timeout
	if due := tx.clock.deadline(); !due.IsZero() {
		patience = min(patience, time.Until(due))
	}
	began := time.Now()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.turn:
	case <-timer.C:
		if tx.up.line.leave(w) {
			tx.observeWait(-1, WaitTimeout)
			return nil, tx.newError(KindOverloaded, http.StatusServiceUnavailable,
				fmt.Errorf("every server was at max_connections for %v", time.Since(began).Round(time.Millisecond)))
		}
	case <-tx.in.Context().Done():
		if !tx.up.line.leave(w) {
			tx.up.giveBack(w)
		}
		tx.observeWait(-1, "")
		err := tx.in.Context().Err()
		kind, status := classifyContext(err)
		return nil, tx.newError(kind, status, err)
	}
	tx.observeWait(-1, "")
	tx.pool = w.pool
	if w.member == nil {
		return nil, tx.unavailable(exhausted)
	}
	return tx.start(w.member, w.trial, tx.up.now()), nil
}

func (tx *transaction) observeWait(change int, refused WaitRefusal) {
	if observe := tx.up.options.WaitObserver; observe != nil {
		observe(Wait{Upstream: tx.up.name, Change: change, Refused: refused})
	}
}

// join puts a request at the end of the line, unless there are as many in it as may be.
func (u *Upstream) join(w *waiter, most int) bool {
	l := &u.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.length.Load() >= int64(most) {
		return false
	}
	w.in = &l.others
	if w.tx.mayBeTrial() {
		w.in = &l.trials
	}
	l.joined++
	w.number, w.at = l.joined, w.in.PushBack(w)
	l.length.Add(1)
	u.serveLine()
	return true
}

// leave takes a request out of the line, and reports false if it has been served already.
func (l *line) leave(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remove(w)
}

// remove is leave for a caller that holds mu.
func (l *line) remove(w *waiter) bool {
	if w.at == nil {
		return false
	}
	w.in.Remove(w.at)
	w.at = nil
	l.length.Add(-1)
	return true
}

// wake hands the places that are free to the requests that wait. It is called after whatever may have given one of them a place.
func (u *Upstream) wake() {
	l := &u.line
	if l.length.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u.serveLine()
}

// serveLine is wake for a caller that holds the line's mu.
func (u *Upstream) serveLine() {
	p, now := u.pool.Load(), u.tick(u.now())
	hopeless := p.drained() // or closed
	for {
		first, second := u.line.heads()
		if first == nil || !u.serve(first, p, now, hopeless) && (second == nil || !u.serve(second, p, now, hopeless)) {
			return
		}
	}
}

// heads returns the first request of each kind, the one that has waited longer first; nil: there is none.
func (l *line) heads() (first, second *waiter) {
	if e := l.others.Front(); e != nil {
		first = e.Value.(*waiter)
	}
	if e := l.trials.Front(); e != nil {
		second = e.Value.(*waiter)
	}
	if first == nil || second != nil && second.number < first.number {
		first, second = second, first
	}
	return first, second
}

// serve gives a request a place, and reports whether there was one.
func (u *Upstream) serve(w *waiter, p *pool, now int64, hopeless bool) bool {
	if !hopeless {
		m, trial, why := p.choose(now, &w.tx.affinity, nil, w.in == &u.line.trials)
		if why != chosen {
			return false
		}
		w.member, w.trial = m, trial
	}
	w.pool = p
	u.line.remove(w)
	close(w.turn)
	return true
}

// giveBack frees the place of a request whose client left as it was given one.
func (u *Upstream) giveBack(w *waiter) {
	if w.member == nil {
		return
	}
	if w.trial {
		w.member.breaker.endTrial()
	}
	w.member.requests.Add(-1)
	w.member.release()
	u.wake()
}

var errOverloaded = errors.New("every server has as many requests in flight as max_connections allows")

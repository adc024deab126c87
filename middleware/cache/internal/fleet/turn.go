package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Answer is what an instance that asks for a lease is told.
type Answer uint8

const (
	// Unknown: Redis did not answer; the caller asks the origin by itself.
	Unknown Answer = iota
	// Granted: the caller asks the origin on behalf of all instances.
	Granted
	// IndexChanged: something was stored since the caller looked; it looks again.
	IndexChanged
	// Held: another instance has the lease; the caller waits, or leaves it to it.
	Held
	// Opened: the last holder's response was for one request alone; the caller
	// asks the origin by itself.
	Opened
)

// AnyVersion asks for a lease without having seen the index as it is.
const AnyVersion = -1

// Turn is a flight's place among those that want the lease on one fetch. It is
// for one goroutine. Close ends it.
type Turn struct {
	m     *Member
	key   string
	woken chan struct{} // receives when a lease of key has ended
	pause time.Duration
}

// NewTurn makes the place of one flight.
func (m *Member) NewTurn() *Turn { return &Turn{m: m, pause: m.MinPoll} }

// Acquire asks for the lease called key. index is the hash whose field "#"
// counts the changes of what is stored, and version the count that the caller
// has seen; [AnyVersion] takes any.
func (t *Turn) Acquire(ctx context.Context, index, key string, version int64) (*Lease, Answer) {
	t.listenTo(key) // before asking, lest the message come in between
	l := &Lease{m: t.m, key: key, token: NewToken(), stop: make(chan struct{})}
	answer := t.ask(ctx, acquireScript.Call([]string{index, key, waitingKey(key)}, l.token, t.m.Lease.Milliseconds(), version))
	if answer != Granted {
		return nil, answer
	}
	go l.renew()
	return l, Granted
}

// Peek says what Acquire would, and takes no lease: it is for a request that waits for what another instance is
// fetching, and that otherwise is for itself alone.
func (t *Turn) Peek(ctx context.Context, index, key string, version int64) Answer {
	t.listenTo(key)
	return t.ask(ctx, peekScript.Call([]string{index, key, waitingKey(key)}, t.m.Lease.Milliseconds(), version))
}

func (t *Turn) ask(ctx context.Context, call *store.Call) Answer {
	if err := t.m.Redis.Do(ctx, call); err != nil {
		return Unknown
	}
	reply, err := call.Slice()
	if err != nil || len(reply) == 0 {
		return Unknown
	}
	switch reply[0] {
	case "granted":
		return Granted
	case "changed":
		return IndexChanged
	case "held":
		return Held
	case "open":
		return Opened
	}
	return Unknown
}

// Wait returns when it is time to ask again: a lease has ended, or the message
// may have been lost. It returns early, with an error, when ctx ends.
func (t *Turn) Wait(ctx context.Context) error {
	timer := time.NewTimer(t.pause)
	defer timer.Stop()
	select {
	case <-t.woken:
		t.pause = t.m.MinPoll
	case <-timer.C:
		t.pause = min(2*t.pause, t.m.MaxPoll)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Close gives the place up.
func (t *Turn) Close() {
	if t.woken != nil {
		t.m.waiting.remove(t.key, t.woken)
	}
}

func (t *Turn) listenTo(key string) {
	if t.woken != nil && t.key == key {
		return
	}
	t.Close()
	t.key, t.woken = key, t.m.waiting.add(key)
}

// waiting are the turns of this instance, by the key of the lease.
type waiting struct {
	mu    sync.Mutex
	turns map[string][]chan struct{}
}

func (w *waiting) add(key string) chan struct{} {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turns[key] = append(w.turns[key], ch)
	return ch
}

func (w *waiting) remove(key string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := slices.DeleteFunc(w.turns[key], func(other chan struct{}) bool { return other == ch })
	if len(kept) == 0 {
		delete(w.turns, key)
		return
	}
	w.turns[key] = kept
}

func (w *waiting) wake(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.turns[key] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

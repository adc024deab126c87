package collapse

import (
	"slices"
	"time"
)

// watch is how a flight is found to be overdue: nothing has come from the origin for a while.
type watch struct {
	limit    time.Duration
	progress time.Time // when something has come
	timer    *time.Timer
	overdue  func()
}

// Watch begins to watch the flight's progress: when limit has passed without a call of Progress, the
// flight is overdue. Then it is not joined any more, so that the next request for its key leads
// another flight, the function is called, and those that wait are told by Overdue.
func (f *Flight[K, O]) Watch(limit time.Duration, overdue func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = &watch{limit: limit, progress: time.Now(), overdue: overdue}
	f.watch.timer = time.AfterFunc(limit, f.checkProgress)
}

// Progress is called when something has come from the origin.
func (f *Flight[K, O]) Progress() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watch != nil {
		f.watch.progress = time.Now()
	}
}

// StopWatch is called when everything has come from the origin.
func (f *Flight[K, O]) StopWatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopWatchLocked()
}

func (f *Flight[K, O]) stopWatchLocked() {
	if f.watch != nil {
		f.watch.timer.Stop()
		f.watch = nil
	}
}

func (f *Flight[K, O]) checkProgress() {
	f.mu.Lock()
	w := f.watch
	if w == nil {
		f.mu.Unlock()
		return
	}
	if left := w.limit - time.Since(w.progress); left > 0 {
		w.timer.Reset(left)
		f.mu.Unlock()
		return
	}
	f.watch = nil
	f.mu.Unlock()
	f.group.setOverdue(f)
	w.overdue()
	close(f.late)
}

// Overdue is closed when nothing has come from the origin for as long as Watch was told.
func (f *Flight[K, O]) Overdue() <-chan struct{} { return f.late }

// IsOverdue reports whether the flight is, or once was, overdue: another one may have begun in its place.
func (f *Flight[K, O]) IsOverdue() bool {
	select {
	case <-f.late:
		return true
	default:
		return false
	}
}

func (g *Group[K, O]) setOverdue(f *Flight[K, O]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[f.key] == f {
		delete(g.flights, f.key)
		if !f.Resolved() {
			g.overdue[f.key] = append(g.overdue[f.key], f)
		}
	}
}

// forgetLocked takes a flight that is over out of those that are overdue.
func (g *Group[K, O]) forgetLocked(f *Flight[K, O]) {
	kept := slices.DeleteFunc(g.overdue[f.key], func(other *Flight[K, O]) bool { return other == f })
	if len(kept) == 0 {
		delete(g.overdue, f.key)
		return
	}
	g.overdue[f.key] = kept
}

// Settle is called when a flight has brought something for all requests for its key. Flights in whose place it began,
// or that began in its place, come to nothing and are cancelled: their requests look again. joinable says that what it
// has brought is to be had from the flight.
func (g *Group[K, O]) Settle(f *Flight[K, O], joinable bool) {
	if !f.shared {
		return
	}
	g.mu.Lock()
	others := g.overdue[f.key]
	delete(g.overdue, f.key)
	if current := g.flights[f.key]; current != nil && current != f && !current.Resolved() {
		others = append(others, current)
		delete(g.flights, f.key)
	}
	if joinable && g.flights[f.key] == nil {
		g.flights[f.key] = f
	}
	g.mu.Unlock()
	var nothing O
	for _, other := range others {
		if other != f && other.Resolve(nothing, nil, nil) {
			other.cancel()
		}
	}
}

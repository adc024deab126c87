package cache

import (
	"maps"
	"sync"
	"sync/atomic"
)

// logID is the random identity of a purge log. Another identity means that
// purges may have been lost: nothing from before is believed any more.
type logID [16]byte

// stamp is a position in a purge log. Every entry carries the one from before
// its fetch began.
type stamp struct {
	log   logID
	epoch uint64
}

// mark holds the newest epochs at which a tag was purged.
type mark struct{ hard, soft uint64 }

// record is one purge of one tag.
type record struct {
	tag   tag
	soft  bool
	epoch uint64
}

// purges is this instance's view of the purge log: the newest epoch of every
// tag since the trim floor. It only ever errs towards forgetting entries.
// Safe for concurrent use.
type purges struct {
	mu     sync.RWMutex
	log    logID
	head   uint64
	floor  uint64
	epochs map[tag]mark
	// pending are purges that could not be written to the log yet; they are
	// in force here, for everything, until they are.
	pending map[tag]pending
	holds   uint64

	// serial changes with every change of the view, so that an entry that was
	// checked since need not be checked again.
	serial atomic.Uint64
}

func newPurges() *purges {
	return &purges{epochs: make(map[tag]mark), pending: make(map[tag]pending)}
}

// now is the position for a fetch that begins now. A view that lags behind the
// log gives an older position, which voids more entries, never fewer.
func (p *purges) now() stamp {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return stamp{p.log, p.head}
}

type validity uint8

const (
	intact validity = iota
	softened
	void
)

// checkLocked says whether purges since at hold for something with these tags.
func (p *purges) checkLocked(at stamp, tags []tag) validity {
	// Another log, one that was trimmed past the entry, or one that has lost
	// its newest part (the entry is from its future): purges may be missing.
	if at.log != p.log || at.epoch < p.floor || at.epoch > p.head {
		return void
	}
	v := intact
	for _, t := range tags {
		m := p.epochs[t]
		if m.hard > at.epoch {
			return void
		}
		if m.soft > at.epoch {
			v = softened
		}
		if len(p.pending) > 0 {
			if held, ok := p.pending[t]; ok {
				if !held.soft {
					return void
				}
				v = softened
			}
		}
	}
	return v
}

// checkEntry says whether purges hold for an entry, and remembers it until the
// view changes.
func (p *purges) checkEntry(e *entry) validity {
	serial := p.serial.Load()
	if seen := e.checked.Load(); seen>>2 == serial && seen&3 != 0 {
		return validity(seen&3 - 1)
	}
	p.mu.RLock()
	serial = p.serial.Load()
	v := p.checkLocked(e.stamp, e.tags)
	p.mu.RUnlock()
	e.checked.Store(serial<<2 | uint64(v) + 1)
	return v
}

// generation is the newest epoch at which one of tags was purged: fetches of
// different generations must not be waited for by each other's requests.
func (p *purges) generation(tags []tag) uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var newest uint64
	for _, t := range tags {
		m := p.epochs[t]
		newest = max(newest, m.hard, m.soft)
	}
	return newest
}

// add purges tags in a log that is this process's alone.
func (p *purges) add(tags []tag, soft bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head++
	for _, t := range tags {
		p.applyLocked(record{tag: t, soft: soft, epoch: p.head})
	}
	if len(p.epochs) > maxLocalLog {
		// Everything older than now is void: the floor of the log moves up.
		p.floor = p.head
		clear(p.epochs)
	}
	p.serial.Add(1)
}

// maxLocalLog bounds the tags that a log in memory keeps.
const maxLocalLog = 1 << 17

// merge applies what the shared log had that this view had not. replace
// discards the view first: the log is another one.
func (p *purges) merge(at stamp, floor uint64, records []record, replace bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if replace {
		p.epochs = make(map[tag]mark, len(records))
	} else if at.log == p.log && at.epoch == p.head && floor == p.floor && len(records) == 0 {
		return
	}
	p.log, p.head = at.log, at.epoch
	if floor > p.floor || replace {
		p.floor = floor
		maps.DeleteFunc(p.epochs, func(_ tag, m mark) bool { return m.hard <= floor && m.soft <= floor })
	}
	for _, r := range records {
		p.applyLocked(r)
	}
	p.serial.Add(1)
}

func (p *purges) applyLocked(r record) {
	m := p.epochs[r.tag]
	if r.soft {
		m.soft = max(m.soft, r.epoch)
	} else {
		m.hard = max(m.hard, r.epoch)
	}
	p.epochs[r.tag] = m
}

// pending is a purge that waits for the log; at counts the holds.
type pending struct {
	soft bool
	at   uint64
}

// hold puts purges in force here that the log does not have yet.
func (p *purges) hold(tags []tag, soft bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds++
	if len(p.pending)+len(tags) > maxPending {
		// Too many to remember one by one: purge everything instead.
		clear(p.pending)
		tags, soft = []tag{tagOf(tagAll)}, false
	}
	for _, t := range tags {
		held, ok := p.pending[t]
		p.pending[t] = pending{soft: soft && (!ok || held.soft), at: p.holds}
	}
	p.serial.Add(1)
}

const maxPending = 4096

// held gives the purges that are still to be written to the log, and the
// count of holds so far, for release.
func (p *purges) held() (hard, soft []tag, until uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for t, held := range p.pending {
		if held.soft {
			soft = append(soft, t)
		} else {
			hard = append(hard, t)
		}
	}
	return hard, soft, p.holds
}

// release forgets what was held up to the count that held gave: the log, and
// this view, now have it.
func (p *purges) release(until uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.pending, func(_ tag, held pending) bool { return held.at <= until })
	p.serial.Add(1)
}

func (p *purges) size() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.epochs)
}

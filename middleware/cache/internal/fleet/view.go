package fleet

import (
	"encoding/hex"
	"maps"
	"sync"
	"sync/atomic"
)

// Tag names what can be purged together: the hash of a kind and a text.
type Tag [16]byte

// LogID is the random identity of a purge log. Another identity means that
// purges may have been lost: nothing from before is believed any more.
type LogID [16]byte

// Stamp is a position in a purge log. Every entry carries the one from before
// its fetch began.
type Stamp struct {
	Log   LogID
	Epoch uint64
}

// Validity is what purges have done to an entry.
type Validity uint8

const (
	Intact   Validity = iota // nothing
	Softened                 // a soft purge has ended its freshness
	Void                     // it must not be used
)

// View is this instance's view of the purge log: the newest epoch of every tag
// since the trim floor. Where it lacks purges it voids more entries, never
// fewer. It is safe for concurrent use.
type View struct {
	everything Tag

	mu     sync.RWMutex
	log    LogID
	head   uint64
	floor  uint64
	epochs map[Tag]epochs
	// pending are purges that could not be written to the log yet; they are
	// in force here, for everything, until they are.
	pending map[Tag]pending
	holds   uint64

	// serial changes with every change of the view, so that an entry that was
	// checked since need not be checked again.
	serial atomic.Uint64
}

// epochs are the newest epochs at which a tag was purged.
type epochs struct{ hard, soft uint64 }

// record is one purge of one tag.
type record struct {
	tag   Tag
	soft  bool
	epoch uint64
}

// NewView makes a view of an empty log. everything is the tag that all entries
// have.
func NewView(everything Tag) *View {
	return &View{everything: everything, epochs: make(map[Tag]epochs), pending: make(map[Tag]pending)}
}

// Now is the position for a fetch that begins now. A view that lags behind the
// log gives an older position, which voids more entries, never fewer.
func (v *View) Now() Stamp {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return Stamp{v.log, v.head}
}

// Size is the number of tags in the view.
func (v *View) Size() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.epochs)
}

// Checked remembers the check of one entry. The zero Checked remembers none.
type Checked struct{ seen atomic.Uint64 }

// Check says whether purges hold for an entry with these tags whose fetch began
// at a position. memo, which belongs to the entry, remembers the result until
// the view changes.
func (v *View) Check(at Stamp, tags []Tag, memo *Checked) Validity {
	serial := v.serial.Load()
	if seen := memo.seen.Load(); seen>>2 == serial && seen&3 != 0 {
		return Validity(seen&3 - 1)
	}
	v.mu.RLock()
	serial = v.serial.Load()
	validity := v.checkLocked(at, tags)
	v.mu.RUnlock()
	memo.seen.Store(serial<<2 | uint64(validity) + 1)
	return validity
}

func (v *View) checkLocked(at Stamp, tags []Tag) Validity {
	// Another log, one that was trimmed past the entry, or one that has lost
	// its newest part (the entry is from its future): purges may be missing.
	if at.Log != v.log || at.Epoch < v.floor || at.Epoch > v.head {
		return Void
	}
	validity := Intact
	for _, t := range tags {
		purged := v.epochs[t]
		if purged.hard > at.Epoch {
			return Void
		}
		if purged.soft > at.Epoch {
			validity = Softened
		}
		if len(v.pending) > 0 {
			if held, ok := v.pending[t]; ok {
				if !held.soft {
					return Void
				}
				validity = Softened
			}
		}
	}
	return validity
}

// Generation is the newest epoch at which one of tags was purged: requests from
// before and after a purge must not wait for the same fetch.
func (v *View) Generation(tags []Tag) uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var newest uint64
	for _, t := range tags {
		purged := v.epochs[t]
		newest = max(newest, purged.hard, purged.soft)
	}
	return newest
}

// maxLocalLog bounds the tags that a log in memory keeps.
const maxLocalLog = 1 << 17

// Purge purges tags in a log that is this process's alone.
func (v *View) Purge(tags []Tag, soft bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.head++
	for _, t := range tags {
		v.applyLocked(record{tag: t, soft: soft, epoch: v.head})
	}
	if len(v.epochs) > maxLocalLog {
		// Everything older than now is void: the floor of the log moves up.
		v.floor = v.head
		clear(v.epochs)
	}
	v.serial.Add(1)
}

// merge applies what the shared log had that this view had not. replace
// discards the view first: the log is another one.
func (v *View) merge(at Stamp, floor uint64, records []record, replace bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if replace {
		v.epochs = make(map[Tag]epochs, len(records))
	} else if at.Log == v.log && at.Epoch == v.head && floor == v.floor && len(records) == 0 {
		return
	}
	v.log, v.head = at.Log, at.Epoch
	if floor > v.floor || replace {
		v.floor = floor
		maps.DeleteFunc(v.epochs, func(_ Tag, e epochs) bool { return e.hard <= floor && e.soft <= floor })
	}
	for _, r := range records {
		v.applyLocked(r)
	}
	v.serial.Add(1)
}

func (v *View) applyLocked(r record) {
	e := v.epochs[r.tag]
	if r.soft {
		e.soft = max(e.soft, r.epoch)
	} else {
		e.hard = max(e.hard, r.epoch)
	}
	v.epochs[r.tag] = e
}

// pending is a purge that waits for the log; at counts the holds.
type pending struct {
	soft bool
	at   uint64
}

// maxPending bounds the tags that wait for the log.
const maxPending = 4096

// hold puts purges in force here that the log does not have yet.
func (v *View) hold(tags []Tag, soft bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.holds++
	if len(v.pending)+len(tags) > maxPending {
		// Too many to remember one by one: purge everything instead.
		clear(v.pending)
		tags, soft = []Tag{v.everything}, false
	}
	for _, t := range tags {
		held, ok := v.pending[t]
		v.pending[t] = pending{soft: soft && (!ok || held.soft), at: v.holds}
	}
	v.serial.Add(1)
}

// held gives the purges that are still to be written to the log, and the
// count of holds so far, for release.
func (v *View) held() (hard, soft []Tag, until uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for t, held := range v.pending {
		if held.soft {
			soft = append(soft, t)
		} else {
			hard = append(hard, t)
		}
	}
	return hard, soft, v.holds
}

// release forgets what was held up to the count that held gave: the log, and
// this view, now have it.
func (v *View) release(until uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.pending, func(_ Tag, held pending) bool { return held.at <= until })
	v.serial.Add(1)
}

func (id LogID) text() string { return hex.EncodeToString(id[:]) }

func (id *LogID) parse(s string) bool {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return false
	}
	copy(id[:], b)
	return true
}

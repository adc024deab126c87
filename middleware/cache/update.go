package cache

import (
	"errors"
	"net/http"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// onNotModified freshens what is stored, RFC 9111 section 4.3.4: the entry that
// was validated, and all others with the same strong validator.
func (t *fetch) onNotModified(a *rfc9111.Arrival) {
	t.body = discardBody
	if !t.base.ConfirmedBy(a.Header) {
		t.body = discardAndRetry
		return
	}
	if t.overtaken(t.base) {
		t.resolve(outcome{kind: nothing})
		return
	}
	e, why := t.j.storing.updated(t.base, a)
	status := outcomeStatus{fwd: fwdStale, fwdStatus: http.StatusNotModified, detail: string(why), stored: e != nil}
	if e == nil {
		t.onUnstorableNotModified(a, status, why)
		return
	}
	here, elsewhere := t.updatedToo(e, a)
	kept := t.c.keep(t.j, append([]*entry{e}, here...)...)
	t.supersede(e)
	t.c.flights.Remove(t.f)
	t.resolve(outcome{kind: validated, entry: e, status: status})
	t.shareUpdates(append(kept, elsewhere...))
}

// onUnstorableNotModified serves the leader a 304 that is for it alone, or that
// forbids storing: nothing of it is kept.
func (t *fetch) onUnstorableNotModified(a *rfc9111.Arrival, status outcomeStatus, why rfc9111.Reason) {
	forLeader := t.base.clone()
	forLeader.Response = *t.base.UpdatedFor(a)
	if !why.Personal() {
		t.c.forget(t.j, t.base)
	}
	t.c.flights.Remove(t.f) // a request that comes from here on is to begin a validation of its own
	t.resolve(outcome{kind: validatedForLeader, entry: forLeader, status: status, why: why})
}

// updatedToo gives the other entries with the strong validator of e that a 304
// updates: those whose bodies are here, and those whose bodies are in Redis alone.
func (t *fetch) updatedToo(e *entry, a *rfc9111.Arrival) (here, elsewhere []*entry) {
	for _, other := range t.stored {
		if other == t.base || !rfc9111.StrongETag(other.ETag) || other.ETag != e.ETag || other.SameVariant(&t.base.Response) ||
			t.c.validity(other) == fleet.Void {
			continue
		}
		u := t.j.storing.updatedToo(other, a)
		if u == nil {
			continue
		}
		if other.body.loaded() {
			here = append(here, u)
		} else {
			elsewhere = append(elsewhere, u)
		}
	}
	return here, elsewhere
}

// supersede removes what was validated where what came of it does not take its
// place by itself, as it varies on something else: with a later Date the old
// one would be chosen for ever.
func (t *fetch) supersede(e *entry) {
	if t.base != nil && !e.SameVariant(&t.base.Response) {
		t.c.forget(t.j, t.base)
	}
}

// onHeadResponse passes the response to a HEAD on, and compares it with what is
// stored, RFC 9111 section 4.3.5: a representation that has changed makes the
// stored one invalid, and one that has not is freshened. An error that may
// pass, or the response to the client's own condition, says nothing about it.
func (t *fetch) onHeadResponse(a *rfc9111.Arrival) {
	t.c.asSent.Add(t.f.Key(), asSentTTL)
	if t.base != nil && a.Status < 500 && a.Status != http.StatusNotModified && a.Status != http.StatusTooManyRequests {
		if e := t.headUpdate(a); e != nil {
			t.shareUpdates(t.c.keep(t.j, e))
		} else {
			t.c.forget(t.j, t.base)
		}
	}
	t.stream = collapse.NewStream(t.c.filling, 0, -1, false)
	t.resolve(outcome{kind: responseAsSent, stream: t.stream, arrival: a, status: outcomeStatus{fwd: t.forward(), detail: "head"}})
}

func (t *fetch) headUpdate(a *rfc9111.Arrival) *entry {
	if !t.base.UpdatedByHead(a) {
		return nil
	}
	e, _ := t.j.storing.updated(t.base, a)
	return e
}

// keep stores entries in the local tier, unless a purge has overtaken them.
func (c *Cache) keep(j *job, entries ...*entry) (kept []*entry) {
	for _, e := range entries {
		if c.validity(e) != fleet.Void {
			kept = append(kept, e)
			c.observer.Stored(j.rule.Name, e.body.size)
		}
	}
	c.local.put(j.rule.Name, j.hash, kept...)
	return kept
}

// share stores in Redis what was kept and has a new body.
func (t *fetch) share(e *entry) {
	if t.c.shared == nil {
		return
	}
	room, err := t.c.shared.put(t.c.alive, t.j.hash, e, t.claim(), len(t.stored) > 0)
	if errors.Is(err, errOvertaken) {
		t.c.local.remove(t.j.rule.Name, t.j.hash, e) // the other one is found in Redis
	}
	t.c.noteShared(t.j, room, err)
}

// shareUpdates stores in Redis what a 304, or the response to a HEAD, has made
// of entries.
func (t *fetch) shareUpdates(kept []*entry) {
	if t.c.shared == nil {
		return
	}
	for _, e := range kept {
		room, err := t.c.shared.update(t.c.alive, t.j.hash, e, t.claim())
		t.c.noteShared(t.j, room, err)
	}
}

func (c *Cache) noteShared(j *job, room bool, err error) {
	switch {
	case err != nil:
		c.log.Debug("cache: an entry did not reach Redis", "error", err)
	case !room:
		c.observer.NotStored(j.rule.Name, string(reasonOverBudget))
	}
}

// forget removes an entry that has been superseded by one that is not stored.
func (c *Cache) forget(j *job, e *entry) {
	c.local.remove(j.rule.Name, j.hash, e)
	if c.shared != nil {
		c.shared.remove(c.alive, j.hash, e)
	}
}

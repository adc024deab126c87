package cache

import (
	"errors"
	"slices"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/store"
)

// A fetch is overdue when the origin has brought nothing of it for Rule.LockTimeout: neither the head, nor
// after that a byte of the body. One request of those that wait for it, of all instances, then leads another
// one. The overdue one goes on for the clients that have begun to read it, and what it brings in the end is stored
// unless something was stored meanwhile.

const (
	// bodyPatience is for how many LockTimeouts requests of other instances wait for a body that arrives:
	// they have none of its bytes before it is complete.
	bodyPatience = 2

	// elsewherePause is how often a request whose fetch is overdue looks for what another instance has stored.
	elsewherePause = time.Second
)

// overdue is called when the origin has brought nothing for Rule.LockTimeout.
func (t *fetch) overdue() {
	t.lease.Release()
	if t.standsInForOverdue() || t.f.Resolved() || t.c.shared == nil || !t.j.mode.shared() {
		return
	}
	t.c.spawn(t.lookElsewhere)
}

// standsInForOverdue serves the stale entry that may be used when the origin fails, where there is one. The fetch
// goes on, to replace it.
func (t *fetch) standsInForOverdue() bool {
	if t.base == nil || t.f.Resolved() || !t.base.CoversError(t.c.now()) || t.c.validity(t.base) == fleet.Void {
		return false
	}
	t.held.take()
	t.f.GoOn()
	t.c.unreachable.Add(t.f.Key(), t.j.rule.LockTimeout)
	t.resolve(outcome{kind: staleOnError, entry: t.base, status: outcomeStatus{fwd: fwdStale, detail: "overdue"}})
	return true
}

// lookElsewhere gives the requests that still wait for the fetch what another instance has stored meanwhile.
func (t *fetch) lookElsewhere() {
	tick := time.NewTicker(elsewherePause)
	defer tick.Stop()
	for {
		select {
		case <-t.f.Ready():
			return
		case <-t.f.Context().Done():
			return
		case <-tick.C:
		}
		if found := t.c.look(store.Afresh(t.f.Context()), t.j); found.serves(t.j) {
			t.resolve(found.outcome())
			t.f.Cancel()
			return
		}
	}
}

// claim is a fetch's right to store: all of it while it holds the lease on behalf of all instances, and after that unless
// something else was stored in the place of what it has seen.
type claim struct {
	lease  *fleet.Lease // nil: it is for one request, and stores in any case
	seen   []*entry
	spared []string // the variants that are to stay where one has to leave
}

var errOvertaken = errors.New("another fetch has begun later, and its response is stored")

func (t *fetch) claim() claim { return claim{t.lease, t.stored, t.c.spared(t.j)} }

// seenBody names the body that the fetch has seen in an entry's place; empty: none.
func (c *claim) seenBody(e *entry) string {
	for _, s := range c.seen {
		if s.SameVariant(&e.Response) {
			return s.bodyID
		}
	}
	return ""
}

// overtaken reports whether a response that came too late would take the place of one that was fetched meanwhile.
func (t *fetch) overtaken(e *entry) bool {
	if !t.f.IsOverdue() {
		return false
	}
	by := claim{seen: t.stored}
	seen := by.seenBody(e)
	other := func(stored *entry) bool {
		return stored.SameVariant(&e.Response) && stored.bodyID != seen && stored.bodyID != e.bodyID
	}
	if res := t.c.local.get(t.j.rule.Name, t.j.hash, []byte(t.j.storing.keyText)); res != nil && slices.ContainsFunc(res.variants, other) {
		return true
	}
	if t.c.shared == nil {
		return false
	}
	stored, _, err := t.c.shared.load(t.c.alive, t.j.hash, t.j.storing.keyText)
	return err == nil && slices.ContainsFunc(stored, other)
}

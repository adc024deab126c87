package server

import (
	"sync"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/policies"
)

// maxRevisions is how many policies the history holds.
const maxRevisions = 20

// revisions remembers the last policies that ran, in this process' memory, so
// that any of them can run again. The zero value is empty.
type revisions struct {
	mu     sync.Mutex
	last   []revision // the newest, which runs, at the end
	number int
	err    error // of the last attempt, nil if it did not fail
}

type revision struct {
	admin.Revision
	policy *policies.Policy
}

// add enters the policy that runs from now on.
func (rs *revisions) add(p *policies.Policy, hash, by string, now time.Time) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.err = nil
	if n := len(rs.last); n > 0 && rs.last[n-1].Hash == hash {
		rs.last[n-1].policy = p // the same text, perhaps with other variables
		return
	}
	rs.number++
	rs.last = append(rs.last, revision{admin.Revision{Number: rs.number, Hash: hash, Time: now, By: by}, p})
	if len(rs.last) > maxRevisions {
		rs.last = append(rs.last[:0], rs.last[1:]...)
	}
}

// fail notes that the last attempt to load a policy failed.
func (rs *revisions) fail(err error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.err = err
}

// policy returns the policy of that number, or nil.
func (rs *revisions) policy(number int) *policies.Policy {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.last {
		if r.Number == number {
			return r.policy
		}
	}
	return nil
}

// history returns all revisions, the newest first.
func (rs *revisions) history() []admin.Revision {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	all := make([]admin.Revision, 0, len(rs.last))
	for i := len(rs.last) - 1; i >= 0; i-- {
		r := rs.last[i].Revision
		r.Running = i == len(rs.last)-1
		all = append(all, r)
	}
	return all
}

// running returns the newest revision, and the error of the last attempt.
func (rs *revisions) running() admin.Running {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.last[len(rs.last)-1]
	run := admin.Running{Number: r.Number, Hash: r.Hash, Since: r.Time, By: r.By, Policy: string(r.policy.Masked())}
	if rs.err != nil {
		run.Error = rs.err.Error()
	}
	return run
}

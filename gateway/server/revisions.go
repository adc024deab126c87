package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/policies"
)

// maxRevisions is how many policies the history holds.
const maxRevisions = 20

// revisions remembers the last policies that ran, in this process' memory, so
// that any of them can run again, and whether a rollback holds. The zero value is empty.
type revisions struct {
	mu     sync.Mutex
	last   []revision // the newest, which runs, at the end
	number int
	err    error // of the last attempt to load the files, nil if it did not fail

	// What the files said when the gateway last ran them, or at the last rollback.
	files     string // the text, as Policy.Hash
	filesMade fingerprint
	// rollback is the number of the policy that was rolled back to, while that holds; else 0.
	rollback int
}

type revision struct {
	admin.Revision
	policy *policies.Policy
	made   fingerprint
}

// entry is how a policy came to run.
type entry struct {
	by       string
	rollback int // the number of the policy that runs again; 0 if it came from elsewhere
	made     fingerprint
}

// add enters the policy that runs from now on.
func (rs *revisions) add(p *policies.Policy, hash string, e entry, now time.Time) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.err = nil
	rs.begin(e)
	if n := len(rs.last); n > 0 && rs.last[n-1].Hash == hash && e.rollback == 0 {
		rs.last[n-1].policy, rs.last[n-1].made = p, e.made // the same text with other variables or secrets
		return
	}
	rs.number++
	rs.last = append(rs.last, revision{admin.Revision{Number: rs.number, Hash: hash, Time: now, By: e.by}, p, e.made})
	if len(rs.last) > maxRevisions {
		rs.last = append(rs.last[:0], rs.last[1:]...)
	}
}

// hold lets a rollback begin or end at the policy that runs already.
func (rs *revisions) hold(e entry) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.begin(e)
}

// begin begins a rollback, or ends it if the entry is none. A rollback to what
// the files say has nothing to hold against.
func (rs *revisions) begin(e entry) {
	rs.rollback = 0
	if e.made != rs.filesMade {
		rs.rollback = e.rollback
	}
}

// filed notes what the policy's files say.
func (rs *revisions) filed(p *policies.Policy) {
	hash, made := p.Hash(), fingerprintOf(p)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.files, rs.filesMade = hash, made
}

// holdsAgainst reports whether a rollback holds against files with this text, and which it was.
func (rs *revisions) holdsAgainst(files string) (to int, holds bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.rollback, rs.rollback != 0 && rs.files == files
}

// held reports whether a rollback holds, and which it was.
func (rs *revisions) held() (to int, held bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.rollback, rs.rollback != 0
}

// runs reports whether the policy that runs is made of the same.
func (rs *revisions) runs(made fingerprint) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := len(rs.last)
	return n > 0 && rs.last[n-1].made == made
}

// fail notes why the policy's files cannot be loaded; nil means that they can.
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
		r.Held = r.Running && rs.rollback != 0
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
	if rs.rollback != 0 {
		run.Held = true
		run.Note = fmt.Sprintf("rolled back to %d, which holds until the policy's files change or `headgate reload --file` runs them", rs.rollback)
	}
	if rs.err != nil {
		run.Error = rs.err.Error()
	}
	return run
}

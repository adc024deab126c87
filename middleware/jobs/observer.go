package jobs

import "time"

// Outcome is what became of an attempt.
type Outcome string

const (
	OutcomeDone      Outcome = "done"
	OutcomeFailed    Outcome = "failed"
	OutcomeAgain     Outcome = "again"     // after a pause
	OutcomeUnsent    Outcome = "unsent"    // no server could be reached: it was no attempt
	OutcomeReleased  Outcome = "released"  // this worker ends, and another one takes the job
	OutcomeCancelled Outcome = "cancelled" // the job was cancelled meanwhile
	OutcomeLost      Outcome = "lost"      // the lease had ended, and the answer does not count
)

// Values are the words of an outcome.
func (Outcome) Values() []string {
	return []string{string(OutcomeDone), string(OutcomeFailed), string(OutcomeAgain), string(OutcomeUnsent), string(OutcomeReleased),
		string(OutcomeCancelled), string(OutcomeLost)}
}

// Refusal is why a job was not taken.
type Refusal string

const (
	RefusedFull        Refusal = "full"
	RefusedConflict    Refusal = "conflict"
	RefusedTooLarge    Refusal = "too_large"
	RefusedUnavailable Refusal = "unavailable"
)

// Attempt is an attempt that has ended, for metrics and log lines.
type Attempt struct {
	Job     *Job // as it was claimed
	Number  int  // 1 is the first
	Answer  *Answer
	Outcome Outcome
	Reason  string
	// Waited is how long the job was due before this attempt, Took how long the attempt was, Pause how long it is until the next.
	Waited, Took, Pause time.Duration
}

// Observer is told what happens to jobs in this instance, for metrics and log lines. Its methods are called concurrently, and
// must not block.
type Observer interface {
	// Taken is called for each job that was stored, with the schedule that enqueued it or "".
	Taken(queue, schedule string)
	// Refused is called for each job that was not.
	Refused(queue string, why Refusal)
	// Began is called when an attempt begins, and Ended when what became of it is stored.
	Began(queue string)
	Ended(a *Attempt)
	// Expired is called for each job that failed because of its max_age while it waited.
	Expired(queue, id string)
	// LeasesEnded is called with how many jobs came back because their workers had not renewed their leases.
	LeasesEnded(queue string, jobs int)
}

// NopObserver ignores everything. Embed it to observe only some things.
type NopObserver struct{}

func (NopObserver) Taken(_, _ string)       {}
func (NopObserver) Refused(string, Refusal) {}
func (NopObserver) Began(string)            {}
func (NopObserver) Ended(*Attempt)          {}
func (NopObserver) Expired(_, _ string)     {}
func (NopObserver) LeasesEnded(string, int) {}

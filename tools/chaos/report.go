//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// The invariants.
const (
	limitsExact   = "limits: never above L without an outage"
	limitsBounded = "limits: never above L for each gateway in an outage"
	staysIn       = "sessions: no user who is logged in becomes anonymous"
	staysOut      = "sessions: no user who is logged out comes back"
	staysPurged   = "cache: nothing purged is served after the purge was confirmed"
	rightClient   = "answers: none reaches the wrong client"
	wholeBodies   = "bodies: none that is cut short is taken as whole"
	jobsDone      = "jobs: each that was taken has effect, and one result"
	unsafeOnce    = "requests: an unsafe one reaches app servers once"
	comesBack     = "gateways: each comes back after a fault"
	returns       = "gateways: goroutines, descriptors and memory return"
)

var invariants = []string{limitsExact, limitsBounded, staysIn, staysOut, staysPurged, rightClient, wholeBodies, jobsDone, unsafeOnce, comesBack, returns}

// violation is an invariant that did not hold.
type violation struct {
	finding
	request string
}

// span is a stretch of time. A zero end lies in the future.
type span struct {
	from, to time.Time
	what     string
	outage   bool // of Redis, for one gateway at least
	failover bool // of Redis, in which it may lose what replication had not carried
}

// overlaps reports whether a span has a moment between from and to.
func (s span) overlaps(from, to time.Time) bool {
	return !s.from.After(to) && (s.to.IsZero() || !s.to.Before(from))
}

// kindCount is what became of one kind of requests.
type kindCount struct {
	sent, ok, limited, refused, lost int
	longest                          time.Duration
}

// report collects what a run has seen. Its methods may be called concurrently.
type report struct {
	began time.Time

	mu         sync.Mutex
	kinds      map[string]*kindCount
	faults     []*span
	local      []span // when gateways decided limits by their own counters
	decisions  int    // as many
	checked    map[string]int
	violations []violation
	notes      []string
}

func newReport() *report {
	return &report{began: time.Now(), kinds: map[string]*kindCount{}, checked: map[string]int{}}
}

// finding is what the check of an invariant found.
type finding struct {
	invariant string
	holds     bool
	detail    string    // what was found, should it not hold
	at        time.Time // when; zero: now
}

// judge notes that an invariant was checked, and keeps the evidence where it did not hold. request
// is the ID of the request, or names what else was judged.
func (r *report) judge(f finding, request string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked[f.invariant]++
	if f.holds {
		return
	}
	if f.at.IsZero() {
		f.at = time.Now()
	}
	r.violations = append(r.violations, violation{f, request})
}

// count notes what became of a request.
func (r *report) count(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kinds[a.kind]
	if k == nil {
		k = &kindCount{}
		r.kinds[a.kind] = k
	}
	k.sent++
	k.longest = max(k.longest, a.done.Sub(a.sent))
	switch {
	case a.err != nil:
		k.lost++
	case a.status == 429:
		k.limited++
	case a.status >= 500:
		k.refused++
	default:
		k.ok++
	}
}

// fault notes that a fault begins. The caller calls end when all have come back from it.
func (r *report) fault(s span) (end func()) {
	s.from = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &s
	r.faults = append(r.faults, p)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.to = time.Now()
	}
}

// decidedLocally notes that a gateway has decided so many limits without Redis.
func (r *report) decidedLocally(s span, decisions float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local = append(r.local, s)
	r.decisions += int(decisions)
}

// spans returns the faults until now, and when gateways decided without Redis.
func (r *report) spans() (all []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all = append(all, r.local...)
	for _, p := range r.faults {
		all = append(all, *p)
	}
	return all
}

func (r *report) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// failed reports whether an invariant did not hold, or was never checked.
func (r *report) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.violations) > 0 || len(r.unchecked()) > 0
}

// unchecked lists the invariants that the run did not put to the test. r.mu is held.
func (r *report) unchecked() []string {
	return slices.DeleteFunc(slices.Clone(invariants), func(name string) bool { return r.checked[name] > 0 })
}

func (r *report) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	total, longest := kindCount{}, time.Duration(0)
	p("\n| requests | sent | answered | 429 | refused (5xx) | lost | longest |\n|---|---|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.kinds)) {
		k := r.kinds[name]
		p("| %s | %d | %d | %d | %d | %d | %v |\n", name, k.sent, k.ok, k.limited, k.refused, k.lost, k.longest.Round(time.Millisecond))
		total.sent, total.ok, total.limited, total.refused, total.lost = total.sent+k.sent, total.ok+k.ok, total.limited+k.limited, total.refused+k.refused, total.lost+k.lost
		longest = max(longest, k.longest)
	}
	p("| all | %d | %d | %d | %d | %d | %v |\n", total.sent, total.ok, total.limited, total.refused, total.lost, longest.Round(time.Millisecond))
	p("\n%d requests, %d faults, %d wrong answers, longest stall %v, %d refused, %d lost; %d limits decided without Redis\n",
		total.sent, len(r.faults), len(r.violations), longest.Round(time.Millisecond), total.refused, total.lost, r.decisions)
	faults := map[string]int{}
	for _, f := range r.faults {
		faults[f.what]++
	}
	p("\n| fault | times |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		p("| %s | %d |\n", name, faults[name])
	}
	wrong := map[string]int{}
	for _, v := range r.violations {
		wrong[v.invariant]++
	}
	p("\n| invariant | checked | broken |\n|---|---|---|\n")
	for _, name := range invariants {
		p("| %s | %d | %d |\n", name, r.checked[name], wrong[name])
	}
	p("\n")
	for _, n := range r.notes {
		p("- %s\n", n)
	}
	for _, name := range r.unchecked() {
		p("- NEVER CHECKED: %s\n", name)
	}
	r.printEvidence(p)
}

// printEvidence prints the first violations of each invariant, each with the faults that were in force in the five
// seconds before, and all faults. r.mu is held.
func (r *report) printEvidence(p func(string, ...any)) {
	const most = 5
	printed := map[string]int{}
	for _, v := range r.violations {
		if printed[v.invariant]++; printed[v.invariant] > most {
			continue
		}
		p("BROKEN at %v: %s\n  request %s: %s\n", v.at.Sub(r.began).Round(time.Millisecond), v.invariant, v.request, v.detail)
		for _, f := range r.faults {
			if f.overlaps(v.at.Add(-5*time.Second), v.at) {
				p("  fault: %s\n", r.timed(*f))
			}
		}
	}
	if len(r.violations) == 0 {
		return
	}
	p("%d times in all. All faults:\n", len(r.violations))
	for _, f := range r.faults {
		p("  %s\n", r.timed(*f))
	}
}

// timed describes a fault with its times since the run began.
func (r *report) timed(f span) string {
	until := "on"
	if !f.to.IsZero() {
		until = f.to.Sub(r.began).Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s, from %v to %s", f.what, f.from.Sub(r.began).Round(time.Millisecond), until)
}

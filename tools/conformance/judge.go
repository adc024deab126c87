package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// outcome is what the driver reports of one case.
type outcome struct {
	Suite, ID string
	Kind      string   // required, optimal, check
	Needs     []string // cases without which this one says nothing
	Passed    bool
	Error     string // Setup: the case could not be tried; Assertion; a JavaScript error's name
	Reason    string
}

// score counts the cases of one kind.
type score struct{ passed, of int }

// verdict is what the cases come to: the counts by kind, and the lines about
// those that did not pass.
type verdict struct {
	required, optimal, check score
	missed                   []missed
}

type missed struct {
	outcome
	why   string // in the suite's words, and whether it is a setup or a needed case that failed
	known string // why that is so, if it is meant to be
}

// judge counts as the suite does: a case passes if it and all that it depends
// on did. Cases that only ask what a cache does are counted apart.
func judge(outcomes []outcome) verdict {
	byID := make(map[string]*outcome, len(outcomes))
	for i := range outcomes {
		byID[outcomes[i].ID] = &outcomes[i]
	}
	var v verdict
	for i := range outcomes {
		o := &outcomes[i]
		var s *score
		switch o.Kind {
		case "required":
			s = &v.required
		case "optimal":
			s = &v.optimal
		default:
			s = &v.check
		}
		s.of++
		why := ""
		switch needed := firstMissed(byID, o.Needs, 0); {
		case o.Passed && needed == "":
			s.passed++
			continue
		case o.Passed:
			why = "needs " + needed
		case o.Error == "Setup":
			why = "not tried: " + o.Reason
		case o.Error == "Assertion":
			why = o.Reason
		default:
			why = o.Error + ": " + o.Reason
		}
		if s != &v.check {
			v.missed = append(v.missed, missed{*o, why, known[o.ID]})
		}
	}
	return v
}

// firstMissed returns the first of the needed cases that did not pass. A case
// that was not run, as when single ones are, is not held against others.
func firstMissed(byID map[string]*outcome, needs []string, depth int) string {
	for _, id := range needs {
		o := byID[id]
		if o == nil || depth > 10 {
			continue
		}
		if !o.Passed {
			return id
		}
		if deeper := firstMissed(byID, o.Needs, depth+1); deeper != "" {
			return deeper
		}
	}
	return ""
}

// print writes each case that did not pass, those first that nobody knows of
// and the others by the reason, and then the counts.
func (v *verdict) print(w io.Writer) {
	slices.SortStableFunc(v.missed, func(a, b missed) int {
		return cmp.Or(strings.Compare(a.known, b.known), strings.Compare(b.Kind, a.Kind)) // required before optimal
	})
	reason := ""
	for _, m := range v.missed {
		if m.known != reason {
			reason = m.known
			fmt.Fprintf(w, "known: %s\n", reason)
		}
		fmt.Fprintf(w, "  %s %s: %s\n", m.Kind, m.ID, m.why)
	}
	fmt.Fprintf(w, "required %d/%d, optimal %d/%d (and of the questions, %d/%d yes)\n",
		v.required.passed, v.required.of, v.optimal.passed, v.optimal.of, v.check.passed, v.check.of)
}

// unknown counts the cases that did not pass for no reason of ours.
func (v *verdict) unknown() (n int) {
	for _, m := range v.missed {
		if m.known == "" {
			n++
		}
	}
	return n
}

package main

import (
	"strings"
	"testing"
)

func TestJudgeCountsACaseOnlyWithWhatItNeeds(t *testing.T) {
	v := judge([]outcome{
		{ID: "first", Kind: "required", Passed: true},
		{ID: "missed", Kind: "optimal", Needs: []string{"first"}, Error: "Assertion", Reason: "it came from elsewhere"},
		{ID: "needy", Kind: "required", Needs: []string{"between"}, Passed: true},
		{ID: "between", Kind: "check", Needs: []string{"missed"}, Passed: true},
		{ID: "other-set-cookie", Kind: "optimal", Error: "Setup", Reason: "no connection"},
		{ID: "question", Kind: "check"},
		{ID: "alone", Kind: "optimal", Needs: []string{"not-run"}, Passed: true},
	})
	if v.required != (score{1, 2}) || v.optimal != (score{1, 3}) || v.check != (score{0, 2}) {
		t.Errorf("required %v, optimal %v, check %v", v.required, v.optimal, v.check)
	}
	if v.unknown() != 2 {
		t.Errorf("unknown: %d, want 2", v.unknown())
	}
	for _, floors := range [][2]int{{2, 0}, {0, 2}} {
		if v.fails(floors[0], floors[1], false) == nil {
			t.Errorf("floors %v are met", floors)
		}
	}
	if v.fails(1, 1, false) != nil || v.fails(1, 1, true) == nil {
		t.Error("only a strict judge minds what is not known")
	}
	var out strings.Builder
	v.print(&out)
	want := `  required needy: needs missed
  optimal missed: it came from elsewhere
known: ours: what has a Set-Cookie is one user's, it is never stored
  optimal other-set-cookie: not tried: no connection
required 1/2, optimal 1/3 (and of the questions, 0/2 yes)
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}

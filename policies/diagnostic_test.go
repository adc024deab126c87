package policies_test

import (
	"testing"

	"github.com/headgate/headgate/policies"
)

func TestDiagnosticsReadAsOneLineEach(t *testing.T) {
	t.Parallel()
	at := policies.Position{File: "p.yaml", Line: 3, Column: 7}
	ds := policies.Diagnostics{
		{Position: at, Severity: policies.Error, Message: "it is wrong", Mend: "right it"},
		{Position: at, Severity: policies.Warning, Message: "it is odd", Mend: "think again"},
	}
	const want = "p.yaml:3:7: it is wrong; right it\np.yaml:3:7: warning: it is odd; think again\n"
	if got := ds.String(); got != want {
		t.Errorf("got\n%s", got)
	}
	if err := ds.Err(); err == nil || err.Error() != "p.yaml:3:7: it is wrong; right it" {
		t.Errorf("got error %v", err)
	}
	if ds[1:].Err() != nil || ds[1:].HasErrors() {
		t.Error("warnings are no errors")
	}
}

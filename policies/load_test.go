package policies_test

import (
	"testing"

	"github.com/headgate/headgate/policies"
)

func TestX(t *testing.T) {
	p, ds := policies.Load("testdata/valid/contract.yaml", policies.LoadOptions{LookupEnv: func(string) (string, bool) { return "", false }})
	t.Log("\n", ds)
	p, ds = policies.Load("testdata/valid/contract.yaml", policies.LoadOptions{LookupEnv: func(s string) (string, bool) {
		return "0123456789012345678901234567890123456789", s == "SESSION_SECRET"
	}})
	t.Log("\n", ds)
	t.Logf("\n%s", p.Masked())
	for _, r := range p.Routes {
		t.Logf("%+v", r)
	}
}

package policies_test

import (
	"testing"

	"github.com/headgate/headgate/policies"
)

// What shares a cookie stands in testdata/mistakes/logins_under_one_*.
func TestLoginsAtTwoHostsShareNoCookie(t *testing.T) {
	t.Parallel()
	if _, ds := policies.Load("testdata/valid/logins_at_two_hosts.yaml", policies.LoadOptions{LookupEnv: environment}); len(ds) != 0 {
		t.Errorf("%v", ds)
	}
}

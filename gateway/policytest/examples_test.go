package policytest_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/policytest"
)

// The policies that people copy do what their comments say.
func TestExamplePoliciesPassTheirTests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../policies/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, policy := range append(files, "../../examples/shop/headgate.yaml") {
		if strings.HasSuffix(policy, "_test.yaml") {
			continue
		}
		t.Run(filepath.Base(policy), func(t *testing.T) {
			t.Parallel()
			r, err := policytest.Run(t.Context(), policytest.Options{
				Policy: policy, Tests: strings.TrimSuffix(policy, ".yaml") + "_test.yaml",
			})
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || len(r.Results) == 0 {
				var text bytes.Buffer
				if err := policytest.WriteText(&text, []*policytest.Report{r}, nil); err != nil {
					t.Fatal(err)
				}
				t.Error(text.String())
			}
		})
	}
}

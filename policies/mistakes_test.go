package policies_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/policies"
)

var update = flag.Bool("update", false, "write the golden files anew")

// environment is what the policies in testdata find in theirs.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"WORD":           "several",
		"EMPTY":          "",
		"NUMBER":         "42",
		"SESSION_SECRET": strings.Repeat("s", 32),
	}[name]
	return value, ok
}

// Each file in testdata/mistakes makes the mistake that it is named after; what is said of it stands beside it.
func TestEachMistakeIsReportedWithItsPlaceAndMend(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			policy, ds := policies.Load(file, policies.LoadOptions{LookupEnv: environment})
			if (policy == nil) != ds.HasErrors() {
				t.Errorf("policy %v with these diagnostics", policy)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".err"
			got := strings.ReplaceAll(ds.String(), "testdata/", "")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got; -update if it is right)\n%s", diff)
			}
			if got == "" {
				t.Error("the mistake is not noticed")
			}
			for _, d := range ds {
				if d.Line < 1 || d.Column < 1 || d.File == "" || d.Mend == "" {
					t.Errorf("incomplete: %+v", d)
				}
			}
		})
	}
}

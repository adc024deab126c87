package policytest_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/policytest"
	"github.com/headgate/headgate/policies"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testdata/mistakes has a file for each mistake, and beside it what is said of it.
func TestMistakesAreToldWithTheirPlaceAndMend(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f, found := policytest.Parse(name, data)
			if f != nil || !found.HasErrors() {
				t.Fatal("no mistake was found")
			}
			checkPlaces(t, name, found)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			got := found.String()
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// checkPlaces holds each diagnostic to having a place, a message and a mend.
func checkPlaces(t *testing.T, name string, found policies.Diagnostics) {
	t.Helper()
	for _, d := range found {
		if d.File != name || d.Line < 1 || d.Column < 1 || d.Message == "" || d.Mend == "" {
			t.Errorf("incomplete: %#v", d)
		}
	}
}

func FuzzTheLoaderFindsMistakesAndNeverPanics(f *testing.F) {
	for _, pattern := range []string{"testdata/mistakes/*.yaml", "../../policies/*_test.yaml", "../../examples/*/*_test.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, found := policytest.Parse("fuzz.yaml", data)
		checkPlaces(t, "fuzz.yaml", found)
		if (file == nil) != found.HasErrors() {
			t.Fatalf("a file %v, and %v", file, found)
		}
		if _, again := policytest.Parse("fuzz.yaml", data); again.String() != found.String() {
			t.Fatalf("first\n%s\nthen\n%s", found, again)
		}
		if file == nil {
			return
		}
		for _, test := range file.Tests {
			for _, s := range test.Steps {
				expected := 0
				for _, p := range s.Expect {
					expected += p.Requests
				}
				if len(s.Expect) > 0 && expected != s.Times {
					t.Fatalf("%s expects something of %d requests of %d", s.Position, expected, s.Times)
				}
			}
		}
	})
}

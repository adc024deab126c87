package main

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/headgate/headgate/policies"
)

// TestConfigurationsAreWellFormed: all of them are YAML, and Headgate's is a policy.
func TestConfigurationsAreWellFormed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("configurations/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var any map[string]any
		if err := yaml.Unmarshal(text, &any); err != nil || len(any) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	_, problems := policies.Load("configurations/headgate.yaml", policies.LoadOptions{LookupEnv: os.LookupEnv})
	if problems.HasErrors() {
		t.Error(problems)
	}
}

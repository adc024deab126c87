package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/headgate/headgate/policies"
)

func TestAnExcerptShowsThePlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte("version: 1\n\tä: x\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string, line, column int) policies.Diagnostic {
		return policies.Diagnostic{Position: policies.Position{File: name, Line: line, Column: column}}
	}
	for _, tc := range []struct {
		d    policies.Diagnostic
		want string
	}{
		{at(file, 1, 10), "    version: 1\n             ^\n"},
		{at(file, 2, 5), "    \tä: x\n    \t   ^\n"},
		{at(file, 2, 99), "    \tä: x\n    \t    ^\n"},
		{at(file, 99, 1), ""},
		{at("missing", 1, 1), ""},
	} {
		if got := excerpt(tc.d); got != tc.want {
			t.Errorf("%d:%d: %q, want %q", tc.d.Line, tc.d.Column, got, tc.want)
		}
	}
}

package server_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var updatePages = flag.Bool("update", false, "write docs/failures.md's table anew")

const (
	failuresPage  = "../../docs/failures.md"
	failuresBegin = "<!-- written by: go test ./gateway/server -run FailuresPage -update -->\n"
	failuresEnd   = "<!-- end -->\n"
)

// TestFailuresPage: docs/failures.md has the rows and columns that TestFailures runs.
func TestFailuresPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(failuresPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), failuresBegin)
	_, after, ok2 := strings.Cut(rest, failuresEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", failuresPage)
	}
	want := before + failuresBegin + failuresTable() + failuresEnd + after
	if want == string(text) {
		return
	}
	if !*updatePages {
		t.Fatalf("%s is not what the tests say; go test ./gateway/server -run FailuresPage -update", failuresPage)
	}
	if err := os.WriteFile(failuresPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func failuresTable() string {
	var b strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	b.WriteString("\n")
	line(append([]string{"Redis is"}, failureColumns...)...)
	b.WriteString(strings.Repeat("|---", len(failureColumns)+1) + "|\n")
	for _, row := range failures {
		cells := []string{fmt.Sprintf("`%s`: %s", row.name, row.title)}
		for _, feature := range failureColumns {
			cells = append(cells, row.does[feature].cell)
		}
		line(cells...)
	}
	for _, feature := range failureColumns {
		fmt.Fprintf(&b, "\n**%s**\n\n", strings.ToUpper(feature[:1])+feature[1:])
		var said []string
		for _, row := range failures {
			if w := row.does[feature]; !slices.Contains(said, w.cell) {
				said = append(said, w.cell)
				fmt.Fprintf(&b, "- *%s*: %s.\n", w.cell, w.says)
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The README's console blocks are a script: after "$ " a command and what it
// prints, after "shop> " what is typed where the shop runs. They run in order,
// against a shop on free ports.
func TestReadme(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the README's commands need curl; install it (apt-get install curl)")
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := readSteps(string(page))
	if len(steps) < 20 {
		t.Fatalf("only %d steps found in the README", len(steps))
	}

	d := newDemo(t, demoOptions{})
	hosts := strings.NewReplacer(
		"127.0.0.1:8080", strings.TrimPrefix(d.balancer.url(), "http://"),
		"127.0.0.1:8081", d.gateways[0].Addr(),
		"127.0.0.1:8082", d.gateways[1].Addr(),
		"127.0.0.1:9001", strings.TrimPrefix(d.apps[0].url(), "http://"),
	)
	dir := t.TempDir() // for the cookie jars
	for _, step := range steps {
		if step.typed {
			t.Log(d.obey(step.command))
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, "sh", "-c", hosts.Replace(step.command))
		cmd.Dir = dir
		cmd.Stderr = t.Output()
		printed, _ := cmd.Output() // a pipe's status is its last command's: grep's, where it finds nothing
		cancel()
		got := strings.ReplaceAll(string(printed), "\r", "")
		if want := hosts.Replace(step.prints); !matches(want, got) {
			t.Fatalf("README.md:%d: $ %s\nprints:\n%s\nwant:\n%s", step.line, step.command, got, want)
		}
	}
}

type step struct {
	line    int
	typed   bool // in the shop, not in a shell
	command string
	prints  string
}

func readSteps(page string) (steps []step) {
	inside := false
	for i, line := range strings.Split(page, "\n") {
		switch {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case !inside:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:]})
		case strings.HasPrefix(line, "shop> "):
			steps = append(steps, step{line: i + 1, typed: true, command: line[6:]})
		default:
			steps[len(steps)-1].prints += line + "\n"
		}
	}
	return steps
}

// matches compares, with "..." for any text within a line. Lines of headers
// may come in another order than the README has them.
func matches(want, got string) bool {
	wanted := strings.SplitAfter(want, "\n")
	lines := strings.SplitAfter(got, "\n")
	if len(wanted) != len(lines) {
		return false
	}
	for _, w := range wanted {
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(w), regexp.QuoteMeta("..."), ".*") + "$")
		found := false
		for i, line := range lines {
			if found = pattern.MatchString(line); found {
				lines = append(lines[:i], lines[i+1:]...)
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func TestMatchingOfTheReadmeCanFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		matches   bool
	}{
		{"a: ...\n", "a: 1\n", true},
		{"a\nb\n", "b\na\n", true},
		{"a\n", "b\n", false},
		{"a\n", "", false},
		{"", "a\n", false},
		{"a\n", "a\na\n", false},
		{"a\na\n", "a\nb\n", false},
		{"a: ...\n", "a: 1\nb\n", false},
		{"4\n", "40\n", false},
	} {
		if got := matches(c.want, c.got); got != c.matches {
			t.Errorf("matches(%q, %q) = %v", c.want, c.got, got)
		}
	}
}

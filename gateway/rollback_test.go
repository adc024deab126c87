package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestARollbackHoldsUntilThePolicyChanges(t *testing.T) {
	t.Parallel()
	policy := func(status int) string { return fmt.Sprintf("routes: [{path: /*, respond: {status: %d}}]\n", status) }
	p := startProcess(t, policy(201))
	want := func(status int) {
		t.Helper()
		if s, _, _ := p.do("GET", "/"); s != status {
			t.Errorf("the gateway answers %d, want %d", s, status)
		}
	}
	says := func(want string, args ...string) {
		t.Helper()
		if out, err := p.command(append(args, "--admin", p.admin)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	p.write(policy(202))
	p.eventually("the edit is in force", func() bool { s, _, _ := p.do("GET", "/"); return s == 202 })
	says("nothing to reload: policy 2, which runs, is what the files say", "reload")
	says("rolled back to 1, which holds until the policy's files change", "rollback", "1")
	want(201)

	must(t, os.WriteFile(filepath.Join(filepath.Dir(p.policy), "beside.yaml"), []byte("x: y\n"), 0o600))
	p.write(policy(202)) // the same bytes in another file
	must(t, p.Process.Signal(syscall.SIGHUP))
	p.eventually("SIGHUP is refused", func() bool {
		return strings.Contains(p.output.String(), `msg="the policy was not reloaded" by=SIGHUP reason="the rollback to policy 1 holds`)
	})
	want(201)
	says("running, holds until the policy's files change", "history")
	if out, err := p.command("reload", "--admin", p.admin); err == nil || !strings.Contains(out, "run `headgate reload --file` to end it") {
		t.Errorf("reload: %v\n%s", err, out)
	}

	says("policy 4 runs now", "reload", "--file")
	want(202)
	says("rolled back to 3", "rollback", "3")
	want(201)
	p.write(policy(203))
	p.eventually("the next edit is in force", func() bool { s, _, _ := p.do("GET", "/"); return s == 203 })
	if out, err := p.command("history", "--admin", p.admin); err != nil || strings.Count(out, "\n") != 6 || strings.Contains(out, "holds") {
		t.Errorf("history: %v\n%s", err, out)
	}
}

func TestOnlyWhatThePolicyIsMadeOfCountsAsAChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, []byte(text), 0o600))
	}
	const included = "routes: [{name: %s, path: /%s, respond: {status: 200}}]\n"
	write("headgate.yaml", "version: 1\ninclude: [\"routes/*.yaml\"]\nserver: {admin: {token_file: token}}\n")
	write("routes/a.yaml", fmt.Sprintf(included, "a", "a"))
	write("token", "first")
	loader := &policyLoader{names: []string{filepath.Join(dir, "headgate.yaml")}}
	for _, step := range []struct {
		name    string
		do      func()
		changed bool
	}{
		{"nothing", func() {}, false},
		{"another YAML file in the folder", func() { write("other.yaml", "x: y\n") }, false},
		{"a file in the include's folder that its pattern leaves out", func() { write("routes/a.yaml.bak", "x: y\n") }, false},
		{"the same bytes", func() { write("routes/a.yaml", fmt.Sprintf(included, "a", "a")) }, false},
		{"an included file", func() { write("routes/a.yaml", fmt.Sprintf(included, "a", "b")) }, true},
		{"a file more for the include", func() { write("routes/c.yaml", fmt.Sprintf(included, "c", "c")) }, true},
		{"a secret", func() { write("token", "second") }, true},
		{"a broken file", func() {
			write("headgate.yaml", "version: 1\ninclude: [\"routes/*.yaml\"]\nserver: {admin: {token_file: none}}\n")
		}, true},
		{"what the broken policy lacks", func() { write("none", "third") }, true},
		{"a file less", func() { must(t, os.Remove(filepath.Join(dir, "routes/a.yaml"))) }, true},
	} {
		loader.load()
		read := loader.lastRead()
		step.do()
		if read.changed() != step.changed {
			t.Errorf("%s: a change is seen: %v", step.name, read.changed())
		}
	}
}

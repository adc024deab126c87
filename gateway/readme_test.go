package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The README's policy, its commands and what they print are tests: what stands
// there is what happens.

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns the README's first fenced block of a language.
func block(t *testing.T, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readme(t), "\n```"+language+"\n")
	if !ok {
		t.Fatalf("the README has no %s block", language)
	}
	text, _, _ := strings.Cut(rest, "```")
	return text
}

func TestREADMEsCommandsPrintWhatItSays(t *testing.T) {
	policy, console := block(t, "yaml"), block(t, "console")
	t.Chdir(t.TempDir())
	must(t, os.WriteFile("headgate.yaml", []byte(policy), 0o600))
	var want, command string
	check := func() {
		if command == "" {
			return
		}
		args := strings.Fields(strings.TrimPrefix(command, "headgate "))
		var out, errs bytes.Buffer
		if code := run(context.Background(), args, &out, &errs); code != 0 || out.String() != want || errs.Len() > 0 {
			t.Errorf("$ %s\nexits %d and prints\n%s%swhere the README has\n%s", command, code, &out, &errs, want)
		}
	}
	for line := range strings.Lines(console) {
		if next, ok := strings.CutPrefix(line, "$ "); ok {
			check()
			command, want = strings.TrimSpace(next), ""
			continue
		}
		want += line
	}
	check()
	if command == "" {
		t.Error("no command was run")
	}
}

// The README's answer to the sixth failed login, in all but the seconds.
func TestREADMEs429IsWhatTheGatewaySends(t *testing.T) {
	want := block(t, "http")
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	policy := strings.Replace(block(t, "yaml"), `["http://127.0.0.1:9001", "http://127.0.0.1:9002"]`, `["`+app+`"]`, 1)
	policy = regexp.MustCompile(`(?m)^(version|server):.*\n`).ReplaceAllString(policy, "")
	p := startProcess(t, policy)
	for i := range 5 {
		if s, _, _ := p.do("POST", "/login"); s != http.StatusUnauthorized {
			t.Fatalf("failed login %d: %d", i+1, s)
		}
	}
	status, body, header := p.do("POST", "/login")
	var got bytes.Buffer
	if status == http.StatusTooManyRequests {
		got.WriteString("HTTP/1.1 429 Too Many Requests\n")
	}
	for _, name := range []string{"Cache-Control", "Content-Type", "RateLimit", "RateLimit-Policy", "Retry-After"} {
		got.WriteString(name + ": " + header.Get(name) + "\n")
	}
	got.WriteString("\n" + strings.TrimSpace(body) + "\n")
	seconds := regexp.MustCompile(`;t=\d+|Retry-After: \d+`)
	if seconds.ReplaceAllString(got.String(), "N") != seconds.ReplaceAllString(want, "N") {
		t.Errorf("the gateway sends\n%s\nwhere the README has\n%s", &got, want)
	}
}

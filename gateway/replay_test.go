package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	replayPolicy = `version: 1
upstreams: {shop: {servers: [http://127.0.0.1:9001]}}
limits: {per-ip: {algorithm: fixed_window, requests: 2, window: 1m}}
defaults: {limits: per-ip}
routes: [{name: all, path: /*, upstream: shop}]
`
	replayLine = `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "curl/8.5.0"` + "\n"
)

// replayFiles writes files into a new directory, in which they are named as here.
func replayFiles(t *testing.T) (in func(name string) string) {
	t.Helper()
	dir := t.TempDir()
	in = func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{
		"new.yaml":   replayPolicy,
		"old.yaml":   strings.Replace(replayPolicy, "requests: 2", "requests: 4", 1),
		"bad.yaml":   strings.Replace(replayPolicy, "requests: 2", "requests: -1", 1),
		"access.log": strings.Repeat(replayLine, 5),
		"other.txt":  "hello\n",
	} {
		if err := os.WriteFile(in(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

func TestReplaySaysWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	in := replayFiles(t)
	tests := []struct {
		name       string
		args       []string
		code       int
		out, error string
	}{
		{"text", []string{"-p", in("new.yaml"), in("access.log")}, exitOK, "denied    3  60.0 %", ""},
		{"JSON", []string{"-p", in("new.yaml"), "-o", "json", in("access.log")}, exitOK, `"denied": 3,`, ""},
		{"HTML", []string{"-p", in("new.yaml"), "-o", "html", in("access.log")}, exitOK, "<!doctype html>", ""},
		{"the difference", []string{"-p", in("new.yaml"), "--against", in("old.yaml"), in("access.log")}, exitOK, "newly denied: 2 requests of 1 clients", ""},
		{"no policy", []string{"-p", in("none.yaml"), in("access.log")}, exitFailed, "", "none.yaml"},
		{"a bad policy", []string{"-p", in("bad.yaml"), in("access.log")}, exitFailed, "", "bad.yaml:3:"},
		{"no such log", []string{"-p", in("new.yaml"), in("none.log")}, exitFailed, "", "no such file"},
		{"what is no log", []string{"-p", in("new.yaml"), in("other.txt")}, exitFailed, "", "no known format"},
		{"not the format", []string{"-p", in("new.yaml"), "--format", "caddy", in("access.log")}, exitFailed, "", "none of its 5 lines"},
		{"no log", []string{"-p", in("new.yaml")}, exitMisuse, "", "requires at least 1 arg"},
		{"an unknown format", []string{"-p", in("new.yaml"), "--format", "iis", in("access.log")}, exitMisuse, "", "no --format iis"},
		{"an unknown output", []string{"-p", in("new.yaml"), "-o", "pdf", in("access.log")}, exitMisuse, "", "--output pdf"},
		{"an output that cannot be written", []string{"-p", in("new.yaml"), "-o", in("none/r.json"), in("access.log")}, exitFailed, "", "--output"},
		{"an unknown scheme", []string{"-p", in("new.yaml"), "--scheme", "ftp", in("access.log")}, exitMisuse, "", "--scheme ftp"},
		{"standard input twice", []string{"-p", in("new.yaml"), "-", "-"}, exitMisuse, "", "once only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"replay"}, tt.args...), &out, &errs)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.error) {
				t.Errorf("exit code %d, want %d\nout: %s\nerr: %s", code, tt.code, out.String(), errs.String())
			}
			if tt.code == exitOK && errs.Len() > 0 {
				t.Errorf("stderr: %s", errs.String())
			}
		})
	}
}

func TestReplayWritesIntoTheFileThatItIsTold(t *testing.T) {
	t.Parallel()
	in := replayFiles(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"replay", "-p", in("new.yaml"), "-o", in("r.json"), in("access.log")}, &out, &errs); code != exitOK || out.Len() > 0 {
		t.Fatalf("exit code %d, out %q, err %q", code, out.String(), errs.String())
	}
	b, err := os.ReadFile(in("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Requests int }
	if err := json.Unmarshal(b, &r); err != nil || r.Requests != 5 {
		t.Errorf("%v: %+v", err, r)
	}

	// What fails leaves the last good report as it was, and nothing beside it.
	if code := run(t.Context(), []string{"replay", "-p", in("new.yaml"), "-o", in("r.json"), in("other.txt")}, &out, &errs); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if again, err := os.ReadFile(in("r.json")); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%v: %s", err, again)
	}
	if left, _ := filepath.Glob(in(".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

package main

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	t.Parallel()
	build := func(module string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: module}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	commit := []string{"vcs.revision", "0123456789abcdef0123", "vcs.time", "2026-11-27T20:00:00Z", "vcs.modified", "false"}
	dirty := append(commit[:5:5], "true")
	for name, tc := range map[string]struct {
		given         string
		info          *debug.BuildInfo
		want, details string
	}{
		"a release":              {"v1.2.3", build("(devel)", commit...), "v1.2.3", "commit 0123456789ab of 2026-11-27T20:00:00Z, go"},
		"go install of a module": {"", build("v1.2.3"), "v1.2.3", "go"},
		"a checkout":             {"", build("(devel)", commit...), "devel-0123456789ab", "commit 0123456789ab of 2026-11-27T20:00:00Z, go"},
		"a modified checkout":    {"", build("", dirty...), "devel-0123456789ab+dirty", "commit 0123456789ab of 2026-11-27T20:00:00Z, modified, go"},
		"no repository":          {"", build("(devel)"), "(devel)", "go"},
		"no build information":   {"", nil, "(devel)", "go"},
	} {
		if got := buildVersion(tc.given, tc.info); got != tc.want {
			t.Errorf("%s: the version is %q, want %q", name, got, tc.want)
		}
		if got := buildDetails(tc.info); !strings.HasPrefix(got, tc.details) {
			t.Errorf("%s: the details are %q, want %q at their beginning", name, got, tc.details)
		}
	}
}

// The Makefile and the Dockerfile name the variable, and the linker says nothing of a name that is wrong.
func TestTheBuildsVersionIsWhatTheProgramSays(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "headgate")
	make := exec.Command("make", "-s", "-C", "..", "build", "VERSION=v9.8.7", "OUT="+program)
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "headgate v9.8.7 (") {
		t.Errorf("%v %q", err, out)
	}
}

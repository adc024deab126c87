//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A rotation renames the log and sends a signal: the next line stands in a new file, and none is lost.
func TestRotationByASignal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	p := startProcess(t, "routes: [{path: /*, respond: {status: 200}}]\n", "access_log: "+path, "log: {format: json}")
	for _, signal := range []os.Signal{syscall.SIGUSR1, syscall.SIGHUP} {
		p.do("GET", "/before")
		p.eventually("the line", func() bool { return logHas(path, "/before") })
		must(t, os.Rename(path, path+".1"))
		must(t, p.Process.Signal(signal))
		p.eventually("the new file", func() bool { _, err := os.Stat(path); return err == nil })
		p.do("GET", "/after")
		p.eventually("the line in it", func() bool { return logHas(path, "/after") })
		if logHas(path+".1", "/after") || logHas(path, "/before") {
			t.Errorf("%v: a line is in the wrong file", signal)
		}
		must(t, os.Remove(path))
		must(t, p.Process.Signal(signal))
		p.eventually("a file again", func() bool { _, err := os.Stat(path); return err == nil })
	}
	for line := range strings.Lines(p.output.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func logHas(path, what string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.Contains(string(text), what)
}

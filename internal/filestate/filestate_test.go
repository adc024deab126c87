package filestate_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/filestate"
)

func TestChangesAreFound(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(other, []byte("one"), 0o600))
	for _, step := range []struct {
		name   string
		change func() error
		same   bool
	}{
		{"nothing", func() error { return nil }, true},
		{"made", func() error { return os.WriteFile(name, []byte("one"), 0o600) }, false},
		{"read", func() error { _, err := os.ReadFile(name); return err }, true},
		{"another time", func() error { return os.Chtimes(name, time.Time{}, time.Unix(1, 0)) }, false},
		{"another length, the same time", func() error {
			must(os.WriteFile(name, []byte("three"), 0o600))
			return os.Chtimes(name, time.Time{}, time.Unix(1, 0))
		}, false},
		{"another file of the same time and length", func() error {
			must(os.WriteFile(name+".new", []byte("seven"), 0o600))
			must(os.Chtimes(name+".new", time.Time{}, time.Unix(1, 0)))
			return os.Rename(name+".new", name)
		}, false},
		{"removed", func() error { return os.Remove(name) }, false},
	} {
		before := filestate.Of(name, other)
		must(step.change())
		if same := filestate.Of(name, other).Same(before); same != step.same {
			t.Errorf("%s: the same: %t", step.name, same)
		}
	}
	if filestate.Of(name).Same(filestate.Of(name, other)) {
		t.Error("one file is as two")
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchPoll is how often the files are read whatever the system tells:
	// network file systems and some container mounts tell nothing.
	watchPoll = 5 * time.Second
	// watchSettle is how long a change must be left alone: editors and deploys
	// write in several steps.
	watchSettle = 100 * time.Millisecond
)

// watchFiles calls changed when the contents of files have changed, until ctx
// ends. It watches their folders rather than the files, since editors replace
// files, and Kubernetes a ConfigMap's symlinked folder; what counts in
// the end is a hash of what is read.
func watchFiles(ctx context.Context, files func() []string, log *slog.Logger, changed func()) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("the policy's folder cannot be watched; it is looked at every few seconds", "error", err)
	} else {
		defer watcher.Close()
		events, errs = watcher.Events, watcher.Errors
	}
	watched := map[string]bool{}
	follow := func() {
		if watcher == nil {
			return
		}
		for _, dir := range folders(files()) {
			if !watched[dir] && watcher.Add(dir) == nil {
				watched[dir] = true
			}
		}
	}
	follow()
	seen := hashFiles(files())
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			settle.Reset(watchSettle)
			continue
		case err := <-errs:
			log.Debug("watching the policy", "error", err) // such as an overflow: the poll makes up for it
			continue
		case <-poll.C:
		case <-settle.C:
		}
		if now := hashFiles(files()); !bytes.Equal(now, seen) {
			seen = now
			changed()
			follow()
			seen = hashFiles(files()) // it may be made of other files now
		}
	}
}

// folders are those whose entries decide what the files are: of the names
// themselves, and of what symlinks lead to.
func folders(files []string) []string {
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f))
		if real, err := filepath.EvalSymlinks(f); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// hashFiles returns a hash of all contents, and of the names of the YAML files
// beside them, since include may have a glob. A file that cannot be read, as
// in the middle of a replacement, counts as empty.
func hashFiles(files []string) []byte {
	h := sha256.New()
	for _, dir := range folders(files) {
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well-formed unless dir is odd
			for _, name := range names {
				h.Write([]byte(name + "\x00"))
			}
		}
	}
	for _, f := range files {
		text, _ := os.ReadFile(f)
		sum := sha256.Sum256(text)
		h.Write(sum[:])
	}
	return h.Sum(nil)
}

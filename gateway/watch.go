package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchPoll is how often the files are read even without an event: network
	// file systems and some container mounts send none.
	watchPoll = 5 * time.Second
	// watchSettle is how long the folders must be quiet after an event: editors and
	// deployments write in several steps.
	watchSettle = 100 * time.Millisecond
)

// watchFiles calls changed when the loader would read something else than it
// last did, until ctx ends. It watches folders rather than files, since editors replace files,
// and Kubernetes a ConfigMap's symlinked folder; but an event only makes it
// look at what the files hold.
func watchFiles(ctx context.Context, loader *policyLoader, log *slog.Logger, changed func()) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("the policy's folder cannot be watched; its files are read every few seconds instead", "error", err)
	} else {
		defer watcher.Close()
		events, errs = watcher.Events, watcher.Errors
	}
	watched := map[string]bool{}
	follow := func() {
		if watcher == nil {
			return
		}
		for _, dir := range loader.lastRead().folders() {
			if !watched[dir] && watcher.Add(dir) == nil {
				watched[dir] = true
			}
		}
	}
	follow()
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	settle := time.NewTimer(0) // the files may have changed before they were watched
	defer settle.Stop()
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
		if loader.lastRead().changed() {
			changed()
			follow() // the policy may be made of other files now
		}
	}
}

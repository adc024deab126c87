package proxy

import (
	"time"

	"github.com/headgate/headgate/internal/filestate"
)

// lookEvery is how often the files that Config.TLS names are looked at.
const lookEvery = time.Second

// files are those that the configuration names.
func (t TLS) files() []string {
	var names []string
	for _, name := range []string{t.CAFile, t.CertFile, t.KeyFile} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// follow begins or ends looking at files, whose state was taken before they were read. The caller holds mu.
func (u *Upstream) follow(files filestate.State) {
	u.files = files
	needed := len(files) > 0 && !u.closed && u.testTransport == nil
	switch {
	case needed && u.unfollow == nil:
		stop := make(chan struct{})
		u.unfollow = func() { close(stop) }
		go u.look(stop)
	case !needed && u.unfollow != nil:
		u.unfollow()
		u.unfollow = nil
	}
}

func (u *Upstream) look(stop <-chan struct{}) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			u.takeUpFiles()
		}
	}
}

// takeUpFiles replaces the servers' connections where files have changed. Each state of the files is tried once.
func (u *Upstream) takeUpFiles() {
	now := filestate.Of(u.pool.Load().given.TLS.files()...)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || now.Same(u.files) {
		return
	}
	u.files = now
	old := u.pool.Load()
	key, err := newTransportKey(old.given)
	if err == nil && key == u.key {
		return // the same text in another file, as a deployment of what was there makes it
	}
	var next *pool
	if err == nil {
		next, err = u.newPool(old.given, key, u.watches, old)
	}
	if err != nil {
		u.options.Logger.Error("the changed TLS files cannot be used; the old ones stay", "error", err)
		return
	}
	u.key = key
	u.replace(old, next)
	u.options.Logger.Info("the TLS files were loaded anew", "files", old.given.TLS.files())
}

package server

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/proxy"
)

// retireAfter is how long an upstream that the policy no longer has lives on,
// for the requests that began under a policy that had it.
const retireAfter = time.Minute

// upstreams are the pools of app servers by name. They outlive policies: one
// that a new policy has as well keeps its connections, health and counters.
type upstreams struct {
	options proxy.Options // of all of them, but for Name and Config
	log     *slog.Logger

	mu      sync.Mutex
	byName  map[string]*proxy.Upstream
	retired map[*proxy.Upstream]*time.Timer
}

func newUpstreams(options proxy.Options, log *slog.Logger) *upstreams {
	return &upstreams{options: options, log: log, byName: map[string]*proxy.Upstream{}, retired: map[*proxy.Upstream]*time.Timer{}}
}

// prepared are the upstreams of a policy that is being compiled.
type prepared struct {
	byName map[string]*proxy.Upstream
	made   []*proxy.Upstream
}

// discard closes what was made for a policy that is not going to run.
func (p prepared) discard() {
	for _, u := range p.made {
		u.Close()
	}
}

// prepare returns an upstream for each configuration: the one that there is, as
// it is until adopt, or a new one.
func (us *upstreams) prepare(configs map[string]proxy.Config) (prepared, error) {
	us.mu.Lock()
	defer us.mu.Unlock()
	p := prepared{byName: map[string]*proxy.Upstream{}}
	made := make(chan *proxy.Upstream)
	failed := make(chan error)
	for name, cfg := range configs {
		if u := us.byName[name]; u != nil {
			p.byName[name] = u
			continue
		}
		// At the same time: each may wait for its servers' names to be resolved.
		go func() {
			o := us.options
			o.Name, o.Config = name, cfg
			if u, err := proxy.New(o); err != nil {
				failed <- err
			} else {
				made <- u
			}
		}()
	}
	var wrong error
	for range len(configs) - len(p.byName) {
		select {
		case u := <-made:
			p.made = append(p.made, u)
		case wrong = <-failed:
		}
	}
	if wrong != nil {
		p.discard()
		return prepared{}, wrong
	}
	for _, u := range p.made {
		p.byName[u.Name()] = u
	}
	return p, nil
}

// adopt puts a policy's upstreams in charge. Those that the policy no longer
// has retire.
func (us *upstreams) adopt(p prepared, configs map[string]proxy.Config) {
	us.mu.Lock()
	defer us.mu.Unlock()
	for name, u := range us.byName {
		if p.byName[name] == nil {
			us.retired[u] = time.AfterFunc(retireAfter, func() { us.end(u) })
		}
	}
	us.byName = p.byName
	for name, cfg := range configs {
		if err := p.byName[name].Update(cfg); err != nil { // checked by compile: a file has changed in between
			us.log.Error("an upstream could not be updated and stays as it was", "error", err)
		}
	}
}

func (us *upstreams) end(u *proxy.Upstream) {
	u.Close()
	us.mu.Lock()
	defer us.mu.Unlock()
	delete(us.retired, u)
}

func (us *upstreams) close() {
	us.mu.Lock()
	defer us.mu.Unlock()
	for _, u := range us.byName {
		u.Close()
	}
	for u, timer := range us.retired {
		timer.Stop()
		u.Close()
	}
}

// Drain implements admin.Upstreams.
func (us *upstreams) Drain(name, url string, force bool, by string) (any, error) {
	return us.change(name, func(u *proxy.Upstream) ([]proxy.ServerStatus, error) { return u.Drain(url, force, by) })
}

// Restore implements admin.Upstreams.
func (us *upstreams) Restore(name, url, by string) (any, error) {
	return us.change(name, func(u *proxy.Upstream) ([]proxy.ServerStatus, error) { return u.Restore(url, by) })
}

// change drains or restores a server, and puts its error in the admin API's terms.
func (us *upstreams) change(name string, do func(*proxy.Upstream) ([]proxy.ServerStatus, error)) (any, error) {
	us.mu.Lock()
	u, names := us.byName[name], slices.Sorted(maps.Keys(us.byName))
	us.mu.Unlock()
	if u == nil {
		return nil, fmt.Errorf("%w: there is no upstream %q; the upstreams are %s", admin.ErrNotFound, name, strings.Join(names, ", "))
	}
	servers, err := do(u)
	switch {
	case errors.Is(err, proxy.ErrNoSuchServer):
		return nil, fmt.Errorf("%w: %w", admin.ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	return servers, nil
}

// Status implements admin.Upstreams.
func (us *upstreams) Status() any { return us.status() }

// status is what the admin listener shows at /upstreams.
func (us *upstreams) status() map[string][]proxy.ServerStatus {
	us.mu.Lock()
	defer us.mu.Unlock()
	all := make(map[string][]proxy.ServerStatus, len(us.byName))
	for name, u := range us.byName {
		all[name] = u.Status()
	}
	return all
}

package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/mask"
	"github.com/headgate/headgate/middleware/problem"
)

// Errors of Drain and Restore.
var (
	ErrNoSuchServer    = errors.New("no such server")
	ErrLastServer      = errors.New("it is the last server")
	ErrDrainedByWeight = errors.New("its weight is 0 in the policy")
)

// Drain has a server get no new requests, at all addresses of its name; those in flight end, and health checks go on. It stays drained until
// [Upstream.Restore], or until a configuration does not have it. The last healthy server is drained only by force. by says who asked, for the log.
// It returns the server's status at each address.
func (u *Upstream) Drain(url string, force bool, by string) ([]ServerStatus, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	name, members, err := u.find(url)
	if err != nil {
		return nil, err
	}
	if !force {
		if err := u.mayDrain(name); err != nil {
			return nil, err
		}
	}
	if !u.drained[name] {
		u.drained[name] = true
		u.options.Logger.Info("server is drained", "server", name, "by", by)
	}
	for _, m := range members {
		m.draining.Store(true)
	}
	u.wake() // requests that wait are refused, if no other server is left
	return u.statuses(members), nil
}

// Restore has a server that Drain has drained get requests again, after a slow start if one is configured. by says who asked, for the log.
func (u *Upstream) Restore(url, by string) ([]ServerStatus, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	name, members, err := u.find(url)
	if err != nil {
		return nil, err
	}
	if members[0].weight == 0 {
		return nil, fmt.Errorf("%w; give it another one there", ErrDrainedByWeight)
	}
	if u.drained[name] {
		delete(u.drained, name)
		u.options.Logger.Info("server is restored", "server", name, "by", by)
	}
	for _, m := range members {
		if m.draining.Load() {
			m.warmUp(u.tick(u.now()), u.pool.Load().cfg.SlowStart)
			m.draining.Store(false)
		}
	}
	u.wake()
	return u.statuses(members), nil
}

// find returns a server's name and its members, of which there is one at least. The caller holds mu.
func (u *Upstream) find(url string) (name string, members []member, err error) {
	name = nameOf(strings.TrimSuffix(url, "/"))
	var names []string
	for _, m := range u.pool.Load().members {
		if m.name == name {
			members = append(members, m)
		}
		if !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	if members == nil {
		return "", nil, fmt.Errorf("%w %s; upstream %s has %s", ErrNoSuchServer, problem.Quote(mask.URL(url)), u.name, strings.Join(names, ", "))
	}
	return name, members, nil
}

// nameOf returns the name of the server with this URL; "" where no server can have it.
func nameOf(url string) string {
	target, wrong := parseServer(url)
	if wrong != nil {
		return ""
	}
	return target.String()
}

// mayDrain refuses to drain the last server that gets requests, and the last one of those that is healthy. The caller holds mu.
func (u *Upstream) mayDrain(name string) error {
	now := u.now()
	gets, healthy, left, healthyLeft := false, false, false, false
	for _, m := range u.pool.Load().members {
		if !m.inService() {
			continue
		}
		well := u.state(m, now) == StateHealthy
		if m.name == name {
			gets, healthy = true, healthy || well
		} else {
			left, healthyLeft = true, healthyLeft || well
		}
	}
	switch {
	case gets && !left:
		return fmt.Errorf("%w of upstream %s that gets requests; --force (\"force\": true) drains it all the same, and requests are answered 503", ErrLastServer, u.name)
	case healthy && !healthyLeft:
		return fmt.Errorf("%w of upstream %s that is healthy; --force (\"force\": true) drains it all the same", ErrLastServer, u.name)
	}
	return nil
}

// forgetDrained forgets the drained servers that a configuration does not have. The caller holds mu.
func (u *Upstream) forgetDrained(cfg Config) {
	for name := range u.drained {
		if !slices.ContainsFunc(cfg.Servers, func(s Server) bool { return nameOf(s.URL) == name }) {
			delete(u.drained, name)
		}
	}
}

func (u *Upstream) statuses(members []member) []ServerStatus {
	now := u.now()
	var all []ServerStatus
	for _, m := range members {
		all = append(all, u.status(m, now))
	}
	return all
}

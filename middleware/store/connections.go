package store

import (
	"errors"
	"sync"
	"sync/atomic"
)

// of returns the options of a feature's connections.
func (o Options) of(s Separate) Options {
	if s.given() {
		o.URL, o.URLFile, o.Access = s.URL, s.URLFile, s.Access
	}
	o.Sessions, o.Cache, o.Jobs = Separate{}, Separate{}, Separate{}
	return o
}

// Connections are what the features use: each has connections and a breaker of its own, so that
// one that is slow, full or away leaves the others alone. Limits and sessions share theirs where
// they are in one Redis: a request then asks both in one round trip.
type Connections struct {
	Limits, Sessions, Cache *Redis

	options Options
	opening sync.Mutex
	jobs    atomic.Pointer[Redis]
}

// OpenConnections opens the connections of all features but jobs. See [Open].
func OpenConnections(o Options) (c *Connections, err error) {
	c = &Connections{options: o}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	features := "limits, sessions"
	if o.Sessions.given() {
		features = "limits"
	}
	if c.Limits, err = openFor(features, o.of(Separate{})); err != nil {
		return nil, err
	}
	c.Sessions = c.Limits
	if o.Sessions.given() {
		if c.Sessions, err = openFor("sessions", o.of(o.Sessions)); err != nil {
			return nil, err
		}
	}
	c.Cache, err = openFor("cache", o.of(o.Cache))
	return c, err
}

// Jobs returns the connection for jobs, and opens it at the first call: it is for programs that have queues.
func (c *Connections) Jobs() (*Redis, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if r := c.jobs.Load(); r != nil {
		return r, nil
	}
	r, err := openFor("jobs", c.options.of(c.options.Jobs))
	if err == nil {
		c.jobs.Store(r)
	}
	return r, err
}

// openFor opens a connection whose log names the features that use it.
func openFor(features string, o Options) (*Redis, error) {
	if o.Logger != nil {
		o.Logger = o.Logger.With("for", features)
	}
	return Open(o)
}

// All returns each connection once.
func (c *Connections) All() []*Redis {
	all := []*Redis{c.Limits}
	if c.Sessions != c.Limits {
		all = append(all, c.Sessions)
	}
	if all = append(all, c.Cache); c.jobs.Load() != nil {
		all = append(all, c.jobs.Load())
	}
	return all
}

// Shared returns the connection by which limits and sessions are asked in one round trip; nil
// where they are in different Redis.
func (c *Connections) Shared() *Redis {
	if c.Sessions != c.Limits {
		return nil
	}
	return c.Limits
}

// Feature is what a feature has of its Redis.
type Feature struct {
	Name                string   // limits, sessions, cache or jobs
	Away, RefusesWrites *Trouble // nil: no; Away is also what the user's rights deny
}

// Features returns the state of each feature that has a connection.
func (c *Connections) Features() []Feature {
	var features []Feature
	for _, f := range []struct {
		name  string
		r     *Redis
		kinds []string
	}{
		{"limits", c.Limits, []string{"limit"}},
		{"sessions", c.Sessions, []string{"session", "session-user", "session-seen"}},
		{"cache", c.Cache, []string{"cache"}},
		{"jobs", c.jobs.Load(), []string{"jobs"}},
	} {
		if f.r == nil {
			continue
		}
		state := Feature{Name: f.name, Away: f.r.Away(), RefusesWrites: f.r.RefusesWrites()}
		if state.Away == nil {
			state.Away = f.r.Denied(f.kinds...)
		}
		features = append(features, state)
	}
	return features
}

// Available reports whether all of them are.
func (c *Connections) Available() bool {
	for _, r := range c.All() {
		if !r.Available() {
			return false
		}
	}
	return true
}

// RoundTrips returns how many round trips have been made.
func (c *Connections) RoundTrips() (n int64) {
	for _, r := range c.All() {
		n += r.RoundTrips()
	}
	return n
}

// Close ends all connections.
func (c *Connections) Close() error {
	var errs []error
	for _, r := range c.All() {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/problem"
)

// Attempt is one try at one server, as its end is known.
type Attempt struct {
	Upstream string
	Server   string // its URL
	// Kind says why the attempt failed. Empty: the response was passed on whole.
	Kind Kind
	// Status is that of the server's response, 0 if none came.
	Status int
	// Header is the time from the choice of the server to the response's
	// header, or to the failure if that came first.
	Header time.Duration
	// Retry says that it was not the request's first attempt.
	Retry bool
}

// Upstream is a group of servers that requests are forwarded to. It is safe
// for concurrent use.
type Upstream struct {
	name    string
	options Options
	epoch   time.Time // when it was made
	pool    atomic.Pointer[pool]
	budget  budget
	proxy   *httputil.ReverseProxy

	testTransport http.RoundTripper // answers in place of the servers; nil outside tests

	mu     sync.Mutex // held by Update and Close
	key    transportKey
	closed bool

	ejecting sync.Mutex // held from mayEject to open: else two goroutines could eject the last two servers
}

// New makes an upstream and starts its health checks, which run until
// [Upstream.Close].
func New(o Options) (*Upstream, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	u := &Upstream{name: o.Name, options: o, epoch: o.Now()}
	u.proxy = newReverseProxy(u)
	if o.Transport != nil {
		u.testTransport = o.Transport(o.Name)
	}
	if err := u.Update(o.Config); err != nil {
		return nil, err
	}
	return u, nil
}

// Name returns the upstream's name.
func (u *Upstream) Name() string { return u.name }

// Update changes the configuration. Requests in flight end under the old one.
// Servers that stay keep their health, ejection and counters, and their
// connections unless Protocol, TLS (the files' contents included),
// ConnectTimeout or IdleTimeout changed. On an error nothing has changed.
func (u *Upstream) Update(cfg Config) error {
	cfg = cfg.withDefaults()
	if err := problem.Error("upstream "+u.name, cfg.Validate()); err != nil {
		return err
	}
	key, err := newTransportKey(cfg)
	if err != nil {
		return fmt.Errorf("upstream %s: %w", u.name, err)
	}

	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return fmt.Errorf("upstream %s: updated after Close", u.name)
	}
	old := u.pool.Load()
	if old != nil && key == u.key && old.given.Equal(cfg) {
		return nil
	}
	next, err := u.newPool(cfg, key, old)
	if err != nil {
		return fmt.Errorf("upstream %s: %w", u.name, err)
	}
	u.key = key
	if old != nil {
		old.stop()
	}
	u.startChecks(next)
	u.pool.Store(next)
	if old != nil {
		closeUnused(old, next)
	}
	return nil
}

// newPool builds the pool of a configuration out of what stays of the old one.
func (u *Upstream) newPool(cfg Config, key transportKey, old *pool) (*pool, error) {
	p := &pool{given: cfg, cfg: cfg.effective(), stop: func() {}}
	var names []string
	for _, sc := range cfg.Servers {
		target, wrong := parseServer(sc.URL)
		if wrong != nil {
			return nil, wrong
		}
		m := member{weight: sc.Weight}
		if old != nil {
			m = old.member(target.String())
			m.weight = sc.Weight
		}
		if m.server == nil {
			m.server = &server{name: target.String(), url: target}
			if old != nil {
				m.warmUp(u.tick(u.now()), cfg.SlowStart)
			}
		}
		if m.transport == nil || key != u.key {
			var err error
			if m.transport, err = newTransport(key); err != nil {
				return nil, err
			}
		}
		p.members = append(p.members, m)
		names = append(names, m.name)
	}
	p.balancer = newBalancer(cfg.Balance, names, rand.Uint64)
	return p, nil
}

// member returns the pool's member of that name, or the zero one.
func (p *pool) member(name string) member {
	for _, m := range p.members {
		if m.name == name {
			return m
		}
	}
	return member{}
}

// startChecks starts a pool's health checks.
func (u *Upstream) startChecks(p *pool) {
	if p.cfg.HealthCheck.Path == "" || u.testTransport != nil {
		for _, m := range p.members {
			m.checked.reset()
		}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, m := range p.members {
		c := &checker{member: m, upstream: u, cfg: p.cfg.HealthCheck, slow: p.cfg.SlowStart}
		running.Go(func() { c.run(ctx) })
	}
	p.stop = func() { cancel(); running.Wait() }
}

// closeUnused closes the idle connections that next does not use; those of
// requests in flight are closed as they come back.
func closeUnused(old, next *pool) {
	for _, m := range old.members {
		used := next != nil && slices.ContainsFunc(next.members, func(n member) bool { return n.transport == m.transport })
		if !used {
			m.transport.CloseIdleConnections()
		}
	}
}

// Close ends the health checks and closes idle connections. Requests that
// come later are refused with KindClosed; those in flight, and upgraded
// connections, go on. It may be called more than once.
func (u *Upstream) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	u.closed = true
	p := u.pool.Load()
	p.stop()
	u.pool.Store(&pool{given: p.given, cfg: p.cfg, stop: func() {}})
	closeUnused(p, nil)
}

// Status tells how each server is, in the configuration's order.
func (u *Upstream) Status() []ServerStatus {
	now := u.now()
	var all []ServerStatus
	for _, m := range u.pool.Load().members {
		all = append(all, u.status(m, now))
	}
	return all
}

func (u *Upstream) now() time.Time { return u.options.Now() }

// tick is a time as the servers keep it, in atomics: nanoseconds since the
// upstream was made, never zero. Setting the wall clock does not change it.
func (u *Upstream) tick(t time.Time) int64 { return int64(t.Sub(u.epoch)) + 1 }

// changed notes and logs that a server became healthy or not.
func (u *Upstream) changed(s *server, healthy bool, why string) {
	s.note(u.now(), why)
	if healthy {
		u.options.Logger.Info("server is back", "server", s.name, "why", why)
	} else {
		u.options.Logger.Warn("server is out", "server", s.name, "why", why)
	}
}

// passedTrial closes the breaker of a server that answered on trial.
func (u *Upstream) passedTrial(p *pool, s *server) {
	tick := u.tick(u.now())
	if s.breaker.close(tick) {
		s.warmUp(tick, p.cfg.SlowStart)
		u.changed(s, true, "trial request succeeded")
	}
}

// failed counts a failure, and ejects the server if its breaker says so and
// another server is left.
func (u *Upstream) failed(p *pool, s *server, trial bool, why string) {
	tick := u.tick(u.now())
	if !s.breaker.failure(&p.cfg.Ejection, trial) {
		return
	}
	u.ejecting.Lock()
	defer u.ejecting.Unlock()
	if !trial && (s.breaker.until.Load() != 0 || !p.mayEject(s, tick)) {
		return
	}
	d := s.breaker.open(tick, &p.cfg.Ejection)
	u.changed(s, false, fmt.Sprintf("ejected for %s: %s", d, why))
}

package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/proxy/internal/discovery"
	"github.com/headgate/headgate/middleware/proxy/internal/spool"
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
	now     func() time.Time // Options.Now
	epoch   time.Time        // when it was made
	pool    atomic.Pointer[pool]
	budget  budget
	line    line
	buffers *bufferPool

	disk *spool.Disk

	testTransport http.RoundTripper // answers in place of the servers; nil outside tests

	mu       sync.Mutex // held by Update, Close, readdress, takeUpFiles, Drain and Restore
	key      transportKey
	files    filestate.State // when key was made of them
	unfollow func()          // ends looking at them; nil: there are none
	watches  map[watchKey]*discovery.Watch
	checks   map[*server]*runningCheck
	closed   bool
	drained  map[string]bool // the names of the servers that an operator has drained

	ejecting sync.Mutex // held from mayEject to open: else two goroutines could eject the last two servers
}

// New makes an upstream and starts its health checks, which run until
// [Upstream.Close].
func New(o Options) (*Upstream, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	u := &Upstream{name: o.Name, options: o, now: o.Now, epoch: o.Now(), buffers: newBufferPool(), drained: map[string]bool{}}
	u.disk = o.Buffers.newDisk(o.Logger)
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
// connections unless Protocol, TLS (the files' contents included), ConnectTimeout,
// IdleTimeout, MaxAge or TCPKeepalive changed. On an error nothing has changed.
// Update waits a quarter of a second at most for the addresses of new names.
func (u *Upstream) Update(cfg Config) error {
	cfg = cfg.withDefaults()
	if err := problem.Error("upstream "+u.name, cfg.Validate()); err != nil {
		return err
	}
	files := filestate.Of(cfg.TLS.files()...)
	key, err := newTransportKey(cfg)
	if err != nil {
		return fmt.Errorf("upstream %s: %w", u.name, err)
	}

	unused, used, err := u.adopt(cfg, key, files)
	closeWatches(unused, used)
	if err != nil {
		return fmt.Errorf("upstream %s: %w", u.name, err)
	}
	return nil
}

// adopt puts a checked configuration in charge, and returns the watches that may have become useless and those in use, for closeWatches.
func (u *Upstream) adopt(cfg Config, key transportKey, files filestate.State) (unused, used map[watchKey]*discovery.Watch, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, nil, errors.New("updated after Close")
	}
	old := u.pool.Load()
	if old != nil && key == u.key && old.given.Equal(cfg) {
		u.files = files
		return nil, nil, nil
	}
	watches := u.watchNames(cfg)
	next, err := u.newPool(cfg, key, watches, old)
	if err != nil {
		return watches, u.watches, err
	}
	unused, u.watches, u.key = u.watches, watches, key
	u.forgetDrained(cfg)
	u.disk.SetLimit(max(cfg.Buffer.Spool, 0))
	u.follow(files)
	u.replace(old, next)
	return unused, watches, nil
}

// replace puts a pool in the place of the old one; nil: there is none. The caller holds mu.
func (u *Upstream) replace(old, next *pool) {
	u.checkMembers(next)
	u.pool.Store(next)
	u.wake()
	if old != nil {
		closeUnused(old, next)
	}
}

// newPool builds the pool of a configuration out of what stays of the old one.
func (u *Upstream) newPool(cfg Config, key transportKey, watches map[watchKey]*discovery.Watch, old *pool) (*pool, error) {
	p := &pool{given: cfg, cfg: cfg.effective()}
	var names []string
	for _, sc := range cfg.Servers {
		target, wrong := parseServer(sc.URL)
		if wrong != nil {
			return nil, wrong
		}
		for _, at := range places(target, sc, watches, old) {
			m, err := u.newMember(cfg, key, target, at, old)
			if err != nil {
				return nil, err
			}
			m.weight, m.backup = max(0, sc.Weight), sc.Backup
			p.members = append(p.members, m)
			names = append(names, m.seed())
		}
	}
	p.balancer = newBalancer(cfg.Balance, names, rand.Uint64)
	var err error
	p.sticky, err = newStickiness(&cfg, u.name, names)
	return p, err
}

// newMember returns the old pool's member of that server and place, or a new one.
func (u *Upstream) newMember(cfg Config, key transportKey, target *url.URL, at place, old *pool) (m member, err error) {
	name := target.String()
	if old != nil {
		m = old.member(name, at.address)
	}
	if m.server == nil {
		m.server = &server{name: name, url: requestURL(target), address: at.address}
		// The first addresses of a name stand for a server that was there before.
		if old != nil && (old.addressesOf(name) != nil || !old.has(name)) {
			m.warmUp(u.tick(u.now()), cfg.SlowStart)
		}
	}
	m.draining.Store(u.drained[name])
	m.watch.Store(at.watch)
	if m.transport == nil || key != u.key {
		m.transport, err = newTransport(key, target, at.address)
	}
	return m, err
}

// member returns the pool's member of that name and address, or the zero one.
func (p *pool) member(name string, address netip.AddrPort) member {
	for _, m := range p.members {
		if m.name == name && m.address == address {
			return m
		}
	}
	return member{}
}

// has reports whether the pool has a server of that name.
func (p *pool) has(name string) bool {
	return slices.ContainsFunc(p.members, func(m member) bool { return m.name == name })
}

// closeUnused closes the idle connections that next does not use; those of
// requests in flight are closed as they come back.
func closeUnused(old, next *pool) {
	for _, m := range old.members {
		used := slices.ContainsFunc(next.members, func(n member) bool { return n.transport == m.transport })
		if !used {
			m.transport.CloseIdleConnections()
		}
	}
}

// Close ends the health checks and closes idle connections. Requests that
// come later are refused with KindClosed; those in flight, and upgraded
// connections, go on. It may be called more than once.
func (u *Upstream) Close() {
	closeWatches(u.shut(), nil)
}

// shut closes all but the watches, which it returns for closeWatches.
func (u *Upstream) shut() map[watchKey]*discovery.Watch {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	u.closed = true
	u.follow(nil)
	p, none := u.pool.Load(), new(pool)
	none.given, none.cfg = p.given, p.cfg
	u.replace(p, none)
	return u.watches
}

// Status tells how each server is, in the configuration's order.
func (u *Upstream) Status() []ServerStatus {
	return u.statuses(u.pool.Load().members)
}

// tick is a time as the servers keep it, in atomics: nanoseconds since the
// upstream was made, never zero. Setting the wall clock does not change it.
func (u *Upstream) tick(t time.Time) int64 { return int64(t.Sub(u.epoch)) + 1 }

// changed notes and logs that a server became healthy or not.
func (u *Upstream) changed(s *server, healthy bool, why string) {
	s.note(u.now(), why)
	u.wake()
	if healthy {
		u.log(s).Info("server is back", "why", why)
	} else {
		u.log(s).Warn("server is out", "why", why)
	}
}

// log returns the log with the server's name.
func (u *Upstream) log(s *server) *slog.Logger {
	log := u.options.Logger.With("server", s.name)
	if s.address.IsValid() {
		log = log.With("address", s.address)
	}
	return log
}

// passedTrial closes the breaker of a server that answered on trial.
func (u *Upstream) passedTrial(p *pool, s *server) {
	tick := u.tick(u.now())
	if s.breaker.close(tick) {
		s.warmUp(tick, p.cfg.SlowStart)
		u.changed(s, true, "trial request succeeded")
	}
}

// answers is told that a server has answered a request. It ends the mark of one that failed and could not be ejected.
func (u *Upstream) answers(s *server) {
	if s.breaker.failing.Swap(false) {
		u.changed(s, true, "a request succeeded")
	}
}

// failed counts a failure, and ejects the server if its breaker says so and
// another server is left.
func (u *Upstream) failed(p *pool, s *server, trial bool, kind Kind, why string) {
	s.recheck()
	tick := u.tick(u.now())
	if !s.breaker.failure(&p.cfg.Ejection, trial) {
		return
	}
	if p.cfg.Ejection.Off {
		u.failsOn(s, kind, "no connection, and ejection is off: "+why)
		return
	}
	u.ejecting.Lock()
	defer u.ejecting.Unlock()
	if !trial {
		if s.breaker.until.Load() != 0 {
			return
		}
		if !p.mayEject(s, tick) {
			u.failsOn(s, kind, "no connection, and no other server is left: "+why)
			return
		}
	}
	d := s.breaker.open(tick, &p.cfg.Ejection, kind.failedConnection())
	// Requests may be waiting as the server becomes half-open, and as any request may be its trial.
	time.AfterFunc(d, u.wake)
	time.AfterFunc(d+p.cfg.Ejection.For, u.wake)
	u.changed(s, false, fmt.Sprintf("ejected for %s: %s", d, why))
}

// failsOn notes that a server still gets requests, since it can't be ejected, although it can't be connected to.
func (u *Upstream) failsOn(s *server, kind Kind, why string) {
	if kind == KindConnect && s.breaker.markFailing() {
		s.note(u.now(), why)
		u.log(s).Warn("server fails and still gets requests", "why", why)
	}
}

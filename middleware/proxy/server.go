package proxy

import (
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/discovery"
)

// server is the state of one app server: health and counters, which outlive
// reloads. What the configuration says about it is in the pool's member.
type server struct {
	name    string         // its URL
	url     *url.URL       // ... as requests have it
	address netip.AddrPort // where it is; invalid: where the URL says
	watch   atomic.Pointer[discovery.Watch]

	active   atomic.Int64 // requests in flight, upgraded connections among them
	requests atomic.Int64 // attempts, ever
	breaker  breaker
	checked  checkState
	warmFrom atomic.Int64 // slow start began at that tick; 0: warm
	draining atomic.Bool  // an operator has drained it; see drain.go

	mu    sync.Mutex
	since time.Time // of the last change
	why   string
}

// seed is what the server's share of ip_hash's clients is made from: the same in all instances of the gateway.
func (s *server) seed() string {
	if s.address.IsValid() {
		return s.name + " " + s.address.String()
	}
	return s.name
}

// recheck has DNS asked whether the server's name has come to have addresses of the other family. It is called when the server has failed.
func (s *server) recheck() {
	if w := s.watch.Load(); w != nil {
		w.Recheck()
	}
}

func (s *server) note(now time.Time, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.why = now, why
}

// acquire takes one of at most limit places (zero: any number).
func (s *server) acquire(limit int) bool {
	for {
		n := s.active.Load()
		if limit > 0 && n >= int64(limit) {
			return false
		}
		// Never above the limit, not even for an instant: a place that is given back then would not be seen as free.
		if s.active.CompareAndSwap(n, n+1) {
			break
		}
	}
	s.requests.Add(1)
	return true
}

func (s *server) release() { s.active.Add(-1) }

// warmth is the part of its share that a server gets now, in thousandths. During
// slow start it grows linearly from a tenth to the whole.
func (s *server) warmth(now int64, slowStart time.Duration) int64 {
	from := s.warmFrom.Load()
	if from == 0 {
		return weightUnit
	}
	elapsed := max(0, now-from)
	if elapsed >= int64(slowStart) {
		s.warmFrom.CompareAndSwap(from, 0)
		return weightUnit
	}
	const least = weightUnit / 10
	return least + elapsed*(weightUnit-least)/int64(slowStart)
}

// warmUp begins the server's slow start, if one is configured.
func (s *server) warmUp(now int64, slowStart time.Duration) {
	if slowStart > 0 {
		s.warmFrom.Store(now)
	}
}

// member is a server as one configuration of the upstream has it.
type member struct {
	*server
	weight    int // 0: it gets no new requests
	backup    bool
	transport *serverTransport
}

// inService reports whether the server gets new requests: neither the configuration nor an operator has drained it.
func (m member) inService() bool { return m.weight > 0 && !m.draining.Load() }

// ServerState is a server's state in one word.
type ServerState string

const (
	StateHealthy   ServerState = "healthy"   // it gets its share of requests
	StateUnhealthy ServerState = "unhealthy" // it fails health checks, or refuses connections and can't be ejected
	StateEjected   ServerState = "ejected"   // it failed requests, and gets none until ServerStatus.EjectedUntil
	StateDraining  ServerState = "draining"  // it gets no new requests: its weight is 0, or an operator has drained it
)

// ServerStatus is how a server is, as the admin API's /upstreams shows it.
type ServerStatus struct {
	URL string `json:"url"`
	// Address is one of those that the URL's name has now; empty if the URL has an address itself, or the name has not been resolved.
	Address string `json:"address,omitempty"`
	Weight  int    `json:"weight"`
	// Backup is whether it gets requests only while no other server is fit.
	Backup bool `json:"backup,omitempty"`
	// Healthy is whether it gets its share of requests and can be connected to. One that refuses connections is not, also while it gets
	// requests because no other server is left.
	Healthy bool `json:"healthy"`
	// State says the same in a word, and whether it is drained: a drained server may be healthy.
	State ServerState `json:"state"`
	// Why is the cause of the last change of Healthy, in words; empty if it has
	// never changed.
	Why string `json:"why,omitempty"`
	// Since is the time of that change; zero if there was none.
	Since time.Time `json:"since,omitzero"`
	// Active are the requests in flight, upgraded connections included.
	Active int64 `json:"active"`
	// Waiting are the requests that wait for any server of the upstream: all of its servers have the same number.
	Waiting int64 `json:"waiting"`
	// Requests and Failures count attempts since the server was added. A failure
	// that the client caused is not counted.
	Requests  int64 `json:"requests"`
	Failures  int64 `json:"failures"`
	Ejections int64 `json:"ejections"`
	// EjectedUntil is when an ejected server gets its next request, as a trial;
	// zero if it is not ejected.
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
}

func (u *Upstream) status(m member, now time.Time) ServerStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := ServerStatus{
		URL: m.name, Weight: m.weight, Backup: m.backup,
		State: u.state(m, now),
		Why:   m.why, Since: m.since,
		Active: m.active.Load(), Waiting: u.line.length.Load(), Requests: m.requests.Load(),
		Failures: m.breaker.failures.Load() + m.breaker.timeouts.Load(), Ejections: m.breaker.ejections.Load(),
	}
	st.Healthy = st.State == StateHealthy
	if !m.inService() {
		st.State = StateDraining
	}
	if m.address.IsValid() {
		st.Address = m.address.String()
	}
	if until := m.breaker.until.Load(); until != 0 {
		st.EjectedUntil = u.epoch.Add(time.Duration(until - 1))
	}
	return st
}

// state is how the server is, drained or not.
func (u *Upstream) state(m member, now time.Time) ServerState {
	switch {
	case m.breaker.state(u.tick(now)) != closed:
		return StateEjected
	case m.checked.down.Load() || m.breaker.failing.Load():
		return StateUnhealthy
	}
	return StateHealthy
}

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// Options says what a Server needs. Only Policy is required.
type Options struct {
	// Policy is what runs first.
	Policy *policies.Policy
	// Load reads the policy's files again, for a reload. Nil means that there is
	// no reload.
	Load func() (*policies.Policy, error)
	// Shared is what several gateways in one process have in common where no
	// Redis holds it for them. Nil means that this gateway has its own.
	Shared *Shared
	// Logger hears what operators should know. Nil means slog.Default.
	Logger *slog.Logger
	// Level follows server.log.level of the running policy. Nil: the Logger's level is its own.
	Level *slog.LevelVar
	// AccessLog replaces the place that the policy names. Nil means that one.
	AccessLog io.Writer
	// Version is shown in metrics and at the admin listener.
	Version string

	// What follows is for tests, of policies (package policytest) among them.

	// Now is the clock by which requests are counted, sessions end and answers
	// age, where there is no Redis: Redis counts by its own. Timeouts of
	// connections run on the real one. Nil means time.Now.
	Now func() time.Time
	// Transport answers in the place of the named upstream's servers. Nil means
	// connections to them.
	Transport func(upstream string) http.RoundTripper
	// BodyGrace is how long a client may be silent within a request's body.
	// Zero means the listener's default, ten seconds.
	BodyGrace time.Duration
	// Work has this instance do jobs whatever the policy's jobs.work says, and listen on no public address: headgate work.
	Work bool
	// Release is handed what gives back a request's places under limits of requests in
	// flight, when its response is complete. Nil: it is done at once.
	Release func(release func())
	// Observe is told of each request when its answer is complete, in the
	// goroutine that called ServeHTTP. Nil tells nothing.
	Observe func(*observe.Record)
}

// Server is one gateway.
//
// New builds it, Start listens, Reload changes its policy, Shutdown ends it.
// Shutdown must be called also when Start has failed or was not called.
// All methods are safe for concurrent use.
type Server struct {
	log     *slog.Logger
	options Options

	echo      *echo.Echo
	metrics   *observe.Metrics
	accessLog accessLog
	parts     *parts
	current   atomic.Pointer[generation]
	revisions revisions

	public      *listener.Server
	descriptors descriptors
	reserve     *listener.Reserve // the admin listener's
	adminHTTP   *http.Server
	jobsHTTP    *http.Server   // where apps enqueue; nil where the policy has no jobs.listen
	listeners   []net.Listener // while there are any
	addr        atomic.Pointer[string]
	adminAddr   atomic.Pointer[string]
	jobsAddr    atomic.Pointer[string]

	working bool      // it has been started, and not shut down
	worker  *worker   // nil: this instance does no jobs
	retired []*worker // that take no more jobs, as the policy has changed

	unheeded   atomic.Pointer[unheeded]
	evicts     atomic.Pointer[string] // a warning, where Redis could evict sessions
	evictsJobs atomic.Pointer[string] // the same of jobs
	loading    sync.Mutex             // held while the policy's files are read, and before mu
	mu         sync.Mutex             // held while Start, Reload and Shutdown change what runs
	draining   atomic.Bool
	ending     chan struct{} // closed when the instance takes no more requests
	endOnce    sync.Once
	serving    sync.WaitGroup
	failed     chan error
	teardown   teardown
}

// New builds a gateway from a policy that has been loaded without errors. It
// opens what the policy names (Redis is not waited for), but no listener yet.
func New(o Options) (_ *Server, err error) {
	if o.Policy == nil {
		return nil, errors.New("server.New: Options.Policy is missing; load one with policies.Load")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{options: o, failed: make(chan error, 1), ending: make(chan struct{}), metrics: observe.NewMetrics(o.Version)}
	s.log = observe.MaskLog(o.Logger, s.hidden)
	defer func() {
		if err != nil {
			s.teardown.run()
		}
	}()

	s.echo = echo.New()
	s.echo.HideBanner, s.echo.HidePort = true, true

	if s.parts, err = s.openParts(); err != nil {
		return nil, err
	}
	s.metrics.WatchCounters(s.parts.counters)
	s.metrics.WatchBlocks(s.parts.blocks.Len)
	s.watchEviction()
	gen, err := s.compile(o.Policy)
	if err != nil {
		return nil, err
	}
	s.revisions.filed(o.Policy)
	s.install(gen, entry{by: "start", made: fingerprintOf(o.Policy)})

	if err := s.buildPublic(); err != nil {
		return nil, err
	}
	s.buildAdmin()
	s.buildJobsListener()
	return s, nil
}

// ServeHTTP takes a request through the pipeline of the running policy. The generation
// that a request begins with is the one that it ends with.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.echo.AcquireContext()
	c.Reset(r, w)
	s.current.Load().Serve(c)
	s.echo.ReleaseContext(c) // not after a panic: what still holds it is not known then
}

// Explain says what the running policy does with a request, and consumes nothing. It
// may be asked without Start.
func (s *Server) Explain(ctx context.Context, q pipeline.Question) (*pipeline.Explanation, error) {
	return s.current.Load().Explain(ctx, q)
}

// Start listens on all addresses and serves them in the background. When it
// returns without an error, connections are accepted.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining.Load():
		return errors.New("the gateway has been shut down; make a new one")
	case s.working:
		return errors.New("the gateway has been started already")
	}
	s.followBlocks()
	p := s.options.Policy.Server
	if s.options.Work {
		p.Listen = nil
	}
	for _, addr := range p.Listen {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("server.listen: %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	if s.adminHTTP != nil {
		l, err := net.Listen("tcp", p.Admin.Listen)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("server.admin.listen: %w", err)
		}
		s.teardown.push(s.reserve.Close)
		if err := s.reserve.Fill(); err != nil {
			l.Close()
			s.closeListeners()
			return fmt.Errorf("server.admin.listen: %w", err)
		}
		s.adminAddr.Store(new(l.Addr().String()))
		s.serve("admin", func() error { return s.adminHTTP.Serve(s.reserve.Listener(l)) })
	}
	if s.jobsHTTP != nil {
		l, err := net.Listen("tcp", s.options.Policy.Jobs.Listen)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("jobs.listen: %w", err)
		}
		s.jobsAddr.Store(new(l.Addr().String()))
		s.serve("jobs", func() error { return s.jobsHTTP.Serve(l) })
	}
	for _, l := range s.listeners {
		s.serve("listener", func() error { return s.public.Serve(l) })
	}
	if len(s.listeners) > 0 {
		s.addr.Store(new(s.listeners[0].Addr().String()))
	}
	s.working = true
	s.keepWorking(s.current.Load().policy)
	s.descriptors.tell(s.log)
	s.log.Info("the gateway is listening", "addr", s.Addr(), "admin", s.AdminAddr(), "policy", s.current.Load().hash)
	return nil
}

// followBlocks keeps blocks up to date from now on, and has those that Redis has in force before the first
// request, where Redis answers.
func (s *Server) followBlocks() {
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	s.teardown.push(func() {
		cancel()
		following.Wait()
	})
	_ = s.parts.blocks.Ready(ctx) // Follow tells of an outage
	following.Go(func() { s.parts.blocks.Follow(ctx) })
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.listeners = nil
}

// serve runs a listener until Shutdown.
func (s *Server) serve(what string, run func() error) {
	s.serving.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			select {
			case s.failed <- fmt.Errorf("%s: %w", what, err):
			default:
			}
		}
	})
}

// Failed delivers the error of a listener that has stopped working, should
// that ever happen.
func (s *Server) Failed() <-chan error { return s.failed }

// Addr returns the address of the first listener, with the port that the
// system chose where the policy says 0; "" before Start.
func (s *Server) Addr() string {
	if addr := s.addr.Load(); addr != nil {
		return *addr
	}
	return ""
}

// AdminAddr returns the address of the admin listener; "" where there is none.
func (s *Server) AdminAddr() string {
	if addr := s.adminAddr.Load(); addr != nil {
		return *addr
	}
	return ""
}

// JobsAddr returns the address of the listener for apps that enqueue; "" where there is none.
func (s *Server) JobsAddr() string {
	if addr := s.jobsAddr.Load(); addr != nil {
		return *addr
	}
	return ""
}

// ShutdownGrace is how long the running policy wants Shutdown's context to last.
func (s *Server) ShutdownGrace() time.Duration {
	return s.current.Load().policy.Server.ShutdownGrace
}

// Shutdown drains the gateway: /readyz says so first, and for the policy's
// shutdown_delay that is all, so that load balancers notice, but that no job is taken up any more. Then no connection is
// accepted, upgraded ones are told to go, and what is in flight may end until
// ctx does; what remains is then cut off, and the error is ctx's. It may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()

	var err error
	jobsEnd := s.stopWork()
	var work sync.WaitGroup
	work.Go(func() { jobsEnd(ctx) }) // they have the same time as the requests
	if len(s.listeners) > 0 {
		s.log.Info("draining")
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			s.awaitShutdownDelay(ctx) // whoever comes back at once must not come here again
			s.endOnce.Do(func() { close(s.ending) })
			s.parts.upgrades.Drain(ctx)
		}()
		if err = s.public.Shutdown(ctx); err != nil {
			s.log.Warn("requests were cut off by the end of the grace period", "error", err)
			s.public.Close()
		}
		<-drained
		s.closeListeners()
	}
	work.Wait()
	for _, l := range []*http.Server{s.adminHTTP, s.jobsHTTP} {
		if l != nil {
			l.Close()
		}
	}
	s.serving.Wait()
	s.teardown.run()
	return err
}

// awaitShutdownDelay waits for as long as load balancers are given to notice.
func (s *Server) awaitShutdownDelay(ctx context.Context) {
	delay := time.NewTimer(s.options.Policy.Server.ShutdownDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
	}
}

// buildAdmin sets up the admin listener, unless the policy has none.
func (s *Server) buildAdmin() {
	p := s.options.Policy.Server.Admin
	if p.Listen == "off" {
		return
	}
	s.adminHTTP = admin.Serve(admin.New(admin.Options{
		Token:     p.Token,
		Health:    s.health,
		Gatherer:  s.metrics.Registry,
		Limits:    limitsAdmin{s},
		Blocks:    blocksAdmin{s},
		Purge:     s.purge,
		Sessions:  sessionsAdmin{s},
		KeySet:    s.keySet,
		Policy:    policyAdmin{s},
		Upstreams: s.parts.upstreams,
		Jobs:      jobsAdmin{s},
		JobsToken: s.jobsToken,
	}))
}

// WaitForFetches waits for the fetches that requests have left behind in the cache. It
// is for tests, between requests, and only where there is no Redis.
func (s *Server) WaitForFetches() {
	if c := s.parts.cache.Load(); c != nil {
		c.WaitForFetches()
	}
}

// teardown is a stack of what must be closed, in the order opposite to that
// in which it was opened.
type teardown struct {
	mu    sync.Mutex
	stack []func()
}

func (t *teardown) push(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stack = append(t.stack, f)
}

func (t *teardown) run() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.stack) - 1; i >= 0; i-- {
		t.stack[i]()
	}
	t.stack = nil
}

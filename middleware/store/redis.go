package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ErrUnavailable is wrapped by every failure of Redis itself: it did not reply
// in time, could not be reached, refused to serve (LOADING, CLUSTERDOWN,
// READONLY, NOAUTH and the like), or the breaker is open.
var ErrUnavailable = errors.New("redis is unavailable")

// Redis is a connection to one Redis, standalone, Sentinel or Cluster.
type Redis struct {
	client       redis.UniversalClient
	mode         string // as in Facts
	timeout      time.Duration
	writeTimeout time.Duration
	waitReplicas int
	prefix       string
	log          *slog.Logger

	pipelines *pipelines
	timers    timerPool
	jobs      jobPool
	closing   chan struct{}
	closed    sync.Once
	workers   sync.WaitGroup

	back       chan struct{} // signalled when a breaker has closed
	facts      atomic.Pointer[Facts]
	away       atomic.Pointer[Trouble]
	refusing   atomic.Pointer[Trouble]
	down       atomic.Int32 // how many pipelines' breakers are open, those of class small alone
	roundTrips atomic.Int64
	mu         sync.Mutex
	onChange   []func(available bool)
	onFacts    []func(Facts)
	denials    map[string]denial // by kind of key
}

// Open returns a connection to the Redis that o describes. It does not wait
// for Redis: a gateway starts while Redis is away. The error says what is wrong with the URL.
// What else is wrong (the address, TLS, the password, the database) is found out at once in
// the background, is logged, and opens the breaker.
func Open(o Options) (*Redis, error) {
	o.SetDefaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := o.readURL(); err != nil {
		return nil, err
	}
	if err := problem.Error("redis", o.Validate()); err != nil {
		return nil, err
	}
	opts, err := parseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("redis: url: %w", err)
	}

	// A request waits for one attempt. Whether another one is safe is the
	// caller's to know, so go-redis makes none of its own.
	opts.MaxRetries = -1
	opts.ContextTimeoutEnabled = true
	opts.DialerRetries = 1
	if opts.DialTimeout == 0 {
		opts.DialTimeout = max(o.Timeout, time.Second)
	}
	// Maintenance notifications are a service of Redis Enterprise; asking for
	// them costs every new connection a round trip elsewhere.
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	files, err := newFiles(o, opts)
	if err != nil {
		return nil, err
	}
	files.install(opts)

	r := &Redis{
		client:       redis.NewUniversalClient(opts),
		mode:         "standalone",
		timeout:      o.Timeout,
		writeTimeout: o.WriteTimeout,
		waitReplicas: o.WaitReplicas,
		prefix:       o.KeyPrefix,
		log:          o.Logger,
		closing:      make(chan struct{}),
		back:         make(chan struct{}, 1),
		denials:      make(map[string]denial),
	}
	switch {
	case opts.MasterName != "":
		r.mode = "sentinel"
	case r.IsCluster():
		r.mode = "cluster"
	}
	unanswered{}.install(r.client)
	r.pipelines = newPipelines(r, strings.Join(opts.Addrs, ","))
	if r.pipelines.cluster != nil {
		r.background(r.pipelines.follow)
	}
	r.background(r.watch)
	return r, nil
}

// Client returns the go-redis client, for subscriptions, scans and administration.
// It does not batch, and ignores the breaker: requests use [Redis.Do]. As with Do, a command
// that Redis did not answer has an error that is not a reply of Redis.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Timeout returns the most that one Do waits, unless its context is of [Writing].
func (r *Redis) Timeout() time.Duration { return r.timeout }

// IsCluster reports whether keys live in several slots on several servers.
func (r *Redis) IsCluster() bool {
	_, ok := r.client.(*redis.ClusterClient)
	return ok
}

// Key joins the prefix and parts, with ":" between the parts.
func (r *Redis) Key(parts ...string) string {
	return r.prefix + strings.Join(parts, ":")
}

// Available reports whether Redis answers, as far as is known: false while a
// breaker is open. In a Cluster it is false while any of the masters is away.
func (r *Redis) Available() bool { return r.down.Load() == 0 }

// RoundTrips returns how many round trips have been made.
func (r *Redis) RoundTrips() int64 { return r.roundTrips.Load() }

// OnChange has f called, in a goroutine of its own, each time that
// [Redis.Available] changes.
func (r *Redis) OnChange(f func(available bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onChange = append(r.onChange, f)
}

// Close ends all connections. A Do under way or begun later fails with
// [ErrUnavailable].
func (r *Redis) Close() error {
	var err error
	r.closed.Do(func() {
		close(r.closing)
		r.pipelines.close()
		err = r.client.Close()
		r.workers.Wait()
	})
	return err
}

// Do sends cmds in one round trip, together with those of concurrent callers,
// and waits for their replies: as long as Options.Timeout at most, less what the request of ctx
// has waited already, if ctx has [Waits].
//
// Its error is nil, or [ErrUnavailable] wrapped with the reason, or that of
// ctx. An error that Redis replied to one command (redis.Nil, a script's error)
// stays in that command. After an error of Do the commands may still be in flight:
// do not read or reuse them.
func (r *Redis) Do(ctx context.Context, cmds ...redis.Cmder) error {
	return r.do(ctx, cmds, small)
}

// DoLarge is [Redis.Do] for commands that carry or fetch large values, tens of
// kilobytes and more. They have a pipeline of their own, with a few commands in
// each round trip, so that no small command waits behind them. It has a breaker of
// its own, which [Redis.Available] ignores: a link that is too slow for large
// values is not an outage.
func (r *Redis) DoLarge(ctx context.Context, cmds ...redis.Cmder) error {
	return r.do(ctx, cmds, large)
}

func (r *Redis) do(ctx context.Context, cmds []redis.Cmder, c class) error {
	if len(cmds) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := r.waitOf(ctx)
	left, err := w.left()
	if err != nil {
		return err
	}
	if c == small {
		c = w.class
	}
	timer := r.timers.get(left)
	defer r.timers.put(timer)
	if w.waits == nil {
		return r.send(ctx, timer, cmds, c, false)
	}
	begun := time.Now()
	err = r.send(ctx, timer, cmds, c, w.replicated)
	w.waited.Add(int64(time.Since(begun)))
	w.waits.trips.Add(1)
	return err
}

// send hands the commands to the pipelines of a class, and waits until the timer fires.
func (r *Redis) send(ctx context.Context, timer *time.Timer, cmds []redis.Cmder, c class, replicated bool) error {
	if len(cmds) > 1 && r.pipelines.many() {
		if parts := r.pipelines.split(cmds, c); len(parts) > 1 {
			return doParts(ctx, timer, parts, replicated)
		}
	}
	return r.pipelines.of(cmds[0]).pipeline(c).do(ctx, timer, cmds, replicated)
}

// doParts gives each pipeline its part of the commands, and waits for all of
// them. It returns the first error: the caller needs every reply.
func doParts(ctx context.Context, timer *time.Timer, parts []part, replicated bool) error {
	for _, p := range parts { // before any part is sent: the caller cannot use a part alone
		if err := p.pipeline.refusal(); err != nil {
			return unsent(err)
		}
	}
	jobs := make([]*job, 0, len(parts))
	for _, p := range parts {
		j, err := p.pipeline.enqueue(p.cmds, replicated)
		if err != nil {
			for _, sent := range jobs {
				sent.abandon()
			}
			return err
		}
		jobs = append(jobs, j)
	}
	var first error
	for i, j := range jobs {
		if first != nil {
			j.abandon()
			continue
		}
		first = parts[i].pipeline.wait(ctx, timer, j)
	}
	return first
}

// changed notes that a pipeline's breaker has opened or closed.
func (r *Redis) changed(p *pipeline, open bool, cause error) {
	if open {
		r.log.Warn("redis is unavailable", "server", p.name, "error", cause)
	} else {
		r.log.Info("redis is back", "server", p.name)
		select {
		case r.back <- struct{}{}:
		default:
		}
	}
	if p.class != small {
		return
	}
	var now int32
	if open {
		now = r.down.Add(1)
	} else {
		now = r.down.Add(-1)
	}
	if (open && now == 1) || (!open && now == 0) {
		if open {
			r.away.Store(&Trouble{Since: time.Now(), Err: cause})
		} else {
			r.away.Store(nil)
		}
		r.mu.Lock()
		fs := r.onChange
		r.mu.Unlock()
		for _, f := range fs {
			go f(!open)
		}
	}
}

// background runs f in a goroutine that Close waits for. ctx ends with Close.
func (r *Redis) background(f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	r.workers.Go(func() {
		defer cancel()
		done := make(chan struct{})
		go func() {
			select {
			case <-r.closing:
				cancel()
			case <-done:
			}
		}()
		f(ctx)
		close(done)
	})
}

// timerPool recycles timers. Most calls of Do end long before theirs fires.
type timerPool struct{ pool sync.Pool }

func (p *timerPool) get(d time.Duration) *time.Timer {
	if t, ok := p.pool.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

func (p *timerPool) put(t *time.Timer) {
	t.Stop()
	p.pool.Put(t)
}

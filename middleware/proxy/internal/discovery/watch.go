package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxAddresses is the largest number of addresses that a name is resolved to.
	MaxAddresses = 256

	// DefaultInterval is the time between two rounds.
	DefaultInterval = 2 * time.Second
	// DefaultTimeout bounds a round's lookups.
	DefaultTimeout = 5 * time.Second
)

// Options say what is watched. Host and Logger are required.
type Options struct {
	// Host is the name, Port the port that its addresses are reported with.
	Host string
	Port uint16
	// Interval is the time from the end of a round to the beginning of the next, give or take a tenth. Zero: DefaultInterval.
	Interval time.Duration
	// Timeout bounds a round's lookups. Zero: DefaultTimeout.
	Timeout time.Duration
	// Changed is given the addresses, sorted, whenever they have changed. It is called from the watch's goroutine, and must neither call
	// Close nor change the slice. Nil: changes are not reported.
	Changed func([]netip.AddrPort)
	// Resolver is asked. Nil: Go's resolver.
	Resolver Resolver
	// Connect reports whether something accepts connections at an address, to choose between families. Nil: it opens a TCP connection and
	// closes it.
	Connect func(context.Context, netip.AddrPort) error
	// Logger is told when lookups begin to fail, at Warn, and of new addresses, at Info.
	Logger *slog.Logger

	// Wait waits for the next round, and returns an error if the context ends first. Nil: a timer. It is there for tests.
	Wait func(context.Context, time.Duration) error
	// Random returns a number from 0 up to 1, for the jitter. Nil: rand.Float64. It is there for tests.
	Random func() float64
}

func (o Options) withDefaults() Options {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Changed == nil {
		o.Changed = func([]netip.AddrPort) {}
	}
	if o.Resolver == nil {
		o.Resolver = NewResolver(nil)
	}
	if o.Connect == nil {
		o.Connect = connect
	}
	if o.Wait == nil {
		o.Wait = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	o.Logger = o.Logger.With("host", o.Host)
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// IsName reports whether a host has to be asked for: it is not an address already.
func IsName(host string) bool {
	_, err := netip.ParseAddr(host)
	return host != "" && err != nil
}

// Watch is a host name whose addresses are asked for until Close. It is safe for concurrent use.
type Watch struct {
	options   Options
	addresses atomic.Pointer[[]netip.AddrPort]
	recheck   atomic.Bool
	asked     chan struct{} // closed after the first round
	once      sync.Once     // closes asked
	cancel    context.CancelFunc
	done      chan struct{}

	// Only the watch's goroutine touches these.
	family  family
	absent  int // answers in a row without an address of the family
	known   addresses
	failing bool // the last round failed, and the log says so
}

// Start begins the first round at once, in the background.
func Start(o Options) *Watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{options: o.withDefaults(), asked: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
	go w.run(ctx)
	return w
}

// Addresses returns the addresses, sorted. They are none until there has been a good answer. The caller must not change the slice.
func (w *Watch) Addresses() []netip.AddrPort {
	if p := w.addresses.Load(); p != nil {
		return *p
	}
	return nil
}

// Asked is closed when the first round has ended, with or without addresses. Changed may still be running then.
func (w *Watch) Asked() <-chan struct{} { return w.asked }

// Recheck has the next round look whether the addresses' family still connects. It is meant for servers that have failed, and does nothing
// at once: however often it is called, rounds keep their interval.
func (w *Watch) Recheck() {
	if !w.recheck.Load() {
		w.recheck.Store(true)
	}
}

// Stop ends the watch without waiting for a call of Changed under way.
func (w *Watch) Stop() { w.cancel() }

// Close ends the watch. Once it has returned, Changed is not called any more.
func (w *Watch) Close() {
	w.cancel()
	<-w.done
}

func (w *Watch) run(ctx context.Context) {
	defer close(w.done)
	for {
		w.round(ctx)
		w.once.Do(func() { close(w.asked) })
		if w.options.Wait(ctx, w.pause()) != nil {
			return
		}
	}
}

// pause is the time until the next round.
func (w *Watch) pause() time.Duration {
	const spread = 0.2
	return time.Duration(float64(w.options.Interval) * (1 - spread/2 + spread*w.options.Random()))
}

// round asks for the name once.
func (w *Watch) round(ctx context.Context) {
	answer, family, err := w.ask(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		if !w.failing {
			w.options.Logger.Warn("the name can't be resolved; the last addresses stay", "error", err, "addresses", len(w.known))
		}
		w.failing = true
		return
	}
	w.failing = false
	if family != w.family {
		w.family, w.known = family, nil
	}
	w.known = w.known.merge(answer)
	w.publish(w.known.list(w.options.Port))
}

func (w *Watch) publish(list []netip.AddrPort) {
	if slices.Equal(list, w.Addresses()) {
		return
	}
	w.options.Logger.Info("the name has new addresses", "addresses", list)
	w.addresses.Store(&list)
	w.once.Do(func() { close(w.asked) }) // before Changed, which may need a lock that a caller holds while it waits for Asked
	w.options.Changed(list)
}

// errNone is why an answer without addresses changes nothing.
var errNone = errors.New("the answer has no address")

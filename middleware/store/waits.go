package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// errWaited is wrapped by the error of commands that are not sent because their request has
// waited for Redis as long as it may.
var errWaited = errors.New("the request has waited for Redis as long as it may")

// Waited reports whether err says that commands were not sent because their request had waited
// for Redis as long as it may. They can be sent on behalf of another one.
func Waited(err error) bool { return errors.Is(err, errWaited) }

// Waits adds up how long one request has waited for Redis, over all of its round trips and
// whichever Redis they went to: Options.Timeout bounds its checks together, Options.WriteTimeout
// its writes together. Time in which the request waits for something else, such as the app
// server, does not count. A request's context carries it: see [WithWaits]. Without it each
// round trip has the whole time.
//
// The zero Waits is one that has not waited yet. It is safe for concurrent use.
type Waits struct {
	checks, writes atomic.Int64 // nanoseconds
	trips          atomic.Int64
}

// Trips returns how many round trips the request has waited for. Those that its commands make at
// once to several masters of a Cluster are one.
func (w *Waits) Trips() int64 { return w.trips.Load() }

type waitsKey struct{}

// Value has a context of the caller's own carry w: its Value method calls it, and returns what
// is not nil.
func (w *Waits) Value(key any) any {
	if key == (waitsKey{}) {
		return w
	}
	return nil
}

// WithWaits returns a context that carries Waits, those of ctx where it has some.
func WithWaits(ctx context.Context) context.Context {
	if ctx.Value(waitsKey{}) != nil {
		return ctx
	}
	return Afresh(ctx)
}

// Afresh returns a context for what waits for Redis on its own account, such as a poll, which
// waits for another instance and asks Redis as often as it takes.
func Afresh(ctx context.Context) context.Context {
	return context.WithValue(ctx, waitsKey{}, new(Waits))
}

// Writing returns a context for writes that an answer depends on, such as a login, a logout or a
// purge. Commands sent with it have Options.WriteTimeout, all those of one request together.
func Writing(ctx context.Context) context.Context {
	switch w := ctx.Value(waitsKey{}).(type) {
	case *writing:
		return ctx
	case *Waits:
		return &writing{Context: ctx, waits: w}
	}
	return &writing{Context: ctx, waits: new(Waits)}
}

// Replicated is Writing for what must survive a failover, such as a login, a logout, a block or a
// job: Do then also waits until Options.WaitReplicas replicas have it. Where too few confirm that
// in time its error is ErrUnavailable, though the primary may have it.
func Replicated(ctx context.Context) context.Context {
	ctx = Writing(ctx)
	w := ctx.Value(waitsKey{}).(*writing)
	if w.replicated {
		return ctx
	}
	return &writing{Context: ctx, waits: w.waits, replicated: true}
}

// writing is the context of writes. It is what it returns for waitsKey.
type writing struct {
	context.Context
	waits      *Waits
	replicated bool
}

func (c *writing) Value(key any) any {
	if key == (waitsKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// wait is the time that one Do has.
type wait struct {
	waits  *Waits // nil: it counts for no request
	waited *atomic.Int64
	most   time.Duration
	class  class // of the pipeline that a small command takes

	replicated bool // it is for what replicas must have
}

// waitOf returns what a context says about the time that commands have.
func (r *Redis) waitOf(ctx context.Context) wait {
	switch w := ctx.Value(waitsKey{}).(type) {
	case *Waits:
		return wait{waits: w, waited: &w.checks, most: r.timeout}
	case *writing:
		to := wait{waits: w.waits, waited: &w.waits.writes, most: r.writeTimeout, class: write}
		if w.replicated && r.waitReplicas > 0 {
			to.class, to.replicated = replicated, true
		}
		return to
	}
	return wait{most: r.timeout}
}

// left returns how long Do may wait now, or an error.
func (w *wait) left() (time.Duration, error) {
	if w.waits == nil {
		return w.most, nil
	}
	left := w.most - time.Duration(w.waited.Load())
	if left <= 0 {
		return 0, unsent(fmt.Errorf("%w: %w: %v", ErrUnavailable, errWaited, w.most))
	}
	return left, nil
}

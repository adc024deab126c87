package proxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// checkState is the verdict of the active checks on a server.
type checkState struct {
	down atomic.Bool
	// Only the checker's goroutine touches these.
	good, bad int
	verdicts  int // the breaker's, as the first of the good answers was asked for
}

// reset forgets the checks' verdict, for a configuration without checks.
func (c *checkState) reset() { c.down.Store(false) }

// checkBody is how much of a check's response is read, in bytes, so that its
// connection can be used again.
const checkBody = 64 << 10

// checker sends health checks to one member until its context ends.
type checker struct {
	member
	upstream *Upstream
	cfg      HealthCheck
	slow     time.Duration
	via      *serverTransport // the member's, unless the check has a port of its own
}

// runningCheck is a checker that has been started.
type runningCheck struct {
	*checker
	cancel context.CancelFunc
	done   chan struct{}
}

func startCheck(c *checker) *runningCheck {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningCheck{checker: c, cancel: cancel, done: make(chan struct{})}
	go func() { defer close(r.done); c.run(ctx) }()
	return r
}

// host is where the check is sent, as its URL has it.
func (c *checker) host() string {
	if c.cfg.Port == 0 {
		return c.url.Host
	}
	return net.JoinHostPort(c.url.Hostname(), strconv.Itoa(c.cfg.Port))
}

// connect makes the check's connection pool, where that is not the server's own.
func (c *checker) connect(key transportKey) (err error) {
	if c.via = c.transport; c.cfg.Port == 0 {
		return nil
	}
	address := c.address
	if address.IsValid() {
		address = netip.AddrPortFrom(address.Addr(), uint16(c.cfg.Port))
	}
	c.via, err = newTransport(key, &url.URL{Scheme: c.url.Scheme, Host: c.host()}, address)
	return err
}

// serves reports whether the check does what another checker would.
func (r *runningCheck) serves(c *checker) bool {
	return r != nil && r.server == c.server && r.transport == c.transport && r.slow == c.slow && reflect.DeepEqual(r.cfg, c.cfg)
}

// checkMembers starts a pool's health checks, and ends those that it does not need. The others go on as they are: they are not begun anew
// whenever a name's addresses change. The caller holds u.mu.
func (u *Upstream) checkMembers(p *pool) {
	kept, begin := map[*server]*runningCheck{}, []*checker{}
	on := p.cfg.HealthCheck.Path != "" && u.testTransport == nil
	for _, m := range p.members {
		c := &checker{member: m, upstream: u, cfg: p.cfg.HealthCheck, slow: p.cfg.SlowStart}
		if r := u.checks[m.server]; on && r.serves(c) {
			kept[m.server] = r
		} else {
			begin = append(begin, c)
		}
	}
	for s, r := range u.checks {
		if kept[s] == nil {
			r.cancel()
		}
	}
	for s, r := range u.checks {
		if kept[s] == nil {
			<-r.done
		}
	}
	for _, c := range begin {
		if !on {
			c.checked.reset()
		} else if err := c.connect(u.key); err != nil { // not reached: the server's own pool was made of the same key
			u.options.Logger.Error("a server can't be checked", "server", c.name, "error", err)
		} else {
			kept[c.server] = startCheck(c)
		}
	}
	u.checks = kept
}

func (c *checker) run(ctx context.Context) {
	c.checked.good, c.checked.bad = 0, 0
	if c.via != c.transport {
		defer c.via.CloseIdleConnections()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		verdicts := c.breaker.verdictCount()
		err := c.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		c.judge(err, verdicts)
		// Give or take a tenth, so that instances do not check at the same time.
		spread := c.cfg.Interval / 5
		timer.Reset(c.cfg.Interval - spread/2 + time.Duration(rand.Int64N(int64(spread)+1)))
	}
}

// ask sends one check. The error says why the server is not healthy.
func (c *checker) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, fmt.Errorf("no answer within %s", c.cfg.Timeout))
	defer cancel()
	target, err := url.ParseRequestURI(c.cfg.Path) // validated
	if err != nil {
		return err
	}
	target.Scheme, target.Host = c.url.Scheme, c.host()
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    target,
		Host:   cmp.Or(c.cfg.Host, target.Host),
		Header: http.Header{"User-Agent": {"headgate-health"}},
	}).WithContext(ctx)
	for name, value := range c.cfg.Headers {
		req.Header.Set(name, value)
	}
	res, err := c.via.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, checkBody)
	ok := res.StatusCode >= 200 && res.StatusCode < 400
	if len(c.cfg.Expect) > 0 {
		ok = slices.Contains(c.cfg.Expect, res.StatusCode)
	}
	if !ok {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// judge counts good or bad responses in a row, and changes the verdict when
// there are as many as HealthCheck says. verdicts is the breaker's from
// before the check.
func (c *checker) judge(err error, verdicts int) {
	st := &c.checked
	if err == nil {
		if st.verdicts != verdicts {
			st.good, st.verdicts = 0, verdicts // what was before an ejection does not count towards its end
		}
		st.bad, st.good = 0, st.good+1
		if st.good >= c.cfg.HealthyAfter {
			c.pass()
		}
		return
	}
	c.recheck()
	st.good, st.bad = 0, st.bad+1
	if !st.down.Load() && st.bad >= c.cfg.UnhealthyAfter {
		st.down.Store(true)
		c.upstream.changed(c.server, false, "health check failed: "+err.Error())
	}
}

// pass makes the server healthy, but for an ejection that runs its time.
func (c *checker) pass() {
	st, tick := &c.checked, c.upstream.tick(c.upstream.now())
	ended := c.breaker.passed(tick, st.verdicts)
	if !ended && !st.down.Load() {
		return
	}
	c.warmUp(tick, c.slow)
	st.down.Store(false)
	if c.breaker.state(tick) == closed {
		c.upstream.changed(c.server, true, "health check passed")
	}
}
